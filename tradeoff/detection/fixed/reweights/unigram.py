"""The detector of Unigram: how many different tokens of a text are on the list of the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff.decoders import Unigram
from tradeoff.detection.choice import detector_of
from tradeoff.detection.detector import Readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.lattice import LatticeDetector, check_streams
from tradeoff.keyed import Stream, check_gamma, listed_share

__all__ = ["GreenTypes"]


@dataclass(frozen=True)
class GreenTypes(LatticeDetector):
    """The number of green ones among the t different tokens of a text: Binomial(t, gamma).

    Over keys the colours of different tokens are independent, but a token that comes again has the colour
    that it had. So each counts once, where it comes first (`tradeoff.keyed.TokensOnce`), and the law is exact
    for every text, every part of a text, and texts together. Where all tokens count and are taken for
    independent, text that repeats its words is convicted far more often than the level says.

    Args:
        gamma: share of green tokens.
        streams: those that drew tokens. The list is one and the same for all of them.
    """

    gamma: float
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "green-types"
    name: ClassVar[str] = "green tokens, each counted once"
    null: ClassVar[str] = "exact: binomial"
    lowest: ClassVar[int] = 0
    #: Log-odds of green where its share is a fifth above gamma, as most tokens tell nothing: 250 to 400.
    unit: ClassVar[int] = 300

    def __post_init__(self) -> None:
        check_gamma(self.gamma)
        check_streams(self.streams)
        if len(self.streams) > 1:
            raise ValueError(f"streams={self.streams} share one list, which says nothing twice; name one")

    @property
    def law(self) -> np.ndarray:
        """Probabilities of 0 and 1."""
        share = listed_share(self.gamma)
        return np.array([1 - share, share])

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """Whether the tokens are green: [t] of 0 and 1."""
        return evidence.listed(self.gamma).astype(np.int64)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        told = ["green" if green else "red" for green in evidence.listed(self.gamma)]
        return Readings("list", dict.fromkeys(self.streams, told))


@detector_of.register
def _(decoder: Unigram, streams: tuple[Stream, ...]) -> GreenTypes:
    return GreenTypes(decoder.gamma, streams)
