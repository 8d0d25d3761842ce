"""How many tokens a watermark needs: expected scores, power, and length for a wanted power.

The score -log(1 - U) of a token that wins a race with probability p has the distribution function
(1 - exp(-h))^(1/p): mean digamma(1 + 1/p) + gamma (= sum_k 1/(k (1 + k p))), variance
pi^2/6 - trigamma(1 + 1/p). Without a watermark it is Exp(1), the same with p = 1. Derivation:
docs/theory/detection.md. Of SynthID and HeavyWater the laws of whole-number scores serve as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy import special

from tradeoff.detection.calibration import check_fpr
from tradeoff.detection.race_scores import RaceScoreLaw, mixed_score_law
from tradeoff.detection.tails import LatticeSum, score_lattice, score_middles

__all__ = [
    "Forecast",
    "expected_score",
    "power",
    "predicted_power",
    "probabilities_of_entropy",
    "score_variance",
    "tokens_needed",
]

_LONGEST = 100_000
#: Probabilities below count as this one: no text has enough of them to matter.
_LEAST = 1e-9
#: Distribution functions looked at a time: 8 MiB.
_BLOCK = 1 << 20


class _WholeScores(Protocol):
    """A detector whose scores are whole numbers: `LatticeDetector`, `WeightedMeanBits`."""

    @property
    def lowest(self) -> int: ...

    def threshold(self, count: int, fpr: float) -> float: ...


def expected_score(p: np.ndarray | float) -> np.ndarray:
    """Mean of -log(1 - U) of a token won with probability `p`: [...]; 1 at p = 1."""
    return special.digamma(1 + 1 / np.asarray(p, float)) + np.euler_gamma


def score_variance(p: np.ndarray | float) -> np.ndarray:
    """Variance of -log(1 - U) of a token won with probability `p`: [...]; 1 at p = 1."""
    return np.pi**2 / 6 - special.polygamma(1, 1 + 1 / np.asarray(p, float))


def probabilities_of_entropy(entropy: np.ndarray) -> np.ndarray:
    """exp(-H): [...] the probabilities of typical tokens of positions with entropy H in nats.

    A first guess for planning without logged probabilities: it ignores how tokens of one position differ.
    """
    return np.exp(-np.asarray(entropy, float))


class Forecast:
    """The expected TPR of Aaronson's test on texts of any length, without speculation.

    `Forecast.of_laws` has it for other methods, and `Forecast.of_scores` for other watermarks.

    Args:
        profiles: for every kind of text, [k] probabilities under the model of the tokens it generates;
            a text draws its tokens' probabilities from one profile, one by one, which spreads sums more
            than the positions of one text do: high rates are told a little low. Texts differ in entropy, so
            one profile a text, not one for all, predicts their rate.
        fpr: false-positive rate of the test.

    Raises:
        ValueError: for no profiles, what is no probability in (0, 1], or a rate outside (0, 1).
    """

    def __init__(self, profiles: Sequence[np.ndarray], fpr: float = 0.01):
        check_fpr(fpr)
        if not len(profiles):
            raise ValueError("profiles are empty; pass at least one list of token probabilities")
        laws = [_score_law(np.asarray(profile, float)) for profile in profiles]
        self._of(laws, lambda tokens, fpr: float(special.gammainccinv(tokens, fpr)), fpr)

    @classmethod
    def of_laws(cls, texts: Iterable[Iterable[RaceScoreLaw]], fpr: float = 0.01) -> Forecast:
        """The expected TPR of the default detector, from what its scores are at positions of texts.

        The detector is Aaronson's sum, or the sum of both keys where the laws are of both.

        Args:
            texts: for every kind of text, the laws at its positions (`race_score_law`), all of one stream or
                all of both; a text draws its positions from one kind.
            fpr: false-positive rate of the test.

        Raises:
            ValueError: for no texts, a text without laws, laws of both kinds, or a rate outside (0, 1).
        """
        check_fpr(fpr)
        found = [mixed_score_law(laws) for laws in texts]
        if len({scores for _, scores in found}) != 1:
            raise ValueError("texts must be at least one, their laws all of one stream or all of both")
        scores = found[0][1]
        forecast = cls.__new__(cls)
        forecast._of(
            [law for law, _ in found],
            lambda tokens, fpr: float(special.gammainccinv(scores * tokens, fpr)),
            fpr,
        )
        return forecast

    @classmethod
    def of_scores(cls, laws: Sequence[np.ndarray], detector: _WholeScores, fpr: float = 0.01) -> Forecast:
        """The expected TPR of a detector whose scores are whole numbers, from their laws with a watermark.

        Args:
            laws: for every kind of text, [m] probabilities of the scores of a token from `detector.lowest`
                on (`won_score_law`); a text draws its scores from one kind.
            detector: whose thresholds are those of its exact null law.
            fpr: false-positive rate of the test.

        Raises:
            ValueError: for no laws, or a rate outside (0, 1).
        """
        check_fpr(fpr)
        if not len(laws):
            raise ValueError("laws are empty; pass at least one")
        forecast = cls.__new__(cls)
        sums = [LatticeSum(detector.lowest + np.arange(len(law)), law, points=None) for law in laws]
        forecast._of(sums, detector.threshold, fpr)
        return forecast

    def _of(self, laws: Sequence[LatticeSum], threshold: Callable[[int, float], float], fpr: float) -> None:
        """From the law of what a token scores, a profile each, and thresholds by tokens and rate."""
        self._fpr, self._laws, self._threshold = fpr, laws, threshold
        # Several rates are asked for, and lengths looked at for one serve the next.
        self._cached = lru_cache(maxsize=4096)(self._power)

    def power(self, tokens: int, fpr: float | None = None) -> float:
        """The mean over profiles of the probability that `tokens` scored tokens are detected.

        Args:
            tokens: how many count.
            fpr: another false-positive rate than that of the forecast.

        Raises:
            ValueError: for less than one token, or a rate outside (0, 1).
        """
        if tokens < 1:
            raise ValueError(f"tokens={tokens} must be at least 1")
        if fpr is not None:
            check_fpr(fpr)
        return self._cached(int(tokens), self._fpr if fpr is None else fpr)

    def tokens_needed(self, tpr: float = 0.95, fpr: float | None = None) -> int | None:
        """The fewest scored tokens whose power reaches `tpr`; None if a hundred thousand do not.

        Of scores that are whole numbers power may fall by a little from one length to the next, so that a few
        tokens less may reach it too.

        Args:
            tpr: the rate of detection wanted, in (0, 1).
            fpr: as of `power`.

        Raises:
            ValueError: for a rate outside (0, 1).
        """
        if not 0 < tpr < 1:
            raise ValueError(f"tpr={tpr} must be between 0 and 1; 0.95 is usual")
        low, high = 0, 1
        while self.power(high, fpr) < tpr:
            if high == _LONGEST:
                return None
            low, high = high, min(2 * high, _LONGEST)
        while high - low > 1:
            middle = (low + high) // 2
            if self.power(middle, fpr) < tpr:
                low = middle
            else:
                high = middle
        return high

    def _power(self, tokens: int, fpr: float) -> float:
        threshold = self._threshold(tokens, fpr)
        return float(np.mean([np.exp(law.log_sf(threshold, tokens)) for law in self._laws]))


def predicted_power(laws: Iterable[RaceScoreLaw], tokens: int, fpr: float = 0.01) -> float:
    """The expected TPR of the default detector on texts of `tokens` scored tokens, of one kind.

    Texts that differ in entropy want a kind each; see `Forecast.of_laws`.
    """
    return Forecast.of_laws([laws], fpr).power(tokens)


def power(profiles: Sequence[np.ndarray], tokens: int, fpr: float = 0.01) -> float:
    """The expected TPR of Aaronson's test on texts of `tokens` scored tokens; see `Forecast`."""
    return Forecast(profiles, fpr).power(tokens)


def tokens_needed(profiles: Sequence[np.ndarray], tpr: float = 0.95, fpr: float = 0.01) -> int:
    """The fewest scored tokens with which the expected TPR reaches `tpr`; see `Forecast`.

    Raises:
        ValueError: if a hundred thousand tokens do not, or for rates outside (0, 1).
    """
    needed = Forecast(profiles, fpr).tokens_needed(tpr)
    if needed is None:
        raise ValueError(
            f"tpr={tpr} is not reached with {_LONGEST} tokens; the profile has too little entropy"
        )
    return needed


def _score_law(probability: np.ndarray) -> LatticeSum:
    """The law of the score of a token that is drawn from a profile.

    Its mean and variance are those of the closed forms.
    """
    if probability.ndim != 1 or not len(probability) or not ((probability > 0) & (probability <= 1)).all():
        raise ValueError("a profile must be a list of token probabilities in (0, 1]")
    p, counts = np.unique(np.maximum(probability, _LEAST), return_counts=True)
    share = counts / len(probability)
    # The mass of what is rounded to each point; the last has all that lies above.
    log_v = np.log1p(-np.exp(-score_middles()))
    cdf = np.zeros(len(log_v))
    step = max(1, _BLOCK // len(log_v))
    for first in range(0, len(p), step):
        here = slice(first, first + step)
        logs = log_v / p[here, None]
        # Whatever is smaller is nothing here, and takes several times as long where it underflows.
        np.maximum(logs, -50.0, out=logs)
        cdf += share[here] @ np.exp(logs, out=logs)
    # Far up the rounding of the sums is larger than what they grow by.
    mass = np.maximum(np.diff(cdf, prepend=0.0, append=1.0), 0.0)
    means = expected_score(p)
    mean = share @ means
    return score_lattice(mass, mean, share @ (score_variance(p) + (means - mean) ** 2))
