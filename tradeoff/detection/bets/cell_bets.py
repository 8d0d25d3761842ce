"""Bets on numbers that are uniform on cells: for sequential detection of DiPmark and inverse transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff.decoders import DiPmark, InverseTransform
from tradeoff.detection.bets.stream_bets import StreamBets
from tradeoff.detection.choice import bets_of
from tradeoff.detection.detector import Readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.reweights.cell_ratio import CellRatio
from tradeoff.detection.fixed.reweights.dipmark import LateTokens
from tradeoff.detection.fixed.reweights.inverse_transform import NearUniforms
from tradeoff.keyed import Stream

__all__ = ["CellBets"]


@dataclass(frozen=True)
class CellBets(StreamBets):
    """The bets that a likelihood ratio of cells is a mean of, each for itself.

    Args:
        ratio: the detector; its streams are the one that drew tokens, or the draft's and the target's.
        coin: with two streams, whether the coin is keyed.

    Raises:
        ValueError: for more than two streams.
    """

    ratio: CellRatio
    coin: bool = False
    kind: ClassVar[str] = "cell bets"

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Those of the detector."""
        return self.ratio.streams

    @property
    def count(self) -> int:
        """See `StreamBets.count`."""
        return self.ratio.log_bets.shape[-1]

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `StreamBets.of_stream`."""
        return self.ratio.log_bets[self.ratio.cell(evidence, stream)]

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        return self.ratio.readings(evidence)


@bets_of.register
def _(decoder: DiPmark, streams: tuple[Stream, ...], coin: bool) -> CellBets:
    return CellBets(LateTokens(decoder.alpha, streams), coin)


@bets_of.register
def _(decoder: InverseTransform, streams: tuple[Stream, ...], coin: bool) -> CellBets:
    return CellBets(NearUniforms(streams), coin)
