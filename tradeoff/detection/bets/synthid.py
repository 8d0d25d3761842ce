"""Bets on the bits of SynthID's tournament."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff.decoders import SynthID
from tradeoff.detection.bets.stream_bets import StreamBets
from tradeoff.detection.choice import bets_of
from tradeoff.detection.detector import Readings, bit_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.synthid import scored_rounds
from tradeoff.keyed import Stream

__all__ = ["TournamentBets", "tournament_log_bets"]


@dataclass(frozen=True)
class TournamentBets(StreamBets):
    """SynthID: products over rounds l of 1 + b_l (2 g_l - 1), g_l fair bits.

    A round on a law with collision probability c gives its winner the bit 1 with probability
    1/2 + (1 - c)/4, so b = (1 - c)/2 is the best bet. While many tokens are left that is near 1/2. Of two
    tokens with probabilities p and 1 - p it is v = p (1 - p), and a round leaves v (1 - v/2) of it on
    average: about v / (1 + v l / 2) after l rounds. Derivation: docs/theory/tournaments.md.

    Args:
        rounds: m, bits a token.

    Raises:
        ValueError: for rounds below 1.
    """

    rounds: int
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    coin: bool = False
    kind: ClassVar[str] = "tournament bets"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rounds, int) or self.rounds < 1:
            raise ValueError(f"rounds={self.rounds} must be a whole number >= 1; 30 is usual")

    @property
    def count(self) -> int:
        """See `StreamBets.count`."""
        return len(_stakes(self.rounds))

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `StreamBets.of_stream`."""
        return tournament_log_bets(evidence.bits(stream, self.rounds))

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        return bit_readings(evidence, self.streams, self.rounds)


@bets_of.register
def _(decoder: SynthID, streams: tuple[Stream, ...], coin: bool) -> TournamentBets:
    return TournamentBets(scored_rounds(decoder), streams, coin)


def tournament_log_bets(bits: np.ndarray) -> np.ndarray:
    """sum_l log(1 + b_l (2 g_l - 1)): `[..., rounds]` bits -> `[..., bets]`."""
    stakes = _stakes(bits.shape[-1])
    won, lost = np.log1p(stakes), np.log1p(-stakes)
    return bits @ (won - lost).T + lost.sum(axis=1)


def _stakes(rounds: int) -> np.ndarray:
    """b_l for tokens of several kinds: [bets, rounds]; two tokens, or many for the first rounds."""
    level = np.arange(rounds)
    two = [v / (1 + v * level / 2) for v in (0.03, 0.08, 0.16, 0.25)]
    many = [np.where(level < n, 0.5, 0.25 / (1 + np.maximum(level - n, 0) / 8)) for n in (1, 3, 5)]
    return np.stack([*two, *many])
