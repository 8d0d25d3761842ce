"""Untrained detectors of SynthID: mean and weighted mean of the tournament bits, with exact null laws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy import stats

from tradeoff.decoders import SynthID
from tradeoff.detection.choice import detector_of
from tradeoff.detection.detector import Exactness, Readings, bit_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.tails import LatticeSum, binomial_log_sf
from tradeoff.keyed import Stream

__all__ = ["MeanBits", "WeightedMeanBits", "bit_weights", "bits_law", "scored_rounds"]

_ROUNDS_OF_INF = 30


def scored_rounds(decoder: SynthID) -> int:
    """How many rounds detectors read: m, or 30 of tournaments that run until they settle (later ones say
    little)."""
    return _ROUNDS_OF_INF if math.isinf(decoder.rounds) else int(decoder.rounds)


@dataclass(frozen=True)
class MeanBits:
    """The number of ones among the tournament bits of all streams: Binomial(t m s, 1/2).

    Args:
        rounds: m, bits a token and stream.
        streams: those that drew tokens.
    """

    rounds: int
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "mean-bits"
    exactness: ClassVar[Exactness] = Exactness.EXACT

    def __post_init__(self) -> None:
        _check(self.rounds, self.streams)

    @property
    def name(self) -> str:
        """As in tables."""
        return "mean of bits"

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return bit_readings(evidence, self.streams, self.rounds)

    @property
    def null(self) -> str:
        """See `Detector.null`."""
        return "exact: binomial"

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: whole numbers."""
        ones = [evidence.bits(stream, self.rounds).sum(axis=-1, dtype=float) for stream in self.streams]
        return np.sum(ones, axis=0)

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return binomial_log_sf(math.ceil(statistic - 1e-9), count * self.rounds * len(self.streams))

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return float(stats.binom.isf(fpr, count * self.rounds * len(self.streams), 0.5)) + 1


@dataclass(frozen=True)
class WeightedMeanBits:
    """Bits weighted by round, from 10 for the first down to 1 for the last, as SynthID does: early rounds
    meet a distribution with more entropy and tell more.

    The weights are rounded to whole numbers, so that the null law is a lattice law, and exact.

    Args:
        rounds, streams: as for `MeanBits`.
    """

    rounds: int
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "weighted-mean-bits"
    exactness: ClassVar[Exactness] = Exactness.EXACT
    #: As of `LatticeDetector`; the unit by the power on simulated text, which is flat around it.
    lowest: ClassVar[int] = 0
    unit: ClassVar[int] = 40

    def __post_init__(self) -> None:
        _check(self.rounds, self.streams)

    @property
    def name(self) -> str:
        """As in tables."""
        return "weighted mean of bits"

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return bit_readings(evidence, self.streams, self.rounds)

    @property
    def null(self) -> str:
        """See `Detector.null`."""
        return "exact: sum of weighted fair bits"

    @property
    def weights(self) -> np.ndarray:
        """[m] whole numbers from 10 down to 1."""
        return bit_weights(self.rounds)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: whole numbers."""
        return np.sum([self.of_stream(evidence, stream) for stream in self.streams], axis=0, dtype=float)

    @property
    def law(self) -> np.ndarray:
        """Probabilities of the scores 0, 1, ... of a token under one stream."""
        return bits_law(self.rounds)

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """Scores of the tokens under one stream: [t] whole numbers."""
        return evidence.bits(stream, self.rounds) @ self.weights

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return self._sum.log_sf(statistic, count)

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return self._sum.threshold(math.log(fpr), count)

    @cached_property
    def _sum(self) -> LatticeSum:
        law = np.ones(1)
        for _ in self.streams:
            law = np.convolve(law, self.law)
        return LatticeSum(np.arange(len(law)), law, points=None)


@detector_of.register
def _(decoder: SynthID, streams: tuple[Stream, ...]) -> WeightedMeanBits:
    return WeightedMeanBits(scored_rounds(decoder), streams)


def bit_weights(rounds: int) -> np.ndarray:
    """[m] whole numbers from 10 down to 1."""
    return np.rint(np.linspace(10, 1, rounds)).astype(int)


def bits_law(rounds: int) -> np.ndarray:
    """Probabilities of the weighted sum 0, 1, ... of m fair bits."""
    law = np.ones(1)
    for weight in bit_weights(rounds):
        law = (np.append(law, np.zeros(weight)) + np.append(np.zeros(weight), law)) / 2
    return law


def _check(rounds: int, streams: tuple[Stream, ...]) -> None:
    if not isinstance(rounds, int) or rounds < 1:
        raise ValueError(
            f"rounds={rounds} must be a whole number >= 1; text of synthid:inf is scored with 30 to 64 rounds"
        )
    if not streams:
        raise ValueError("streams must name at least one stream that drew tokens")
