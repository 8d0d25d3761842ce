"""Bets on transport watermarks: for sequential detection.

Families of bets, all fair for every text and table, were compared by their growth, log e a token under the
best fixed mixture, on HeavyWater of 1,024 values and exact transport (log-normal; gamma is alike):

    law of the token        1 + eta f   exp(l f) over its row   rank: one of two tokens   rank: a race
    (.99, .01)                 .0016             .0018                   .0030               .0029
    (.9, .1)                   .0278             .0186                   .0341               .0333
    .9 and .1 Zipf over 15     .0842             .1023                   .1172               .1233
    (.6, .4)                   .1110             .0442                   .1674               .1671
    Zipf over 50              1.2985             .9973                  1.7227              1.7450

s is uniform: rows have mean 0, tilts are divided by their mean over the row, ranks are uniform. Bets on the
rank as if it were a race's uniform win, and read no score. Why ranks: docs/theory/transport.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import ClassVar

import numpy as np

from tradeoff.decoders import Transport
from tradeoff.detection.bets.gumbel import PROBABILITIES
from tradeoff.detection.bets.stream_bets import Bets, StreamBets
from tradeoff.detection.choice import bets_of
from tradeoff.detection.detector import Readings, score_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.transport import rank_log_bets
from tradeoff.keyed import Stream
from tradeoff.optimal_transport import Scores

__all__ = ["TransportBets", "bets_of_scores"]


@dataclass(frozen=True)
class TransportBets(StreamBets):
    """HeavyWater: `rank_log_bets` on the ranks of scores.

    Args:
        scores: of generation.
        streams: the one that drew tokens, or the draft's and the target's.
        coin: with two streams, whether the coin is keyed.

    Raises:
        ValueError: for more than two streams or none.
    """

    scores: Scores
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    coin: bool = False
    kind: ClassVar[str] = "transport bets"

    @property
    def count(self) -> int:
        """See `StreamBets.count`."""
        return len(PROBABILITIES)

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `StreamBets.of_stream`."""
        return rank_log_bets(evidence.rank(stream, self.scores), self.scores.k)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        return score_readings(evidence, self.streams, self.scores)


@singledispatch
def bets_of_scores(scores: Scores, streams: tuple[Stream, ...], coin: bool) -> Bets:
    """The bets on a transport under some scores: register those of your own with their type."""
    return TransportBets(scores, streams, coin)


@bets_of.register
def _(decoder: Transport, streams: tuple[Stream, ...], coin: bool) -> Bets:
    return bets_of_scores(decoder.scores, streams, coin)
