"""The detector of SimplexWater (Tsur et al.): the sum of scores.

The row of a token in a simplex code has the same composition for every token, so that its score has one law,
whichever tokens repeat. Its mean is 2^(r-1) / (2^r - 1), since no word is the zero word: more than the 1/2
that the authors' test takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff.decoders import SimplexScores
from tradeoff.detection.detector import Readings, score_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.lattice import LatticeDetector, check_streams
from tradeoff.detection.fixed.transport import detector_of_scores
from tradeoff.keyed import Stream

__all__ = ["SimplexSum", "composition"]


@dataclass(frozen=True)
class SimplexSum(LatticeDetector):
    """sum f of SimplexWater over tokens and streams; binomial in binary, with the true mean.

    Args:
        scores: of generation.
        streams: those that drew tokens.

    Raises:
        ValueError: without streams.
    """

    scores: SimplexScores
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "sum-of-scores"
    name: ClassVar[str] = "sum of scores"
    # By the power on simulated text, which is flat around it.
    unit: ClassVar[int] = 600

    def __post_init__(self) -> None:
        check_streams(self.streams)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return score_readings(evidence, self.streams, self.scores)

    @property
    def lowest(self) -> int:
        """0."""
        return 0

    @property
    def law(self) -> np.ndarray:
        """Every nonzero value comes q^(r-1) times in a row, 0 once less."""
        return composition(self.scores)

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `LatticeDetector.of_stream`."""
        return np.rint(evidence.score(stream, self.scores))


def composition(scores: SimplexScores) -> np.ndarray:
    """The law of a score without a watermark: [q]."""
    counts = np.full(scores.q, float(scores.q ** (scores.r - 1)))
    counts[0] -= 1
    return counts / scores.k


@detector_of_scores.register
def _(scores: SimplexScores, streams: tuple[Stream, ...]) -> SimplexSum:
    return SimplexSum(scores, streams)
