"""Transformers' red and green lists, with the law that the number of green tokens has in one text.

Every pair of seed and token counts once. Without a watermark by the key, tokens under one seed are green as
if drawn without replacement from a vocabulary of which a part is green, independently of those under other
seeds: their number is a sum of hypergeometric ones, whatever the text (docs/theory/detection.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import special

from tradeoff.detection.choice import register_format
from tradeoff.detection.detector import (
    Detector,
    Exactness,
    Readings,
    for_parts,
    given_text,
    log_p_values,
)
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.row_sums import RowSum
from tradeoff.kernels import Method
from tradeoff.keyed import HfKgw, HfKgwSettings, Stream, prf_type

__all__ = ["GreenPairs", "GreenParts"]

#: Of smaller probabilities SciPy's digits are lost.
_UNDERFLOWS = 1e-250
#: Marks tokens of which the key says nothing.
_SILENT = -1


@dataclass(frozen=True)
class GreenParts:
    """The number of green tokens in any part of a text: p-values are never too small.

    Green tokens of one seed are hypergeometric, and so a sum of independent indicators (Vatutin and Mikhailov
    1982), as is their total. That of t indicators, q or less in the mean of all, reaches k >= t q + 1 no more
    often than Binomial(t, q) (Hoeffding 1956, Theorem 4). Below that the p-value is 1.

    Args:
        settings: of the lists.
    """

    settings: HfKgwSettings
    id: ClassVar[str] = "green-parts"
    name: ClassVar[str] = "green tokens of a part"
    exactness: ClassVar[Exactness] = Exactness.BOUND
    null: ClassVar[str] = "bound: binomial, of at least as many green tokens as expected and one"

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return _readings(self.settings, evidence)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: 0 and 1."""
        return _contributions(self.settings, evidence)

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return float(log_p_values(self, np.array([statistic]), count)[0])

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        sums = np.arange(count + 2, dtype=float)
        # P-values fall from sum to sum, so that halving finds the first that is small enough.
        low, high = 0, count + 1
        while high - low > 1:
            middle = (low + high) // 2
            if self.log_p(sums[middle], count) <= math.log(fpr):
                high = middle
            else:
                low = middle
        return float(high)


@log_p_values.register
def _(detector: GreenParts, statistics: np.ndarray, count: int) -> np.ndarray:
    settings = detector.settings
    green = np.ceil(np.asarray(statistics, dtype=float) - 1e-6)
    log_p = np.zeros(len(green))
    proved = (green - 1) * settings.vocabulary >= count * settings.size
    log_p[proved & (green > count)] = -math.inf
    for i in np.flatnonzero(proved & (green <= count)):
        log_p[i] = _binomial_log_sf(int(green[i]), count, settings.size / settings.vocabulary)
    return log_p


def _binomial_log_sf(successes: int, trials: int, share: float) -> float:
    """log P(Binomial(trials, share) >= successes), natural, for successes above the mean."""
    if (tail := float(special.betainc(successes, trials - successes + 1, share))) > _UNDERFLOWS:
        return math.log(tail)
    # Terms fall from the first on, each by more than the last.
    k = np.arange(successes, trials)
    ratios = np.log((trials - k) / (k + 1)) + math.log(share) - math.log1p(-share)
    logs = np.append(0.0, np.cumsum(ratios))
    first = (
        special.gammaln(trials + 1)
        - special.gammaln(successes + 1)
        - special.gammaln(trials - successes + 1)
        + successes * math.log(share)
        + (trials - successes) * math.log1p(-share)
    )
    return min(0.0, float(first + special.logsumexp(logs)))


@dataclass(frozen=True)
class GreenPairs:
    """The number of green tokens among the different pairs of seed and token of a text.

    p-values are of one text: `given_text`, which `detect` asks, knows its seeds. Without it they are those of
    `GreenParts`, which hold for any.

    Tokens that the vocabulary does not have are on no list, and tokens after token 0 under left-hash have the
    same list under every key: both count neither as green nor as red.

    Args:
        settings: of the lists.
    """

    settings: HfKgwSettings
    id: ClassVar[str] = "green-pairs"
    name: ClassVar[str] = "green tokens, each pair of seed and token once"
    exactness: ClassVar[Exactness] = Exactness.GIVEN_TEXT

    @property
    def null(self) -> str:
        """See `Detector.null`, with what is peculiar of the format."""
        quirk = (
            "width 1 has one list per key, so that more text of the same tokens says nothing more"
            if self.settings.selfhash
            else "token 0 has the same list under every key, so that those after it say nothing; keys that "
            "differ by a multiple of 2^32 have the same lists"
        )
        return f"exact: sum of hypergeometric laws, one a seed; {quirk}"

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return _readings(self.settings, evidence)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: 0 and 1."""
        return _contributions(self.settings, evidence)

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`: a bound, for any text."""
        return GreenParts(self.settings).log_p(statistic, count)

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`, and `log_p`."""
        return GreenParts(self.settings).threshold(count, fpr)


@dataclass(frozen=True, eq=False)
class _OfText(GreenPairs):
    """For one text and its beginnings.

    Args:
        seeds: of the tokens that count, [t]; _SILENT where the key says nothing.
    """

    seeds: np.ndarray = field(repr=False)

    def __eq__(self, other: object) -> bool:
        # Laws are remembered by their detectors, and no other text has this one's.
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`: of the text's first `count` tokens that count."""
        return _law(self, count).log_sf(statistic)

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`, and `log_p`."""
        return _law(self, count).threshold(math.log(fpr))


@given_text.register
def _(detector: GreenPairs, evidence: Evidence) -> GreenPairs:
    seeds = np.where(_silent(detector.settings, evidence), _SILENT, HfKgw.seeds_of(evidence.origins[:, 0]))
    return _OfText(detector.settings, seeds)


@for_parts.register
def _(detector: GreenPairs) -> Detector:
    return GreenParts(detector.settings)


@register_format(HfKgwSettings.keyword)
def _(method: Method, prf: str) -> GreenPairs:
    return GreenPairs(prf_type(prf))


def _silent(settings: HfKgwSettings, evidence: Evidence) -> np.ndarray:
    """Tokens of which the key says nothing: [t]."""
    unknown: np.ndarray = evidence.tokens >= settings.vocabulary
    return unknown if settings.selfhash else unknown | (evidence.contexts[:, -1] == 0)


def _contributions(settings: HfKgwSettings, evidence: Evidence) -> np.ndarray:
    green = evidence.green(Stream.SHARED, settings.gamma)
    return (green & ~_silent(settings, evidence)).astype(float)


def _readings(settings: HfKgwSettings, evidence: Evidence) -> Readings:
    green, silent = evidence.green(Stream.SHARED, settings.gamma), _silent(settings, evidence)
    told = np.where(silent, "-", np.where(green, "green", "red"))
    return Readings("list", {Stream.SHARED: told.tolist()})


@lru_cache(maxsize=4)
def _law(detector: _OfText, count: int) -> RowSum:
    seeds = detector.seeds[:count]
    # How many tokens a seed has, and how many seeds have as many.
    _, tokens = np.unique(seeds[seeds != _SILENT], return_counts=True)
    draws, seeds_of = np.unique(tokens, return_counts=True)
    return green_law(detector.settings, draws, seeds_of)


class _GreenSum(RowSum):
    """With the tilt of a binomial law, which is nearly that of hypergeometric ones."""

    def __init__(self, rows: np.ndarray, counts: np.ndarray, log_mass: np.ndarray, share: float):
        super().__init__(rows, counts, log_mass=log_mass)
        self._log_odds = math.log(share) - math.log1p(-share)

    def _tilt(self, k: int) -> float:
        if 0 < k < self._top:
            theta = max(0.0, math.log(k) - math.log(self._top - k) - self._log_odds)
            _, _, mean, variance = self._tilted(theta)
            # Where the middle of the tilted law lies this near, no digit of its tail is lost.
            if (theta == 0 and mean >= k) or (mean - k) ** 2 <= variance:
                return theta
        return super()._tilt(k)


def green_law(settings: HfKgwSettings, draws: np.ndarray, counts: np.ndarray) -> RowSum:
    """The law of the number of green tokens, where `counts[i]` seeds have `draws[i]` different ones.

    Args:
        settings: of the lists.
        draws: [m] different whole numbers >= 1.
        counts: [m] whole numbers >= 1.
    """
    n, size = settings.vocabulary, settings.size
    if not len(draws):
        return RowSum(np.zeros((1, 1), dtype=np.int64), np.ones(1, dtype=np.int64))
    k = np.arange(int(draws.max()) + 1)
    # Falling factorials of the list, of the others and of all, and factorials.
    with np.errstate(divide="ignore"):
        green, red, every, factorial = (
            np.append(0.0, np.cumsum(np.log(np.maximum(terms, 0.0))))
            for terms in (size - k[:-1], n - size - k[:-1], n - k[:-1], k[1:])
        )
    possible = k <= draws[:, None]
    rest = np.where(possible, draws[:, None] - k, 0)
    logs = green + red[rest] - every[draws][:, None]
    logs += factorial[draws][:, None] - factorial - factorial[rest]
    logs = np.where(possible, logs, -np.inf)
    logs -= special.logsumexp(logs, axis=-1, keepdims=True)
    # What is impossible must not count as the largest.
    least = np.argmax(logs > -np.inf, axis=-1)
    return _GreenSum(np.where(logs > -np.inf, k, least[:, None]), counts, logs, size / n)
