"""Sequential detection: read a text token by token, stop whenever the evidence suffices.

Wealth that bets on every token at fair odds may be looked at after each: 1/max wealth is a p-value at any
time (Ville's inequality). How much is staked on which bet is learnt from the tokens read so far by predictive
recursion (Newton 2002): after t tokens the weights are the prior, worth `concentration` tokens, and the
posterior weights of the t tokens. Weights that depend on the past alone leave every e-value at mean 1.

A text may be marked from some token on, or in a part alone. Half of the wealth may be left to bets that begin
and end anywhere (`late`): it is lost where they are idle, log 2, and nobody needs to begin anew.

`OverTime` makes a fixed-length test valid at any time by Bonferroni's inequality: alpha / (k (k + 1)) at the
k-th token, which sums to alpha. Derivation: docs/theory/detection.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from tradeoff.anchored import log_p_values
from tradeoff.detection.bets.stream_bets import Bets, bet_values
from tradeoff.detection.detector import Detector, Exactness, Readings
from tradeoff.detection.evidence import Evidence, check_token_ids
from tradeoff.detection.switching import LENGTH, SwitchingWealth
from tradeoff.keyed import Prf, Stream

__all__ = [
    "CONCENTRATION",
    "OverTime",
    "Sequential",
    "SequentialResult",
    "SequentialTest",
    "TokenStream",
    "Wealth",
    "bonferroni",
    "log_e_values",
    "of_e_values",
]

#: How many tokens the prior is worth.
CONCENTRATION = 20.0


class Wealth:
    """Log wealth of one or many texts that bet on token after token.

    Args:
        prior: [bets] weights at the start; positive for a bet that keeps the wealth.
        batch: leading axes, one entry a text.
        concentration: how many tokens the prior is worth.

    Attributes:
        log_wealth: `[batch]` log of the product of all e-values so far.
        log_peak: `[batch]` its maximum over time, at least 0.
    """

    def __init__(self, prior: np.ndarray, batch: tuple[int, ...] = (), concentration: float = CONCENTRATION):
        self._weights = np.broadcast_to(prior, (*batch, len(prior)))
        self._tokens, self._concentration = 0, concentration
        self.log_wealth, self.log_peak = np.zeros(batch), np.zeros(batch)

    def bet(self, log_bets: np.ndarray) -> np.ndarray:
        """The next token: log e-values `[batch, bets]` -> log e-value of their mixture `[batch]`."""
        with np.errstate(under="ignore"):
            staked = self._weights * bet_values(log_bets)
        total = staked.sum(axis=-1)
        self._tokens += 1
        step = 1 / (self._concentration + self._tokens)
        self._weights = (1 - step) * self._weights + step * staked / total[..., None]
        log_e = np.log(total)
        self.log_wealth = self.log_wealth + log_e
        self.log_peak = np.maximum(self.log_peak, self.log_wealth)
        return log_e


class _LateWealth:
    """Half of the wealth bets on the whole text, half on parts of it (`Switching`): one text, token by token.

    Args:
        prior, concentration: as of `Wealth`.
    """

    def __init__(self, prior: np.ndarray, concentration: float):
        self._whole = Wealth(prior, (), concentration)
        self._parts = SwitchingWealth(prior, LENGTH, concentration)
        self.log_wealth = self.log_peak = 0.0

    def bet(self, log_bets: np.ndarray) -> float:
        """The next token: log e-values [bets] -> log of what the wealth was multiplied by."""
        self._whole.bet(log_bets)
        self._parts.feed(log_bets[None])
        after = float(np.logaddexp(self._whole.log_wealth, self._parts.log_wealth)) - math.log(2)
        log_e, self.log_wealth = after - self.log_wealth, after
        self.log_peak = max(self.log_peak, after)
        return log_e


def log_e_values(log_bets: np.ndarray, prior: np.ndarray, concentration: float = CONCENTRATION) -> np.ndarray:
    """log e-value of every token: `[..., t, bets] -> [..., t]`; their sum over time is the log wealth."""
    wealth = Wealth(prior, log_bets.shape[:-2], concentration)
    steps = [wealth.bet(log_bets[..., t, :]) for t in range(log_bets.shape[-2])]
    return np.stack(steps, axis=-1) if steps else np.zeros(log_bets.shape[:-1])


@dataclass(frozen=True)
class SequentialResult:
    """What a sequential test knew after every token that counts.

    Attributes:
        detector: its name.
        log_p: [t] natural logarithm of the anytime-valid p-value; never rises.
        index: [t] positions of the tokens.
        log_wealth: [t] log wealth of an e-process; empty for tests without one.
    """

    detector: str
    log_p: np.ndarray = field(repr=False)
    index: np.ndarray = field(repr=False)
    log_wealth: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0))

    def tokens_needed(self, alpha: float) -> int | None:
        """After how many tokens of the text, counted or not, p <= alpha; None if never.

        Raises:
            ValueError: for a level outside (0, 1).
        """
        reached = np.flatnonzero(self.log_p <= _log_level(alpha))
        return int(self.index[reached[0]]) + 1 if len(reached) else None


class SequentialTest(Protocol):
    """A test that may be stopped after any token."""

    @property
    def name(self) -> str:
        """As in tables."""

    def test(self, evidence: Evidence) -> SequentialResult:
        """Read a text to its end."""


@dataclass(frozen=True)
class Sequential:
    """Betting on the tokens of a text. As a `Detector` too, whose scores are log e-values.

    Args:
        bets: the family of bets, by the watermark.
        concentration: how many tokens the prior is worth.
        late: leave half of the wealth to bets that may begin and end at any token.
    """

    bets: Bets
    concentration: float = CONCENTRATION
    late: bool = False
    id: ClassVar[str] = "bets"
    null: ClassVar[str] = "any: fair bets (Ville)"
    exactness: ClassVar[Exactness] = Exactness.BOUND

    @property
    def name(self) -> str:
        """As in tables."""
        return f"{self.bets.name}, from any token on" if self.late else self.bets.name

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Whose numbers are bet on."""
        return self.bets.streams

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return self.bets.readings(evidence)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: log e-values."""
        log_bets = self.bets.log_bets(evidence)
        if not self.late:
            return log_e_values(log_bets, self.bets.prior, self.concentration)
        wealth = _LateWealth(self.bets.prior, self.concentration)
        return np.array([wealth.bet(row) for row in log_bets])

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`: an e-value above 1/p has probability at most p (Markov)."""
        return 0.0 - max(statistic, 0.0)

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return -math.log(fpr)

    def test(self, evidence: Evidence) -> SequentialResult:
        """See `SequentialTest.test`."""
        return of_e_values(self.name, self.contributions(evidence), evidence.index)

    def stream(self, prf: Prf, alpha: float = 0.01) -> TokenStream:
        """Read a text while it is being written, at level alpha."""
        return TokenStream(self, prf, alpha)


def of_e_values(name: str, log_e: np.ndarray, index: np.ndarray) -> SequentialResult:
    """The result of a test whose tokens have the log e-values [t]."""
    log_wealth = np.cumsum(log_e)
    return SequentialResult(name, log_p_values(log_wealth), index, log_wealth)


class TokenStream:
    """A text that arrives in parts; the same numbers as `Sequential.test` on the whole of it.

    Args:
        detector: with the bets of the watermark.
        prf: the keyed pseudorandom function.
        alpha: level at which the text is called watermarked.

    Attributes:
        tokens: how many were read.
        index: positions of those that counted.
        log_e: their log e-values.
        tokens_needed: after how many tokens p <= alpha; None so far. Once certain, it stays so.

    Raises:
        ValueError: for a level outside (0, 1).
    """

    def __init__(self, detector: Sequential, prf: Prf, alpha: float = 0.01):
        self._bets, self._prf, self._log_alpha = detector.bets, prf, _log_level(alpha)
        kind = _LateWealth if detector.late else Wealth
        self._wealth: _LateWealth | Wealth = kind(detector.bets.prior, concentration=detector.concentration)
        self._tail = np.zeros(0, dtype=np.int64)
        self._seen: set[bytes] = set()
        self.tokens = 0
        self.index: list[int] = []
        self.log_e: list[float] = []
        self.tokens_needed: int | None = None

    def feed(self, token_ids: Sequence[int] | np.ndarray) -> float:
        """The next tokens, one or many; log wealth after them.

        Raises:
            ValueError: for what are no token ids.
        """
        fed = check_token_ids(token_ids)
        # A position's numbers depend on the tokens just before it, so the last ones stand for the text.
        joined = np.concatenate([self._tail, fed])
        evidence, old = Evidence(joined, self._prf), len(self._tail)
        new = []
        for position, origin in zip(evidence.index, evidence.origins, strict=True):
            new.append(position >= old and origin.tobytes() not in self._seen)
            if new[-1]:
                self._seen.add(origin.tobytes())
        here = evidence.restricted(np.array(new, dtype=bool))
        for position, log_bets in zip(here.index, self._bets.log_bets(here), strict=True):
            self.log_e.append(float(self._wealth.bet(log_bets)))
            self.index.append(self.tokens + int(position) - old)
            if self.tokens_needed is None and self.log_p <= self._log_alpha:
                self.tokens_needed = self.index[-1] + 1
        self.tokens += len(fed)
        self._tail = joined[-self._prf.context_width :]
        return self.log_wealth

    @property
    def log_wealth(self) -> float:
        """log of the current wealth, an e-value at any time."""
        return float(self._wealth.log_wealth)

    @property
    def log_p(self) -> float:
        """log of the anytime-valid p-value: -log of the highest wealth so far."""
        return 0.0 - float(self._wealth.log_peak)


@dataclass(frozen=True)
class OverTime:
    """A fixed-length test looked at after every token, paid for by Bonferroni's inequality.

    Args:
        detector: a detector with an exact null law.
    """

    detector: Detector

    @property
    def name(self) -> str:
        """As in tables."""
        return f"{self.detector.name}, Bonferroni over time"

    def test(self, evidence: Evidence) -> SequentialResult:
        """See `SequentialTest.test`."""
        sums = np.cumsum(self.detector.contributions(evidence))
        log_p = np.array([self.detector.log_p(float(x), k) for k, x in enumerate(sums, start=1)])
        return bonferroni(self.name, log_p, evidence.index)


def bonferroni(name: str, log_p: np.ndarray, index: np.ndarray) -> SequentialResult:
    """The result of a test with p-values [t] for the first 1, 2, ... tokens that count."""
    k = np.arange(1, len(log_p) + 1)
    corrected = np.minimum(log_p + np.log(k * (k + 1.0)), 0.0)
    return SequentialResult(name, np.minimum.accumulate(corrected), index)


def _log_level(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha} must be between 0 and 1; 0.01 is usual")
    return math.log(alpha)
