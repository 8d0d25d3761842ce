"""Bets on a Gumbel-max race: one for every probability that the token may have had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff.decoders import GumbelMax
from tradeoff.detection.bets.stream_bets import StreamBets
from tradeoff.detection.choice import bets_of
from tradeoff.detection.detector import Readings, uniform_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.keyed import Stream

__all__ = ["PROBABILITIES", "RaceBets", "race_log_bets"]


#: Probabilities of tokens that bets on a race are made for.
PROBABILITIES = (0.8, 0.6, 0.4, 0.25, 0.12, 0.05, 0.01)


@dataclass(frozen=True)
class RaceBets(StreamBets):
    """Gumbel-max of one stream: `basic`, `keep-strength`, `single-key`, `one-race`, `joint-race` and trees.

    The token that wins a race with probability p has -log U ~ p Exp(1), so that U has the density
    (1/p) U^(1/p - 1) and not 1: one bet for every p of `PROBABILITIES`.
    """

    streams: tuple[Stream, ...] = (Stream.SHARED,)
    coin: bool = False
    kind: ClassVar[str] = "race bets"

    @property
    def count(self) -> int:
        """See `StreamBets.count`."""
        return len(PROBABILITIES)

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `StreamBets.of_stream`."""
        return race_log_bets(evidence.uniform(stream))

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        return uniform_readings(evidence, self.streams)


@bets_of.register
def _(decoder: GumbelMax, streams: tuple[Stream, ...], coin: bool) -> RaceBets:
    return RaceBets(streams, coin)


def race_log_bets(uniform: np.ndarray) -> np.ndarray:
    """log (1/p) U^(1/p - 1) for every p of `PROBABILITIES`: `[...] -> [..., bets]`."""
    p = np.array(PROBABILITIES)
    return -np.log(p) + (1 / p - 1) * np.log(uniform)[..., None]
