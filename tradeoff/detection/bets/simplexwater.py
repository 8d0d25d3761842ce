"""Bets on SimplexWater: for sequential detection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import special

from tradeoff.decoders import SimplexScores
from tradeoff.detection.bets.stream_bets import StreamBets
from tradeoff.detection.bets.transport import bets_of_scores
from tradeoff.detection.detector import Readings, score_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.simplexwater import composition
from tradeoff.keyed import Stream

__all__ = ["TILTS", "SimplexBets", "value_log_bets"]

#: Exponential tilts of a score from 0 to 1. With l = 2 atanh(2 D) a bet on fair bits is best at the gap D.
TILTS = (0.04, 0.1, 0.2, 0.4, 0.85, 1.7, 3.7)


def value_log_bets(scores: SimplexScores, score: np.ndarray) -> np.ndarray:
    """Bets on whole scores f: exp(l f/(q-1)) over its mean, for every l of `TILTS`: `[...] -> [..., bets]`.

    In binary these are all likelihood ratios (theta/mu)^f ((1-theta)/(1-mu))^(1-f) with theta > mu.
    """
    return _value_bets(scores)[np.rint(score).astype(np.int64)]


@dataclass(frozen=True)
class SimplexBets(StreamBets):
    """`value_log_bets` on scores: likelihood ratios of a binary one.

    Args:
        scores: of generation.
        streams: the one that drew tokens, or the draft's and the target's.
        coin: with two streams, whether the coin is keyed.

    Raises:
        ValueError: for more than two streams or none.
    """

    scores: SimplexScores
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    coin: bool = False
    kind: ClassVar[str] = "transport bets"

    @property
    def count(self) -> int:
        """See `StreamBets.count`."""
        return len(TILTS)

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `StreamBets.of_stream`."""
        return value_log_bets(self.scores, evidence.score(stream, self.scores))

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        return score_readings(evidence, self.streams, self.scores)


@bets_of_scores.register
def _(scores: SimplexScores, streams: tuple[Stream, ...], coin: bool) -> SimplexBets:
    return SimplexBets(scores, streams, coin)


@lru_cache(maxsize=8)
def _value_bets(scores: SimplexScores) -> np.ndarray:
    """[q, bets]."""
    law = composition(scores)
    logs = np.arange(scores.q)[:, None] / (scores.q - 1) * np.array(TILTS)
    return logs - special.logsumexp(logs, b=law[:, None], axis=0)
