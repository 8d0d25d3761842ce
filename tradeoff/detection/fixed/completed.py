"""The detector of completed watermarks: their own statistic, and that of the race."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from tradeoff.decoders import Completed
from tradeoff.detection.choice import detector_of
from tradeoff.detection.detector import Readings, uniform_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.lattice import SILENT, LatticeDetector, Statistic, log_ratio
from tradeoff.detection.fixed.transport import rank_log_bets
from tradeoff.keyed import Stream

__all__ = ["CompletedSum"]

#: Values to which the uniforms of races are rounded.
_RACE_RANKS = 4096


@dataclass(frozen=True)
class CompletedSum(LatticeDetector):
    """A completed watermark's own statistic plus that of its race: independent without a watermark.

    In thousandths of a nat. The race is read as `RankRatio` reads ranks, its rank being floor(4096 U).

    How much it says depends on what the decoder left to it. After transport by Sinkhorn's iterations, and
    after few rounds of SynthID, that is as much as the own statistic says: at (.9, .1), 100 tokens and level
    0.01, HeavyWater's ranks have the power .29, its race .26 and the two together .54. An exact transport
    leaves nothing but the tokens outside its head, which are rare, or most of a text of high entropy: reading
    the race as mostly silent (0.95) costs less than .01 of the power there is, and where two in five tokens
    are outside brings it from .50 to .80.

    Args:
        own: the detector of the decoder itself, of whole numbers.
        silent: the share of tokens whose race is taken to tell nothing.

    Raises:
        ValueError: for a share that is no probability inside (0, 1).
    """

    own: Statistic
    silent: float = SILENT
    id: ClassVar[str] = "completed-sum"
    name: ClassVar[str] = "own statistic and race"

    def __post_init__(self) -> None:
        if not 0 < self.silent < 1:
            raise ValueError(f"silent={self.silent} must be inside (0, 1); {SILENT} is usual")

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Those that drew tokens."""
        return self.own.streams

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`: the race."""
        return uniform_readings(evidence, self.streams)

    @property
    def lowest(self) -> int:
        """The least score."""
        return self.own.unit * self.own.lowest + int(self._race_score_of.min())

    @property
    def law(self) -> np.ndarray:
        """The convolution of both."""
        race = np.bincount(self._race_score_of - self._race_score_of.min()) / _RACE_RANKS
        return np.convolve(_spread(self.own.law, self.own.unit), race)

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `LatticeDetector.of_stream`."""
        rank = (evidence.uniform(stream) * _RACE_RANKS).astype(np.int64)
        return self.own.unit * self.own.of_stream(evidence, stream) + self._race_score_of[rank]

    @cached_property
    def _race_score_of(self) -> np.ndarray:
        return log_ratio(rank_log_bets(np.arange(_RACE_RANKS), _RACE_RANKS), self.silent)


@detector_of.register
def _(decoder: Completed, streams: tuple[Stream, ...]) -> CompletedSum:
    own = detector_of(decoder.decoder, streams)
    if not isinstance(own, Statistic):
        raise ValueError(
            f"decoder={decoder.decoder.name!r} has a detector whose scores are no whole numbers of one law, "
            "and cannot be completed; make it a LatticeDetector, or register a detector of the completed one"
        )
    return CompletedSum(own, 0.95 if decoder.decoder.leaves_little else 0.7)


def _spread(law: np.ndarray, unit: int) -> np.ndarray:
    """The law of `unit` times what has the law [m] on 0 .. m-1."""
    spread = np.zeros(unit * (len(law) - 1) + 1)
    spread[::unit] = law
    return spread
