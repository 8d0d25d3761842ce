"""Bets for watermarks that have a detector alone: exponential tilts of its scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy import special

from tradeoff.decoders import BaseDecoder
from tradeoff.detection.bets.stream_bets import StreamBets
from tradeoff.detection.choice import bets_of, detector_of
from tradeoff.detection.detector import Readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.lattice import Statistic
from tradeoff.keyed import Stream

__all__ = ["ScoreBets"]


#: Tilts of scores that nothing else is known of, in standard deviations.
_TILTS = (0.05, 0.1, 0.2, 0.4, 0.7, 1.2, 2.0)


@dataclass(frozen=True)
class ScoreBets(StreamBets):
    """Exponential tilts of a detector's scores, for a watermark that has no bets of its own.

    exp(l x) over its mean without a watermark, for tilts l of 1/20 to 2 in standard deviations of the score.

    Args:
        statistic: the detector.
        coin: with two streams, whether the coin is keyed.
    """

    statistic: Statistic
    coin: bool = False
    kind: ClassVar[str] = "score bets"

    @property
    def streams(self) -> tuple[Stream, ...]:
        """See `StreamBets.streams`."""
        return self.statistic.streams

    @property
    def count(self) -> int:
        """See `StreamBets.count`."""
        return len(_TILTS)

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `StreamBets.of_stream`."""
        mean, tilts, log_mean = self._tilts
        score = np.asarray(self.statistic.of_stream(evidence, stream), float)[:, None] - mean
        return tilts * score - log_mean

    @cached_property
    def _tilts(self) -> tuple[float, np.ndarray, np.ndarray]:
        """The mean of a score, the tilts [bets], and the logarithms of their null means [bets]."""
        law = self.statistic.law
        values = self.statistic.lowest + np.arange(len(law))
        mean = float(law @ values)
        deviation = math.sqrt(law @ (values - mean) ** 2)
        if not deviation > 0:
            raise ValueError(
                f"detector {type(self.statistic).__name__} has scores of one value, with nothing to bet on"
            )
        tilts = np.array(_TILTS) / deviation
        # Relative to the mean, so that no exponential is larger than it need be.
        return mean, tilts, special.logsumexp(tilts[:, None] * (values - mean), b=law, axis=-1)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        return self.statistic.readings(evidence)


@bets_of.register
def _(decoder: BaseDecoder, streams: tuple[Stream, ...], coin: bool) -> ScoreBets:
    statistic = detector_of(decoder, streams)
    if not isinstance(statistic, Statistic):
        raise ValueError(
            f"decoder={decoder.name!r} has no bets; make its detector a LatticeDetector, or register bets "
            "with bets_of"
        )
    return ScoreBets(statistic, coin)
