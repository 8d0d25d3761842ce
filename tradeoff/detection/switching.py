"""One e-process for a document whose watermark may begin and end anywhere.

Wealth is spread over all ways of switching the watermark on and off: at every token that counts a share of
what bets on "off" moves to "on" and back (fixed share, Herbster and Warmuth 1998). What is on stakes a
mixture of bets whose weights are learnt from the tokens before, what is off keeps its wealth. The sum of both
has mean 1 at every token whatever was read before, so that it may be looked at at any time; nobody needs to
begin anew where a text was unmarked so far: docs/theory/detection.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tradeoff.detection.bets.stream_bets import Bets, bet_values
from tradeoff.detection.evidence import Evidence

__all__ = ["LENGTH", "Switching", "SwitchingResult", "SwitchingWealth"]

#: Tokens between two updates of the weights of bets.
_BLOCK = 32
#: Of a marked passage, as the bets expect it, in tokens that count.
LENGTH = 256.0


@dataclass(frozen=True)
class SwitchingResult:
    """What the process knew of a text.

    Attributes:
        log_wealth: [t] log of the wealth after every token that counts.
        share: [t] posterior probability that the watermark was on there, given the whole text: for people,
            no p-value.
        index: [t] positions of the tokens.
    """

    log_wealth: np.ndarray = field(repr=False)
    share: np.ndarray = field(repr=False)
    index: np.ndarray = field(repr=False)

    @property
    def log_p(self) -> float:
        """Natural logarithm of the p-value, valid whenever reading stopped: of the largest wealth (Ville)."""
        return 0.0 - max(0.0, float(self.log_wealth.max(initial=0.0)))


@dataclass(frozen=True)
class Switching:
    """Bets on a document in parts.

    Args:
        bets: the family of bets, by the watermark; the first keeps the wealth.
        length: of a marked passage, in tokens that count: it ends at each with probability 1 / length.
        concentration: how many tokens the prior of the bets is worth.

    Raises:
        ValueError: for a length that is not above 1.
    """

    bets: Bets
    length: float = LENGTH
    concentration: float = 20.0

    def __post_init__(self) -> None:
        if not self.length > 1:
            raise ValueError(f"length={self.length} must be above 1; 256 is usual")

    def read(self, evidence: Evidence) -> SwitchingResult:
        """Read a text to its end, in time and memory proportional to its length."""
        told = self.wealth().feed(self.bets.log_bets(evidence))
        return SwitchingResult(told.log_wealth, self._smoothed(told.e_values, told.foreseen), evidence.index)

    def wealth(self) -> SwitchingWealth:
        """The same process token by token."""
        return SwitchingWealth(self.bets.prior, self.length, self.concentration)

    def _smoothed(self, e_values: np.ndarray, foreseen: np.ndarray) -> np.ndarray:
        """Posterior probability of "on" at every token, [t], from what was foreseen of it: by the tokens
        behind it, read backwards."""
        share, leave = np.empty(len(e_values)), 1 / self.length
        later_on = later_off = 1.0
        values, before = e_values.tolist(), foreseen.tolist()
        for t in reversed(range(len(values))):
            on, off = values[t] * later_on, later_off
            marked = before[t] * on
            share[t] = marked / (marked + (1 - before[t]) * off)
            enter = _enter(t)
            later_on, later_off = (1 - leave) * on + leave * off, enter * on + (1 - enter) * off
            largest = max(later_on, later_off)
            later_on, later_off = later_on / largest, later_off / largest
        return share


class _Told(NamedTuple):
    """Of every token [t]: e-value of what is on, prior probability that it is, log wealth after it."""

    e_values: np.ndarray
    foreseen: np.ndarray
    log_wealth: np.ndarray


class SwitchingWealth:
    """Wealth of a text that comes in parts; the same numbers whatever the parts.

    Args:
        prior: [bets] weights at the start, the first of the bet that keeps the wealth.
        length, concentration: as of `Switching`.

    Attributes:
        log_wealth: log of the wealth so far.
    """

    def __init__(self, prior: np.ndarray, length: float, concentration: float):
        self._worth = concentration * prior[1:] / prior[1:].sum()
        self._on, self._off, self._leave = 0.0, 1.0, 1 / length
        self._tokens, self.log_wealth = 0, 0.0
        self._learnt: list[float] = []
        self._staked: list[np.ndarray] = []

    def feed(self, log_bets: np.ndarray) -> _Told:
        """The next tokens: log e-values of the bets, [t, bets]."""
        bets = bet_values(log_bets[:, 1:])
        e_values, foreseen, found = (np.empty(len(bets)) for _ in range(3))
        first = 0
        while first < len(bets):
            # Weights are learnt from whole blocks, wherever parts begin.
            here = slice(first, first + _BLOCK - self._tokens % _BLOCK)
            staked = bets[here] * (self._worth / self._worth.sum())
            e_values[here] = staked.sum(axis=1)
            for t, e in enumerate(e_values[here].tolist(), start=first):
                foreseen[t], found[t] = self._step(e)
            self._staked.append(staked)
            if self._tokens % _BLOCK == 0:
                # From the tokens that are taken to be marked, as far as they are.
                self._worth = self._worth + np.array(self._learnt) @ np.concatenate(self._staked)
                self._learnt, self._staked = [], []
            first += len(staked)
        return _Told(e_values, foreseen, found)

    def _step(self, e: float) -> tuple[float, float]:
        """One token, of which what is on says e: (prior probability that it is, log wealth)."""
        moved = self._off * _enter(self._tokens)
        on = self._on * (1 - self._leave) + moved
        off = self._off - moved + self._on * self._leave
        total = on * e + off
        self._learnt.append(on / total)
        self._on, self._off = on * e / total, off / total
        self.log_wealth += math.log(total)
        self._tokens += 1
        return on, self.log_wealth


def _enter(t: int) -> float:
    """Share of what is off that moves to "on" at token t = 0, 1, ...: any start costs about log t."""
    return 1 / (t + 2)
