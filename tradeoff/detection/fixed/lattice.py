"""Detectors whose scores are whole numbers with one law: p-values by exact convolution."""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from tradeoff.detection.detector import Exactness, Readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.tails import LatticeSum
from tradeoff.keyed import Stream

__all__ = ["SILENT", "UNITS", "LatticeDetector", "Statistic", "check_streams", "log_ratio"]

#: What likelihood ratios take to be the share of tokens that tell nothing.
SILENT = 0.7
#: Units of a likelihood ratio in a nat.
UNITS = 1000


@runtime_checkable
class Statistic(Protocol):
    """Whole-number scores of one law: what completing a watermark asks of its detector.

    `LatticeDetector` has the attributes.
    """

    @property
    def streams(self) -> tuple[Stream, ...]: ...

    @property
    def lowest(self) -> int: ...

    @property
    def law(self) -> np.ndarray: ...

    @property
    def unit(self) -> int: ...

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray: ...

    def readings(self, evidence: Evidence) -> Readings: ...


class LatticeDetector:
    """A detector whose scores are whole numbers, with one exact law for every token and stream.

    Attributes:
        id, name: as of `Detector`.
        streams: those that drew tokens.
        law: probabilities [m] of the scores lowest, lowest + 1, ... of one token under one stream.
        lowest: the least score.
        unit: how many thousandths of a nat a score of 1 counts beside the race of a completed watermark.
    """

    id: ClassVar[str]
    name: ClassVar[str]
    null: ClassVar[str] = "exact: lattice convolution"
    exactness: ClassVar[Exactness] = Exactness.EXACT
    unit: ClassVar[int] = 1

    @property
    def streams(self) -> tuple[Stream, ...]:
        return (Stream.SHARED,)

    @property
    def lowest(self) -> int:
        raise NotImplementedError

    @property
    def law(self) -> np.ndarray:
        raise NotImplementedError

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """Scores of the tokens under one stream: [t] whole numbers."""
        raise NotImplementedError

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`: the scores, unless a detector has more to show."""
        scores = {s: [f"{score:g}" for score in self.of_stream(evidence, s)] for s in self.streams}
        return Readings("score", scores)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: whole numbers.

        Raises:
            ValueError: for scores that the law does not have, of which no p-value would be right.
        """
        return np.sum([self._checked(evidence, stream) for stream in self.streams], axis=0, dtype=float)

    def _checked(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        scores = np.asarray(self.of_stream(evidence, stream))
        low, high = self.lowest, self.lowest + len(self._law) - 1
        good = (scores >= low) & (scores <= high) & (scores == np.rint(scores))
        if scores.shape != (len(evidence),) or not good.all():
            told = f"shape {scores.shape}" if scores.shape != (len(evidence),) else f"{scores[~good][0]:g}"
            raise ValueError(
                f"detector {self.name!r} gives scores of {told}; of_stream must give one whole number from "
                f"{low} to {high} a token, as its lowest and law say"
            )
        return scores

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return self._sum.log_sf(statistic, count * len(self.streams))

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return self._sum.threshold(math.log(fpr), count * len(self.streams))

    @cached_property
    def _sum(self) -> LatticeSum:
        return LatticeSum(self.lowest + np.arange(len(self._law)), self._law, points=None)

    @cached_property
    def _law(self) -> np.ndarray:
        law = np.asarray(self.law, float)
        if law.ndim != 1 or not (law >= 0).all() or abs(law.sum() - 1) > 1e-9:
            raise ValueError(
                f"detector {self.name!r} has a law of shape {law.shape} and sum {law.sum():g}; it must be "
                "probabilities [m] that sum to 1"
            )
        return law


def log_ratio(log_bets: np.ndarray, silent: float = SILENT) -> np.ndarray:
    """log(silent + (1 - silent) mean e) of bets [m, bets], in units: [m] whole numbers."""
    ratio = np.exp(log_bets).mean(axis=-1)
    return np.rint(UNITS * np.log(silent + (1 - silent) * ratio)).astype(np.int64)


def check_streams(streams: tuple[Stream, ...]) -> None:
    """Raise ValueError without streams."""
    if not streams:
        raise ValueError("streams must name at least one stream that drew tokens")
