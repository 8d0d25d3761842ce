"""Bets on transport watermarks and on completed ones: for sequential detection.

Families of bets on the score of a token were compared by their growth, log e a token under the best fixed
mixture, on HeavyWater of 1,024 values and exact transport (log-normal; gamma is alike):

    law of the token        1 + eta f   exp(l f) over its row   rank: one of two tokens   rank: a race
    (.99, .01)                 .0016             .0018                   .0030               .0029
    (.9, .1)                   .0278             .0186                   .0341               .0333
    .9 and .1 Zipf over 15     .0842             .1023                   .1172               .1233
    (.6, .4)                   .1110             .0442                   .1674               .1671
    Zipf over 50              1.2985             .9973                  1.7227              1.7450

Every one is fair for every text and table, since s is uniform: rows have mean 0, tilts are divided by their
mean over the row, ranks are uniform. Bets on the rank as if it were a race's uniform win, and read no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff.detection.bets import (
    PROBABILITIES,
    either_key,
    keeping_prior,
    race_log_bets,
    tournament_log_bets,
    with_keeping,
)
from tradeoff.detection.detector import Readings, score_readings, uniform_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.transport import TILTS, rank_log_bets, value_log_bets
from tradeoff.prf import Stream
from tradeoff.scores import Scores, SimplexScores

__all__ = ["CompletedBets", "TransportBets", "score_log_bets"]


def score_log_bets(scores: Scores, evidence: Evidence, stream: Stream) -> np.ndarray:
    """Bets on the scores of tokens under one stream: [t, bets]; on the values of a simplex code, or ranks."""
    if isinstance(scores, SimplexScores):
        return value_log_bets(scores, evidence.score(stream, scores))
    return rank_log_bets(evidence.rank(stream, scores), scores.k)


class _OfStreams:
    """Bets on one stream; on two the mixture that `TwoKeyBets` makes of them."""

    streams: tuple[Stream, ...]
    coin: bool
    _kind: ClassVar[str]

    @property
    def name(self) -> str:
        """As in tables."""
        return self._kind + ("" if len(self.streams) == 1 else ", two keys")

    @property
    def prior(self) -> np.ndarray:
        raise NotImplementedError

    def log_bets(self, evidence: Evidence) -> np.ndarray:
        """See `Bets.log_bets`."""
        found = [self._of(evidence, stream) for stream in self.streams]
        if len(found) == 1:
            return with_keeping(found[0])
        draft, target = found
        return with_keeping(either_key(draft, target, evidence.coin() if self.coin else None))

    def _check(self) -> None:
        if len(self.streams) not in (1, 2):
            raise ValueError(f"streams={self.streams} must name the one stream or the two that drew tokens")

    def _of(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class TransportBets(_OfStreams):
    """SimplexWater and HeavyWater.

    On a binary score likelihood ratios, on the rank of a random one `rank_log_bets`.

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
    _kind: ClassVar[str] = "transport bets"

    def __post_init__(self) -> None:
        self._check()

    @property
    def prior(self) -> np.ndarray:
        """See `Bets.prior`."""
        return keeping_prior(_count(self.scores))

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        return score_readings(evidence, self.streams, self.scores)

    def _of(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        return score_log_bets(self.scores, evidence, stream)


@dataclass(frozen=True)
class CompletedBets(_OfStreams):
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
        inner: the scores of a transport decoder, or m, the rounds of SynthID.
        streams, coin: as of `TransportBets`.
        race: the share of stakes on the race at the start.

    Raises:
        ValueError: for more than two streams or none, or a share that is no probability inside (0, 1).
    """

    inner: Scores | int
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    coin: bool = False
    race: float = 0.5
    _kind: ClassVar[str] = "own bets and race bets"

    def __post_init__(self) -> None:
        self._check()
        if not 0 < self.race < 1:
            raise ValueError(f"race={self.race} must be inside (0, 1); 0.5 is usual")

    @property
    def prior(self) -> np.ndarray:
        """See `Bets.prior`."""
        own, race = _count(self.inner), len(PROBABILITIES)
        shares = np.concatenate([np.full(own, (1 - self.race) / own), np.full(race, self.race / race)])
        kept = keeping_prior(len(shares))[0]
        return np.append(kept, (1 - kept) * shares)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`: the race."""
        return uniform_readings(evidence, self.streams)

    def _of(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        if isinstance(self.inner, int):
            own = tournament_log_bets(evidence.bits(stream, self.inner))
        else:
            own = score_log_bets(self.inner, evidence, stream)
        return np.concatenate([own, race_log_bets(evidence.uniform(stream))], axis=-1)


def _count(inner: Scores | int) -> int:
    if isinstance(inner, int):
        return tournament_log_bets(np.zeros(inner)).shape[-1]
    return len(TILTS if isinstance(inner, SimplexScores) else PROBABILITIES)
