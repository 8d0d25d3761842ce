"""The likelihood-ratio test of a detector that can run the models: the sharpest there is.

With the laws of both models at a position, the key determines the token of a degenerate method. The token
w of the text either is that token (a hit) or not. Its likelihood ratio, with an allowance epsilon for
edits, positions whose law differs (bonus tokens, unknown prompts) and true randomness, is

    L = (1 - epsilon) hit / P(w) + epsilon.

Whatever the text, a random key hits w with probability P(w): the null law is a product of known two-point
laws, and its tail is estimated by exponential tilting (Theorem 3.1). Derivation: docs/theory/detection.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from tradeoff.detection.detector import Score

__all__ = ["DRAWS", "ModelAware", "TiltedTail", "tilt_to", "tilted_tail", "two_point_log_sf"]

#: Of importance sampling.
DRAWS = 20_000


@dataclass(frozen=True)
class TiltedTail:
    """A tail probability estimated by importance sampling.

    Attributes:
        log_p: its natural logarithm.
        relative_error: standard error over estimate.
    """

    log_p: float
    relative_error: float


def two_point_log_sf(
    total: float, probability: np.ndarray, high: np.ndarray, low: np.ndarray, seed: int = 0
) -> TiltedTail:
    """log P(X_1 + ... + X_t >= total), X_i independent, `high` with its probability and `low` otherwise.

    Args:
        total: what the sum must reach.
        probability: [t] in [0, 1].
        high, low: [t] values, high >= low.
        seed: of the importance sampling.
    """
    p, gain = np.asarray(probability, float), np.asarray(high, float) - np.asarray(low, float)
    possible = (p > 0) & (gain > 0)
    needed = total - float(np.sum(low)) - float(gain[p >= 1].sum())
    p, gain = p[possible & (p < 1)], gain[possible & (p < 1)]
    tolerance = 1e-9 * max(1.0, abs(total))
    if needed <= tolerance:
        return TiltedTail(0.0, 0.0)
    if needed > gain.sum() + tolerance:
        return TiltedTail(-math.inf, 0.0)
    odds = np.log(p) - np.log1p(-p)

    def mean(theta: float) -> float:
        return float(special.expit(odds + theta * gain) @ gain)

    theta = tilt_to(needed, mean, float(gain.sum()))
    tilted = special.expit(odds + theta * gain)
    # log E exp(theta sum gain), from log(1 - p + p exp(theta gain)).
    log_total = float(np.logaddexp(np.log1p(-p), np.log(p) + theta * gain).sum())
    rng = np.random.default_rng(seed)
    sums = np.empty(DRAWS)
    step = max(1, 2_000_000 // max(len(p), 1))
    for first in range(0, DRAWS, step):
        part = sums[first : first + step]
        part[:] = (rng.random((len(part), len(p))) < tilted) @ gain
    return tilted_tail(sums, needed, theta, log_total)


def tilt_to(needed: float, mean: Callable[[float], float], most: float) -> float:
    """The theta >= 0 at which `mean`, of a sum of gains >= 0 tilted by theta, is `needed`; below `most`."""
    if mean(0.0) >= needed:
        return 0.0
    highest = 1.0
    while mean(highest) < min(needed, most * (1 - 1e-9)) and highest < 1e6:
        highest *= 2
    if mean(highest) <= needed:
        return highest
    return float(optimize.brentq(lambda t: mean(t) - needed, 0.0, highest))


def tilted_tail(sums: np.ndarray, needed: float, theta: float, log_total: float) -> TiltedTail:
    """log P(S >= needed) from draws of S tilted by `theta`, with log E exp(theta S) = `log_total`."""
    # Sums of the same numbers in another order are the same.
    tolerance = 1e-9 * max(1.0, abs(needed))
    weights = np.where(sums >= needed - tolerance, np.exp(-theta * (sums - needed)), 0.0)
    mean_weight = float(weights.mean())
    if mean_weight == 0:
        # Nothing as extreme was drawn: at most this, by Markov's inequality under the tilt.
        return TiltedTail(min(0.0, log_total - theta * needed), math.inf)
    error = float(weights.std(ddof=1) / math.sqrt(len(sums)) / mean_weight)
    return TiltedTail(min(0.0, math.log(mean_weight) + log_total - theta * needed), error)


def check_allowance(epsilon: float) -> None:
    """ValueError unless it is in (0, 1)."""
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon={epsilon} must be between 0 and 1; 0.1 is usual")


@dataclass(frozen=True)
class ModelAware:
    """The test, given hits and probabilities (`tradeoff.llm.replay` computes them).

    Args:
        epsilon: allowance in (0, 1): a guess of the share of tokens that the key does not explain.
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        check_allowance(self.epsilon)

    def log_ratio(self, hits: np.ndarray, probability: np.ndarray) -> np.ndarray:
        """log L of every token: [t]."""
        ratio = np.where(hits, (1 - self.epsilon) / np.maximum(probability, 1e-300), 0.0) + self.epsilon
        return np.log(ratio)

    def test(self, hits: np.ndarray, probability: np.ndarray, index: np.ndarray | None = None) -> Score:
        """The verdict on a text.

        Args:
            hits: [t] whether the token is the one that the key determines.
            probability: [t] P(token) under the target as it was sampled from.
            index: [t] positions in the text; 0 .. t - 1 if left out.
        """
        hits, probability = np.asarray(hits, bool), np.asarray(probability, float)
        scores = self.log_ratio(hits, probability)
        high = self.log_ratio(np.ones_like(hits), probability)
        low = np.full(len(hits), math.log(self.epsilon))
        statistic = float(scores.sum())
        tail = two_point_log_sf(statistic, probability, high, low)
        where = np.arange(len(hits)) if index is None else index
        return Score("model-aware", statistic, tail.log_p, len(hits), where, scores)
