"""What a detector sees, without a hash: ideal numbers in place of keyed ones, and tests of null laws."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from tests.helpers.support import ALPHA
from tradeoff.detection import Detector
from tradeoff.detection.forecast import expected_score, score_variance
from tradeoff.keyed.prf import Stream
from tradeoff.optimal_transport.scores import Scores


class Given:
    """Stands for an Evidence whose numbers are given.

    By stream uniforms [t], bits [t, m], and scores and ranks [t] of whatever family; coins.
    """

    def __init__(
        self,
        uniforms: dict[Stream, np.ndarray] | None = None,
        bits: dict[Stream, np.ndarray] | None = None,
        coins: np.ndarray | None = None,
        drafted: np.ndarray | None = None,
        scores: dict[Stream, np.ndarray] | None = None,
        ranks: dict[Stream, np.ndarray] | None = None,
    ):
        self._uniforms, self._bits, self._coins, self._drafted = uniforms or {}, bits or {}, coins, drafted
        self._scores, self._ranks = scores or {}, ranks or {}
        given = {**self._uniforms, **self._bits, **self._scores, **self._ranks}
        first = next(iter(given.values()))
        self.index = np.arange(len(first))
        # Ars-Prior seeds its choices with them.
        self.tokens = np.arange(min(len(first), 50))

    def __len__(self) -> int:
        return len(self.index)

    def uniform(self, stream: Stream) -> np.ndarray:
        return self._uniforms[stream]

    def coin(self) -> np.ndarray:
        assert self._coins is not None
        return self._coins

    def bits(self, stream: Stream, rounds: int) -> np.ndarray:
        return self._bits[stream][:, :rounds]

    def score(self, stream: Stream, family: Scores) -> np.ndarray:
        return self._scores[stream]

    def rank(self, stream: Stream, family: Scores) -> np.ndarray:
        return self._ranks[stream]

    @property
    def drafted(self) -> np.ndarray:
        assert self._drafted is not None
        return self._drafted


def unmarked(tokens: int, seed: int, rounds: int = 0) -> Given:
    """Independent uniforms, coins, sources and bits for every stream: a text without a watermark."""
    rng = np.random.default_rng(seed)
    streams = (Stream.SHARED, Stream.DRAFT, Stream.TARGET)
    return Given(
        {stream: rng.random(tokens) for stream in streams},
        {stream: rng.integers(0, 2, (tokens, rounds)).astype(np.int8) for stream in streams},
        rng.random(tokens),
        rng.random(tokens) < 0.5,
    )


def moments(weights: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the score of a token that wins with one of the probabilities."""
    means = expected_score(probabilities)
    second = score_variance(probabilities) + means**2
    mean = weights @ means
    return mean, math.sqrt(weights @ second - mean**2)


def assert_uniform(p: np.ndarray) -> None:
    """p-values are uniform: as a whole, and in either tail."""
    assert stats.kstest(p, "uniform").pvalue > ALPHA
    for level in (1e-3, 0.01, 1 - 1e-3):
        assert stats.binomtest(int((p <= level).sum()), len(p), level).pvalue > ALPHA, level


def assert_null_law(log_p: Callable[[float], float], statistics: np.ndarray, points: int = 1000) -> None:
    """`log_p` turns the statistics into uniform p-values: Kolmogorov-Smirnov, and both tails.

    It is a falling function, so few of many statistics need be asked: the distance at `points` of them is
    at most that at all, and how many p-values lie below a level is found by bisection.
    """
    ordered = np.sort(statistics)[::-1]
    n = len(ordered)
    ranks = np.unique(np.linspace(0, n - 1, points).astype(int))
    p = np.exp([log_p(float(x)) for x in ordered[ranks]])
    assert (np.diff(p) >= -1e-12).all()
    distance = max(float(np.max((ranks + 1) / n - p)), float(np.max(p - ranks / n)))
    assert distance <= stats.kstwo.isf(ALPHA, n), distance
    for level in (1e-3, 0.01, 1 - 1e-3):
        below = bisect.bisect_right(ordered, math.log(level), key=lambda x: log_p(float(x)))
        assert stats.binomtest(below, n, level).pvalue > ALPHA, (level, below / n)


def true_positives(detector: Detector, texts: list[Given], tokens: int) -> np.ndarray:
    """Whether each text of `tokens` tokens is detected at 1%."""
    scores = np.concatenate([detector.contributions(text) for text in texts])
    sums = scores.reshape(-1, tokens).sum(axis=1)
    # The smallest sum that is detected, by bisection: one law serves all texts.
    ordered = np.sort(sums)
    low, high = -1, len(ordered)
    while high - low > 1:
        middle = (low + high) // 2
        if detector.log_p(float(ordered[middle]), tokens) <= math.log(0.01):
            high = middle
        else:
            low = middle
    return sums >= ordered[high] if high < len(ordered) else np.zeros(len(sums), dtype=bool)
