"""The authors' statistic of HeavyWater, sum f, with the law that it has in this text under this key.

Without a watermark every score is an independent draw from the row of its own token. Given the table and the
tokens, the law of sum f is thus the convolution of their rows: exact for every text, however its tokens
repeat, and every key. A law averaged over tables is none (docs/theory/detection.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import fft, optimize

from tradeoff.detection.detector import Exactness, Readings, score_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.keyed import Stream
from tradeoff.optimal_transport import Scores

__all__ = ["RowSum", "TableSum"]

#: Units of a score in a standard deviation.
_UNITS = 100
#: Least half-width, in standard deviations, of the window in which a tilted sum is computed.
_WINDOW = 12.0
#: Rows transformed at a time.
_BLOCK = 64


class RowSum:
    """The law of a sum of independent draws, count[i] of them from the entries of rows[i].

    As `tradeoff.detection.tails.LatticeSum`, by Fourier transforms of the laws tilted towards the value asked
    for, so that tails are right however small they are.

    Args:
        rows: [m, k] whole numbers.
        counts: [m] whole numbers >= 1.
        mass: [k] probabilities > 0 of the entries of every row; None for equal ones.
        log_mass: [m, k] logarithms of them, where every row has its own; an entry of -inf must equal another
            one of its row.
    """

    def __init__(
        self,
        rows: np.ndarray,
        counts: np.ndarray,
        mass: np.ndarray | None = None,
        log_mass: np.ndarray | None = None,
    ):
        k = rows.shape[-1]
        if log_mass is None:
            log_mass = np.full(k, -math.log(k)) if mass is None else np.log(mass / mass.sum())
        self._log_mass = log_mass
        self._lowest = rows.min(axis=-1)
        self._rows, self._counts = rows - self._lowest[:, None], counts
        self._low = int(counts @ self._lowest)
        self._top = int(counts @ self._rows.max(axis=-1))

    def log_sf(self, total: float) -> float:
        """log P(sum >= total), natural logarithm."""
        k = math.ceil(total - 1e-6) - self._low
        if k <= 0:
            return 0.0
        if k > self._top:
            return -math.inf
        theta = self._tilt(k)
        weights, log_total, mean, variance = self._tilted(theta)
        width = int(self._rows.max()) + 1
        # A deviation of few tokens says nothing of a heavy row's outliers, of which there may be two.
        reach = max(math.ceil(_WINDOW * math.sqrt(variance)), 2 * width) + 2 + abs(round(mean) - k)
        if 2 * reach + width > self._top:
            reach = self._top
        size = fft.next_fast_len(min(2 * reach + width, self._top + 1), real=True)
        transform = np.ones(size // 2 + 1, dtype=complex)
        for first in range(0, len(self._rows), _BLOCK):
            part = slice(first, first + _BLOCK)
            rows = self._rows[part] % size
            offset = np.arange(len(rows))[:, None] * size
            folded = np.bincount((rows + offset).ravel(), weights[part].ravel(), len(rows) * size)
            transforms = fft.rfft(folded.reshape(-1, size), axis=-1)
            transform *= (transforms ** self._counts[part, None]).prod(axis=0)
        law = fft.irfft(transform, size)
        ahead = np.arange(min(reach, self._top - k) + 1)
        tail = float(np.maximum(law[(k + ahead) % size], 0.0) @ np.exp(-theta * ahead))
        return min(0.0, math.log(tail) + log_total - theta * k) if tail > 0 else -math.inf

    def threshold(self, log_p: float) -> float:
        """The least total whose log_sf is at most `log_p`."""
        low, high = 0, self._top + 1
        while high - low > 1:
            middle = (low + high) // 2
            if self.log_sf(middle + self._low) <= log_p:
                high = middle
            else:
                low = middle
        return float(high + self._low)

    def _tilted(self, theta: float) -> tuple[np.ndarray, float, float, float]:
        """Tilted laws of the rows' entries [m, k]; log E exp(theta sum), mean and variance of the sum."""
        logs = theta * self._rows + self._log_mass
        most = logs.max(axis=-1, keepdims=True)
        weights = np.exp(logs - most)
        total = weights.sum(axis=-1)
        weights /= total[:, None]
        means = (weights * self._rows).sum(axis=-1)
        variances = (weights * (self._rows - means[:, None]) ** 2).sum(axis=-1)
        log_totals = most[:, 0] + np.log(total)
        return (
            weights,
            float(self._counts @ log_totals),
            float(self._counts @ means),
            float(self._counts @ variances),
        )

    def _tilt(self, k: int) -> float:
        """The theta >= 0 whose tilted mean is k."""

        def excess(theta: float) -> float:
            return self._tilted(theta)[2] - k

        if excess(0.0) >= 0:
            return 0.0
        high = 1.0 / _UNITS
        while excess(high) < 0:
            high *= 2
            # At the very top no tilt is enough, and this is one.
            if high > 700:
                return high
        return float(optimize.brentq(excess, 0.0, high, xtol=1e-9))


@dataclass(frozen=True, eq=False)
class TableSum:
    """sum f over the tokens and streams of one text, in hundredths of a standard deviation, rounded.

    A detector of the text that it was made for, and of its beginnings: p-values depend on the tokens. It has
    less power than `RankRatio` except where few tokens tell anything, as its own law has heavy tails.

    Make it by `TableSum.of`.
    """

    scores: Scores
    streams: tuple[Stream, ...]
    evidence: Evidence = field(repr=False)
    id: ClassVar[str] = "table-sum"
    name: ClassVar[str] = "sum of scores, given the tokens"
    exactness: ClassVar[Exactness] = Exactness.GIVEN_TEXT
    null: ClassVar[str] = "exact: convolution of the rows of the text's tokens"

    @classmethod
    def of(
        cls, evidence: Evidence, scores: Scores, streams: tuple[Stream, ...] = (Stream.SHARED,)
    ) -> TableSum:
        """For one text.

        Args:
            evidence: the text under its key.
            scores: of generation.
            streams: those that drew tokens.

        Raises:
            ValueError: without streams.
        """
        if not streams:
            raise ValueError("streams must name at least one stream that drew tokens")
        return cls(scores, streams, evidence)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return score_readings(evidence, self.streams, self.scores)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: whole numbers."""
        scores = [evidence.score(stream, self.scores) for stream in self.streams]
        return np.sum([np.rint(_UNITS * score) for score in scores], axis=0, dtype=float)

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`: of the text's first `count` tokens that count."""
        return self._law(count).log_sf(statistic)

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`, and `log_p`."""
        return self._law(count).threshold(math.log(fpr))

    def _law(self, count: int) -> RowSum:
        return _law(self, count)


@lru_cache(maxsize=4)
def _law(detector: TableSum, count: int) -> RowSum:
    tokens, counts = np.unique(detector.evidence.tokens[:count], return_counts=True)
    rows = np.rint(_UNITS * detector.evidence.score_rows(detector.scores, tokens)).astype(np.int64)
    return RowSum(rows, counts * len(detector.streams))
