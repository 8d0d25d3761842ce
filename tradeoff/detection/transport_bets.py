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
    rounds: ClassVar[None] = None
    _kind: ClassVar[str]

    @property
    def name(self) -> str:
        """As in tables."""
        return self._kind + ("" if len(self.streams) == 1 else ", two keys")

    @property
    def prior(self) -> np.ndarray:
        """See `Bets.prior`."""
        return keeping_prior(self._bets)

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

    @property
    def _bets(self) -> int:
        raise NotImplementedError

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
    def _bets(self) -> int:
        return _count(self.scores)

    def _of(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        return score_log_bets(self.scores, evidence, stream)


@dataclass(frozen=True)
class CompletedBets(_OfStreams):
    """Completed watermarks: bets on the decoder's own numbers, on the race, and products of the two.

    The two are independent without a watermark, so that products are fair. What grows fastest depends on
    what the decoder leaves to the race. After transport by linear programming or 30 rounds of SynthID that
    is next to nothing, and bets on the decoder's numbers are as good; after Sinkhorn's transport at 0.05 or a
    few rounds it is most, and at (.9, .1), where HeavyWater grows by .0160 and the race by .0148, all
    together grow by .0310.

    Args:
        inner: the scores of a transport decoder, or m, the rounds of SynthID.
        streams, coin: as of `TransportBets`.

    Raises:
        ValueError: for more than two streams or none.
    """

    inner: Scores | int
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    coin: bool = False
    _kind: ClassVar[str] = "bets and race bets"

    def __post_init__(self) -> None:
        self._check()

    @property
    def _bets(self) -> int:
        inner, race = _count(self.inner), len(PROBABILITIES)
        return inner + race + inner * race

    def _of(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        if isinstance(self.inner, int):
            inner = tournament_log_bets(evidence.bits(stream, self.inner))
        else:
            inner = score_log_bets(self.inner, evidence, stream)
        race = race_log_bets(evidence.uniform(stream))
        both = (inner[:, :, None] + race[:, None, :]).reshape(len(inner), -1)
        return np.concatenate([inner, race, both], axis=-1)


def _count(inner: Scores | int) -> int:
    if isinstance(inner, int):
        return tournament_log_bets(np.zeros(inner)).shape[-1]
    return len(TILTS if isinstance(inner, SimplexScores) else PROBABILITIES)
