"""What every detector offers: a score for every token that counts, and the law of their sum."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from tradeoff.detection.evidence import Evidence

__all__ = ["Detector", "Result", "detect"]


@runtime_checkable
class Detector(Protocol):
    """A test of "this text carries the watermark of this key" by a sum of token scores."""

    @property
    def name(self) -> str:
        """As in tables."""

    @property
    def null(self) -> str:
        """Where p-values come from: the law of the statistic without a watermark."""

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """Scores of the tokens that count: [t], large with a watermark."""

    def log_p(self, statistic: float, count: int) -> float:
        """log p-value (natural) of a sum of `count` scores."""

    def threshold(self, count: int, fpr: float) -> float:
        """The least sum of `count` >= 1 scores whose p-value is at most `fpr`, to the fineness of its law."""


@dataclass(frozen=True)
class Result:
    """The verdict of one detector on one text.

    Attributes:
        detector: its name.
        statistic: the sum of token scores.
        log_p: natural logarithm of the p-value.
        tokens_scored: how many tokens counted.
        index: their positions, [tokens_scored].
        contributions: their scores, [tokens_scored].
    """

    detector: str
    statistic: float
    log_p: float
    tokens_scored: int
    index: np.ndarray = field(repr=False)
    contributions: np.ndarray = field(repr=False)

    @property
    def log10_p(self) -> float:
        """Decimal logarithm of the p-value: 0 where nothing could be scored."""
        return self.log_p / math.log(10)


def detect(detector: Detector, evidence: Evidence) -> Result:
    """Score a text."""
    scores = detector.contributions(evidence)
    statistic = float(scores.sum())
    log_p = detector.log_p(statistic, len(scores)) if len(scores) else 0.0
    return Result(detector.name, statistic, log_p, len(scores), evidence.index, scores)
