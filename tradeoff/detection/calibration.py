"""Error rates one can rely on: thresholds from null scores, rates with exact confidence intervals, ROC."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Rate", "check_fpr", "null_threshold", "rate", "roc"]


@dataclass(frozen=True)
class Rate:
    """A share of texts, with its exact (Clopper-Pearson) confidence interval."""

    value: float
    low: float
    high: float
    texts: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def rate(hits: np.ndarray, level: float = 0.95) -> Rate:
    """Share of true entries of `hits: [texts]`; ValueError if it is empty."""
    hits = np.asarray(hits, dtype=bool)
    if not len(hits):
        raise ValueError("a rate needs at least one text")
    found = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(level, method="exact")
    return Rate(float(hits.mean()), float(found.low), float(found.high), len(hits))


def check_fpr(fpr: float) -> None:
    """ValueError unless it is a rate in (0, 1)."""
    if not 0 < fpr < 1:
        raise ValueError(f"fpr={fpr} must be between 0 and 1; 0.01 is usual")


def null_threshold(null_scores: np.ndarray, fpr: float) -> float:
    """The score that a text without a watermark exceeds with probability at most `fpr`.

    The r-th largest of n null scores, r = floor(fpr (n + 1)): a further score of the same law exceeds it
    with probability at most r / (n + 1) <= fpr, for every law (scores being exchangeable). Infinite if
    there are fewer than 1/fpr - 1 null scores.

    Args:
        null_scores: [n] scores of texts without a watermark, on texts that are not tested.
        fpr: in (0, 1).

    Raises:
        ValueError: for a rate outside (0, 1) or scores that are not numbers.
    """
    check_fpr(fpr)
    scores = np.asarray(null_scores, float)
    if np.isnan(scores).any():
        raise ValueError("null_scores hold NaN; a detector gave no score for some text")
    allowed = math.floor(fpr * (len(scores) + 1) + 1e-9)
    return math.inf if allowed < 1 else float(np.sort(scores)[-allowed])


def roc(null_scores: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ROC curve: false- and true-positive rates [k] of "score > threshold", ascending from 0 to 1."""
    null_scores, scores = np.asarray(null_scores, float), np.asarray(scores, float)
    if not len(null_scores) or not len(scores):
        raise ValueError("a ROC curve needs scores of texts with and without a watermark")
    thresholds = np.concatenate([[np.inf], np.unique(np.concatenate([null_scores, scores]))[::-1], [-np.inf]])

    def shares(values: np.ndarray) -> np.ndarray:
        ordered = np.sort(values)
        return 1 - np.searchsorted(ordered, thresholds, side="right") / len(values)

    return shares(null_scores), shares(scores)
