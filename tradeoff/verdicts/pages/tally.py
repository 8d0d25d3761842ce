"""How many tokens score high, against how many would by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tradeoff.detection import Detector, Exactness
from tradeoff.verdicts.views import reaches

__all__ = ["Tally", "tally"]

#: Levels of a single score, rarest first: the first that any score reaches. Of few bits none is so rare.
_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
#: What a probability may differ from its level by, and be called by it.
_SAME = 1e-6
#: Expected numbers below this are told with a decimal.
_FEW = 10


@dataclass(frozen=True)
class Tally:
    """Tokens with high scores.

    Attributes:
        tokens: how many count.
        observed: how many of them score high.
        probability: that one does, without a watermark.
        exactness: what stands behind that probability.
    """

    tokens: int
    observed: int
    probability: float
    exactness: Exactness

    @property
    def expected(self) -> float:
        """How many would without a watermark, in the mean over keys."""
        return self.tokens * self.probability

    @property
    def sentence(self) -> str:
        """For people."""
        twentieth = abs(self.probability - _LEVELS[0]) < _SAME
        place = "in the top twentieth" if twentieth else f"in the top {100 * self.probability:.3g}%"
        how = {Exactness.BOUND: "at most ", Exactness.GIVEN_TEXT: "at most "}.get(
            self.exactness, "" if self.exactness.holds else "about "
        )
        tokens = f"Of {self.tokens:,} tokens that count" if self.tokens != 1 else "Of the 1 token that counts"
        does = "does" if self.observed == 1 else "do"
        return (
            f"{tokens}, {how}{_told(self.expected)} would score {place} by chance; {self.observed:,} {does}."
        )


def tally(detector: Detector, scores: np.ndarray) -> Tally | None:
    """Tokens with high scores, by the detector's own law of one score.

    Args:
        detector: that scored them.
        scores: [t] of the tokens that count.

    Returns:
        Their number and the one to be expected; None if none counts, or all scores are common.
    """
    if not len(scores):
        return None
    for level in _LEVELS:
        probability = math.exp(min(detector.log_p(detector.threshold(1, level), 1), 0.0))
        if 0 < probability <= level + _SAME:
            observed = int(reaches(detector, scores, level).sum())
            return Tally(len(scores), observed, probability, detector.exactness)
    return None


def _told(expected: float) -> str:
    """Rounded for people, upwards where that matters: 58, 6.3."""
    if expected >= _FEW:
        return f"{math.ceil(expected - _SAME):,}"
    return f"{math.ceil(10 * expected - _SAME) / 10:.1f}".removesuffix(".0")
