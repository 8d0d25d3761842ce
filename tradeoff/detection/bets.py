"""Bets on the pseudorandom numbers of a token: e-values, to be multiplied and stopped at will.

A bet is a function >= 0 of a token's pseudorandom numbers whose mean is 1 without a watermark, for every
text: the numbers of different contexts are independent of the text and of each other. With a watermark a
bet grows where its idea of the token is right, so a detector spreads its wealth over several
(`tradeoff.detection.sequential`). Every family lists its bets as columns of `log_bets`; the first keeps the
wealth, so that a text without a watermark cannot ruin the detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from tradeoff.detection.detector import Readings, bit_readings, uniform_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.prf import Stream

__all__ = [
    "PROBABILITIES",
    "Bets",
    "RaceBets",
    "TournamentBets",
    "TwoKeyBets",
    "either_key",
    "keeping_prior",
    "race_log_bets",
    "with_keeping",
]

#: Probabilities of tokens that bets on a race are made for.
PROBABILITIES = (0.8, 0.6, 0.4, 0.25, 0.12, 0.05, 0.01)
#: Wealth that is kept at the start: many tokens of a language model are nearly certain, and tell nothing.
_KEPT = 0.5


@runtime_checkable
class Bets(Protocol):
    """A family of bets on tokens."""

    @property
    def name(self) -> str:
        """As in tables."""

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Whose numbers are bet on."""

    @property
    def prior(self) -> np.ndarray:
        """[bets]: how wealth is spread before any token was seen; sums to 1, the first entry positive."""

    def log_bets(self, evidence: Evidence) -> np.ndarray:
        """log e-values of the tokens that count: [t, bets], the first column 0."""

    def readings(self, evidence: Evidence) -> Readings:
        """What the key says at the tokens that count."""


@dataclass(frozen=True)
class RaceBets:
    """Gumbel-max with one stream: `basic`, `keep-strength`, `single-key`, `one-race` and its tree.

    The token that wins a race with probability p has -log U ~ p Exp(1), so that U has the density
    (1/p) U^(1/p - 1) and not 1: one bet for every p of `PROBABILITIES`.
    """

    stream: Stream = Stream.SHARED
    name: ClassVar[str] = "race bets"

    @property
    def streams(self) -> tuple[Stream, ...]:
        """See `Bets.streams`."""
        return (self.stream,)

    @property
    def prior(self) -> np.ndarray:
        """See `Bets.prior`."""
        return keeping_prior(len(PROBABILITIES))

    def log_bets(self, evidence: Evidence) -> np.ndarray:
        """See `Bets.log_bets`."""
        return with_keeping(race_log_bets(evidence.uniform(self.stream)))

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        return uniform_readings(evidence, self.streams)


@dataclass(frozen=True)
class TournamentBets:
    """SynthID with one stream: products over rounds l of 1 + b_l (2 g_l - 1), g_l fair bits.

    A round on a law with collision probability c gives its winner the bit 1 with probability
    1/2 + (1 - c)/4, so b = (1 - c)/2 is the best bet. While many tokens are left that is near 1/2. Of two
    tokens with probabilities p and 1 - p it is v = p (1 - p), and a round leaves v (1 - v/2) of it on
    average: about v / (1 + v l / 2) after l rounds.

    Args:
        rounds: m, bits a token.
        stream: the stream that drew the tokens.

    Raises:
        ValueError: for rounds below 1.
    """

    rounds: int
    stream: Stream = Stream.SHARED
    name: ClassVar[str] = "tournament bets"

    def __post_init__(self) -> None:
        if not isinstance(self.rounds, int) or self.rounds < 1:
            raise ValueError(f"rounds={self.rounds} must be a whole number >= 1; 30 is usual")

    @property
    def streams(self) -> tuple[Stream, ...]:
        """See `Bets.streams`."""
        return (self.stream,)

    @property
    def prior(self) -> np.ndarray:
        """See `Bets.prior`."""
        return keeping_prior(len(_stakes(self.rounds)))

    def log_bets(self, evidence: Evidence) -> np.ndarray:
        """See `Bets.log_bets`."""
        return with_keeping(tournament_log_bets(evidence.bits(self.stream, self.rounds)))

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        return bit_readings(evidence, self.streams, self.rounds)


@dataclass(frozen=True)
class TwoKeyBets:
    """Tokens drawn under the draft's key or the target's: a detector does not know which.

    Every bet on one key becomes the mixture s e_D + (1 - s) e_T. With a keyed coin (Algorithm 1) s falls
    with the coin, since small coins accept: the coin is independent of the other numbers, so that a bet may
    depend on it.

    Args:
        coin: whether the coin is keyed.
        rounds: of SynthID; None for Gumbel-max.
    """

    coin: bool
    rounds: int | None = None
    streams: ClassVar[tuple[Stream, ...]] = (Stream.DRAFT, Stream.TARGET)

    @property
    def name(self) -> str:
        """As in tables."""
        return f"{'race' if self.rounds is None else 'tournament'} bets, two keys"

    @property
    def prior(self) -> np.ndarray:
        """See `Bets.prior`."""
        return keeping_prior(len(PROBABILITIES if self.rounds is None else _stakes(self.rounds)))

    def log_bets(self, evidence: Evidence) -> np.ndarray:
        """See `Bets.log_bets`."""
        draft, target = (self._of(evidence, stream) for stream in self.streams)
        return with_keeping(either_key(draft, target, evidence.coin() if self.coin else None))

    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""
        if self.rounds is None:
            return uniform_readings(evidence, self.streams)
        return bit_readings(evidence, self.streams, self.rounds)

    def _of(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        if self.rounds is None:
            return race_log_bets(evidence.uniform(stream))
        return tournament_log_bets(evidence.bits(stream, self.rounds))


def either_key(draft: np.ndarray, target: np.ndarray, coin: np.ndarray | None) -> np.ndarray:
    """log(s e_D + (1 - s) e_T) of log bets [t, bets] on either key; coin [t] is None if it is not keyed."""
    # A guess for every model: half of all tokens are accepted drafts; rejected drafts and bonus tokens
    # keep the coin from telling more.
    share = (0.7 - 0.4 * coin if coin is not None else np.full(len(draft), 0.5))[:, None]
    return np.logaddexp(np.log(share) + draft, np.log1p(-share) + target)


def keeping_prior(bets: int) -> np.ndarray:
    """Half of the wealth kept, half spread evenly: [1 + bets]."""
    return np.append(_KEPT, np.full(bets, (1 - _KEPT) / bets))


def with_keeping(log_bets: np.ndarray) -> np.ndarray:
    """A column of zeros in front: `[..., bets] -> [..., 1 + bets]`."""
    return np.concatenate([np.zeros((*log_bets.shape[:-1], 1)), log_bets], axis=-1)


def race_log_bets(uniform: np.ndarray) -> np.ndarray:
    """log (1/p) U^(1/p - 1) for every p of `PROBABILITIES`: `[...] -> [..., bets]`."""
    p = np.array(PROBABILITIES)
    return -np.log(p) + (1 / p - 1) * np.log(uniform)[..., None]


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
