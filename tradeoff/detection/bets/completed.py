"""Bets on completed watermarks: for sequential detection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff.decoders import Completed
from tradeoff.detection.bets.gumbel import PROBABILITIES, race_log_bets
from tradeoff.detection.bets.stream_bets import StreamBets, keeping_prior
from tradeoff.detection.choice import bets_of
from tradeoff.detection.detector import Readings, uniform_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.keyed import Stream

__all__ = ["CompletedBets"]


@dataclass(frozen=True)
class CompletedBets(StreamBets):
    """Completed watermarks: bets on the decoder's own numbers, and bets on the race.

    What grows fastest depends on what the decoder leaves to the race. Mean log wealth at the end of texts,
    with stakes on the decoder's own numbers alone, on both alike (0.5), and mostly on its own (0.1):

        decoder and law                        tokens    own    0.5    0.1
        HeavyWater, (.9, .1)                      500    9.6    6.7   10.0
        HeavyWater, Zipf over 50                   20   27.3   23.1   26.7
        HeavyWater, Sinkhorn 0.05, (.9, .1)       500   -1.7   10.4    5.5
        HeavyWater, Sinkhorn 0.05, Zipf            20   12.3   23.3   20.2
        SynthID of 3 rounds, (.9, .1)             500    3.4   11.1    9.1
        SynthID of 30 rounds, (.9, .1)            500    8.8    4.0    8.8

    Products of bets on either, which are fair as well, grow faster by up to a tenth where tokens are
    uncertain, and slower by as much where they are not: there are too many to learn from.

    Args:
        own: the bets on the decoder itself; their streams and coin are those of the completed one.
        race: the share of stakes on the race at the start.

    Raises:
        ValueError: for a share that is no probability inside (0, 1).
    """

    own: StreamBets
    race: float = 0.5
    kind: ClassVar[str] = "own bets and race bets"

    def __post_init__(self) -> None:
        if not 0 < self.race < 1:
            raise ValueError(f"race={self.race} must be inside (0, 1); 0.5 is usual")

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Those of its own bets."""
        return self.own.streams

    @property
    def coin(self) -> bool:
        """That of its own bets."""
        return self.own.coin

    @property
    def count(self) -> int:
        """See `StreamBets.count`."""
        return self.own.count + len(PROBABILITIES)

    @property
    def prior(self) -> np.ndarray:
        """See `Bets.prior`."""
        own, race = self.own.count, len(PROBABILITIES)
        shares = np.concatenate([np.full(own, (1 - self.race) / own), np.full(race, self.race / race)])
        kept = keeping_prior(len(shares))[0]
        return np.append(kept, (1 - kept) * shares)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`: the race."""
        return uniform_readings(evidence, self.streams)

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `StreamBets.of_stream`."""
        race = race_log_bets(evidence.uniform(stream))
        return np.concatenate([self.own.of_stream(evidence, stream), race], axis=-1)


@bets_of.register
def _(decoder: Completed, streams: tuple[Stream, ...], coin: bool) -> CompletedBets:
    own = bets_of(decoder.decoder, streams, coin)
    if not isinstance(own, StreamBets):
        raise ValueError(
            f"decoder={decoder.decoder.name!r} has bets on no single stream, and cannot be completed; derive "
            "them from StreamBets, or register bets on the completed one"
        )
    return CompletedBets(own, 0.1 if decoder.decoder.leaves_little else 0.5)
