"""Bets on the pseudorandom numbers of a token: e-values, to be multiplied and stopped at will.

A bet is a function >= 0 of a token's pseudorandom numbers whose mean is 1 without a watermark, for every
text: the numbers of different contexts are independent of the text and of each other. With a watermark a
bet grows where its idea of the token is right, so a detector spreads its wealth over several
(`tradeoff.detection.sequential`). Every family lists its bets as columns of `log_bets`; the first keeps the
wealth, so that a text without a watermark cannot ruin the detector.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from scipy import special

from tradeoff.decoders import BaseDecoder, GumbelMax, SynthID
from tradeoff.detection.choice import bets_of, detector_of
from tradeoff.detection.detector import Readings, bit_readings, uniform_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.lattice import Statistic
from tradeoff.detection.synthid import scored_rounds
from tradeoff.keyed import Stream

__all__ = [
    "PROBABILITIES",
    "Bets",
    "RaceBets",
    "ScoreBets",
    "StreamBets",
    "TournamentBets",
    "either_key",
    "keeping_prior",
    "race_log_bets",
    "with_keeping",
]

#: Probabilities of tokens that bets on a race are made for.
PROBABILITIES = (0.8, 0.6, 0.4, 0.25, 0.12, 0.05, 0.01)
#: Wealth that is kept at the start: many tokens of a language model are nearly certain, and tell nothing.
_KEPT = 0.5
#: Tilts of scores that nothing else is known of, in standard deviations.
_TILTS = (0.05, 0.1, 0.2, 0.4, 0.7, 1.2, 2.0)


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


class StreamBets(ABC):
    """Bets on the numbers of one stream, and on two streams the mixture of either.

    Tokens drawn under the draft's key or the target's: a detector does not know which, and every bet on one
    key becomes s e_D + (1 - s) e_T. With a keyed coin (Algorithm 1) s falls with the coin, since small coins
    accept: the coin is independent of the other numbers, so that a bet may depend on it. One of your own
    derives from it and registers with `bets_of`.

    Attributes:
        kind: what it is called in tables.
        streams: the one that drew tokens, or the draft's and the target's.
        coin: with two streams, whether the coin is keyed.
    """

    kind: ClassVar[str]

    @property
    def streams(self) -> tuple[Stream, ...]:
        """See `Bets.streams`."""
        return (Stream.SHARED,)

    @property
    def coin(self) -> bool:
        """Whether the coin is keyed."""
        return False

    def __post_init__(self) -> None:
        if len(self.streams) not in (1, 2):
            raise ValueError(f"streams={self.streams} must name the one stream or the two that drew tokens")

    @property
    @abstractmethod
    def count(self) -> int:
        """How many bets `of_stream` has."""

    @abstractmethod
    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """log e-values of the tokens that count, as if `stream` had drawn them all: [t, count]."""

    @abstractmethod
    def readings(self, evidence: Evidence) -> Readings:
        """See `Bets.readings`."""

    @property
    def name(self) -> str:
        """As in tables."""
        return self.kind + ("" if len(self.streams) == 1 else ", two keys")

    @property
    def prior(self) -> np.ndarray:
        """See `Bets.prior`: half kept, half spread evenly."""
        return keeping_prior(self.count)

    def log_bets(self, evidence: Evidence) -> np.ndarray:
        """See `Bets.log_bets`."""
        found = [self.of_stream(evidence, stream) for stream in self.streams]
        if len(found) == 1:
            return with_keeping(found[0])
        draft, target = found
        return with_keeping(either_key(draft, target, evidence.coin() if self.coin else None))


@dataclass(frozen=True)
class RaceBets(StreamBets):
    """Gumbel-max: `basic`, `keep-strength`, `single-key`, `one-race` and its tree with one stream.

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


@dataclass(frozen=True)
class TournamentBets(StreamBets):
    """SynthID: products over rounds l of 1 + b_l (2 g_l - 1), g_l fair bits.

    A round on a law with collision probability c gives its winner the bit 1 with probability
    1/2 + (1 - c)/4, so b = (1 - c)/2 is the best bet. While many tokens are left that is near 1/2. Of two
    tokens with probabilities p and 1 - p it is v = p (1 - p), and a round leaves v (1 - v/2) of it on
    average: about v / (1 + v l / 2) after l rounds.

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
