"""The detector of red and green lists: how many tokens are green."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff.decoders import KGW
from tradeoff.detection.choice import detector_of
from tradeoff.detection.detector import Readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.lattice import LatticeDetector, check_streams
from tradeoff.keyed import Stream, check_gamma

__all__ = ["GreenTokens"]


@dataclass(frozen=True)
class GreenTokens(LatticeDetector):
    """The number of green tokens (Kirchenbauer et al. 2023, Eq. 3), each of which is green with probability
    gamma, independently of the others: Binomial(t s, gamma).

    Args:
        gamma: share of green tokens.
        streams: those that drew tokens.
    """

    gamma: float
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "green-tokens"
    name: ClassVar[str] = "green tokens"
    null: ClassVar[str] = "exact: binomial"
    lowest: ClassVar[int] = 0
    #: Log-odds of green where its share is a fifth above gamma, as most tokens tell nothing: 250 to 400.
    unit: ClassVar[int] = 300

    def __post_init__(self) -> None:
        check_gamma(self.gamma)
        check_streams(self.streams)

    @property
    def law(self) -> np.ndarray:
        """Probabilities of 0 and 1."""
        return np.array([1 - self.gamma, self.gamma])

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """Whether the tokens are green under one stream: [t] of 0 and 1."""
        return evidence.green(stream, self.gamma).astype(np.int64)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return Readings(
            "list",
            {s: ["green" if g else "red" for g in evidence.green(s, self.gamma)] for s in self.streams},
        )


@detector_of.register
def _(decoder: KGW, streams: tuple[Stream, ...]) -> GreenTokens:
    return GreenTokens(decoder.gamma, streams)
