"""Bets on the pseudorandom numbers of a token: e-values, to be multiplied and stopped at will.

A bet is a function >= 0 of a token's pseudorandom numbers whose mean is 1 without a watermark, for every
text: the numbers of different contexts are independent of the text and of each other. With a watermark a
bet grows where its idea of the token is right, so a detector spreads its wealth over several
(`tradeoff.detection.sequential`). Every family lists its bets as columns of `log_bets`; the first keeps the
wealth, so that a text without a watermark cannot ruin the detector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from tradeoff.detection.detector import Readings
from tradeoff.detection.evidence import Evidence
from tradeoff.keyed import Stream

__all__ = ["Bets", "StreamBets", "bet_values", "either_key", "keeping_prior", "with_keeping"]

#: Wealth that is kept at the start: many tokens of a language model are nearly certain, and tell nothing.
_KEPT = 0.5
#: Beside 1, the e-value of keeping, what is below exp(-700) is nothing; above exp(700) floats end.
_LARGEST = 700.0


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


def bet_values(log_bets: np.ndarray) -> np.ndarray:
    """The e-values of log bets, of any shape; none is infinite."""
    return np.exp(np.minimum(log_bets, _LARGEST))
