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

import numpy as np

from tradeoff.detection.bets.stream_bets import Bets
from tradeoff.detection.evidence import Evidence

__all__ = ["Switching", "SwitchingResult"]

#: Tokens between two updates of the weights of bets.
_BLOCK = 32
#: Beside 1, the e-value of keeping, what is below exp(-700) is nothing; above it floats end.
_LARGEST = 700.0


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
    length: float = 256.0
    concentration: float = 20.0

    def __post_init__(self) -> None:
        if not self.length > 1:
            raise ValueError(f"length={self.length} must be above 1; 256 is usual")

    def read(self, evidence: Evidence) -> SwitchingResult:
        """Read a text to its end, in time and memory proportional to its length."""
        bets = np.exp(np.minimum(self.bets.log_bets(evidence)[:, 1:], _LARGEST))
        prior = self.bets.prior[1:]
        worth = self.concentration * prior / prior.sum()
        on, off, log_wealth, leave = 0.0, 1.0, 0.0, 1 / self.length
        e_values, found, foreseen = (np.empty(len(bets)) for _ in range(3))
        for first in range(0, len(bets), _BLOCK):
            here = slice(first, first + _BLOCK)
            staked = bets[here] * (worth / worth.sum())
            e_values[here] = staked.sum(axis=1)
            learnt = []
            for t, e in enumerate(e_values[here].tolist(), start=first):
                moved = off * _enter(t)
                on, off = on * (1 - leave) + moved, off - moved + on * leave
                foreseen[t] = on
                total = on * e + off
                learnt.append(on / total)
                on, off = on * e / total, off / total
                log_wealth += math.log(total)
                found[t] = log_wealth
            # From the tokens that are taken to be marked, as far as they are.
            worth = worth + np.array(learnt) @ staked
        return SwitchingResult(found, self._smoothed(e_values, foreseen), evidence.index)

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


def _enter(t: int) -> float:
    """Share of what is off that moves to "on" at token t = 0, 1, ...: any start costs about log t."""
    return 1 / (t + 2)
