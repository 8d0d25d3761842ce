"""What every watermark decoder offers: S(P, zeta), drawing zeta, and whether S is degenerate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar, Protocol, TypeGuard, runtime_checkable

import numpy as np

from tradeoff._arrays import Array
from tradeoff.decoders.sources import Source, TrueSource
from tradeoff.keyed import Kind

__all__ = [
    "BaseDecoder",
    "Decoder",
    "DegenerateDecoder",
    "FiniteDecoder",
    "PosteriorDecoder",
    "draw_antithetic",
    "has_posterior",
    "is_degenerate",
    "shares_randomness",
]


@runtime_checkable
class Decoder(Protocol):
    """A decoder S: (P, zeta) -> P_zeta (section 2 of the paper), with the mean P where unbiased."""

    @property
    def name(self) -> str:
        """Name in the field's terms, for tables and legends."""

    @property
    def degenerate(self) -> bool:
        """Whether P_zeta is a point mass almost surely (Theorem 3.2)."""

    @property
    def randomness(self) -> str:
        """The kind of zeta; decoders of one kind can share one zeta."""

    @property
    def needs(self) -> frozenset[Kind]:
        """The kinds of numbers that it reads."""

    @property
    def marks(self) -> bool:
        """Whether a key leaves anything in the text."""

    @property
    def unbiased(self) -> bool:
        """Whether E_zeta P_zeta = P."""

    @property
    def moves_target(self) -> bool:
        """Whether P_zeta is meant to be far from P in the mean, so that drafts are to be verified against
        P_zeta itself, and by no other law."""

    @property
    def by_token(self) -> bool:
        """Whether its own numbers are those of tokens alone, the same at every position, so that a text says
        each of them once (`tradeoff.keyed.TokensOnce`)."""

    @property
    def completes(self) -> Decoder | None:
        """The decoder from whose law a race of its own draws the token; None for what completes nothing."""

    @property
    def leaves_little(self) -> bool:
        """Whether P_zeta is nearly a point mass, for nearly all P: of decoders to be completed."""

    @property
    def tournament(self) -> int | None:
        """m, if S(P, zeta) is the law after m < infinity rounds of a tournament on fair bits (Eq. 3-4), or
        the point mass on the token that a race draws from that law; None otherwise."""

    @property
    def traces(self) -> frozenset[Hashable]:
        """What a detector can find of it; where two watermarks share some, one is seen as the other."""

    @property
    def spelling(self) -> str:
        """The name that `parse_decoder` reads.

        Raises:
            ValueError: if names cannot tell it.
        """

    @property
    def excess(self) -> str | None:
        """What it has too much of for a stranger's record to name it, as reading would take long; or None."""

    def numbers(self, source: Source) -> Any:
        """zeta for a batch of positions, made of the numbers of a source: keyed ones or true ones."""

    def take(self, zeta: Any, rows: Array) -> Any:
        """zeta of some positions of a batch [rows of zeta]: integers [m] in the library of zeta's numbers."""

    def draw(self, rng: np.random.Generator, batch: tuple[int, ...], n: int) -> Any:
        """zeta of true random numbers, for a batch of independent seeds over n tokens."""

    def antithetic(self, zeta: Any) -> Any:
        """The antithesis of zeta: the same law, negatively dependent on it."""

    def __call__(self, p: Array, zeta: Any) -> Array:
        """P_zeta: `[..., n]`, where p and zeta broadcast over the batch axes."""


class BaseDecoder(ABC):
    """What decoders have in common. One of your own derives from it, and adds `name`, `degenerate`,
    `randomness`, `needs`, `numbers`, `antithetic`, and S itself as `__call__`; a `spelling` for commands and
    records, with `register_watermark`."""

    marks: ClassVar[bool] = True

    @property
    @abstractmethod
    def name(self) -> str:
        """See `Decoder.name`."""

    @property
    @abstractmethod
    def randomness(self) -> str:
        """See `Decoder.randomness`."""

    @property
    def unbiased(self) -> bool:
        """See `Decoder.unbiased`."""
        return True

    @property
    def moves_target(self) -> bool:
        """See `Decoder.moves_target`."""
        return False

    @property
    def by_token(self) -> bool:
        """See `Decoder.by_token`."""
        return False

    @property
    def completes(self) -> Decoder | None:
        """See `Decoder.completes`."""
        return None

    @property
    def leaves_little(self) -> bool:
        """See `Decoder.leaves_little`."""
        return False

    @property
    def tournament(self) -> int | None:
        """See `Decoder.tournament`."""
        return None

    @property
    def traces(self) -> frozenset[Hashable]:
        """See `Decoder.traces`: its kind of zeta."""
        return frozenset({self.randomness})

    @property
    def spelling(self) -> str:
        """See `Decoder.spelling`."""
        raise ValueError(f"decoder={self.name!r} has no name on the command line")

    @property
    def excess(self) -> str | None:
        """See `Decoder.excess`: unless a decoder of one's own says that it is never slow to read."""
        return "settings of which nobody said that they are quick to read, and a record may name none"

    @property
    @abstractmethod
    def degenerate(self) -> bool:
        """See `Decoder.degenerate`."""

    @property
    @abstractmethod
    def needs(self) -> frozenset[Kind]:
        """See `Decoder.needs`."""

    @abstractmethod
    def antithetic(self, zeta: Any) -> Any:
        """See `Decoder.antithetic`."""

    @abstractmethod
    def __call__(self, p: Array, zeta: Any) -> Array:
        """See `Decoder.__call__`."""

    @abstractmethod
    def numbers(self, source: Source) -> Any:
        """See `Decoder.numbers`."""

    def take(self, zeta: Any, rows: Array) -> Any:
        """See `Decoder.take`; of an array [rows, ...]."""
        return zeta[rows]

    def draw(self, rng: np.random.Generator, batch: tuple[int, ...], n: int) -> Any:
        """See `Decoder.draw`."""
        return self.numbers(TrueSource(rng, batch, n))


@runtime_checkable
class DegenerateDecoder(Decoder, Protocol):
    """A decoder whose P_zeta is a point mass, so that the token is a function of zeta."""

    def token(self, p: Array, zeta: Any) -> Array:
        """The token that carries all of P_zeta: `[...]` integers."""


@runtime_checkable
class FiniteDecoder(Decoder, Protocol):
    """A decoder whose zeta has few enough values, all equally likely, to go through them all."""

    @property
    def values(self) -> int:
        """How many."""

    def every(self) -> Any:
        """All of them, as a batch [values]."""


@runtime_checkable
class _CouplesAfter(Protocol):
    # Apart from `Decoder`, as a check at run time asks for everything, and a spelling need not exist.

    def coupled_after(self, q: Array, token: Array, target: Array, zeta: Any) -> Array:
        """The law, given zeta, of what is emitted where S(q, zeta) gave `token`: given the token alone, it is
        `target`. Laws [rows, n], token ids [rows], zeta of the rows -> [rows, n]."""


class PosteriorDecoder(_CouplesAfter, Decoder, Protocol):
    """A decoder that can couple one more law with what a token that it gave leaves open of zeta."""


def has_posterior(decoder: Decoder) -> TypeGuard[PosteriorDecoder]:
    """Whether `decoder` couples after a draw, unbiased."""
    return decoder.unbiased and isinstance(decoder, _CouplesAfter)


def is_degenerate(decoder: Decoder) -> TypeGuard[DegenerateDecoder]:
    """Whether `decoder` names its token directly."""
    return decoder.degenerate


def shares_randomness(first: Decoder, second: Decoder) -> bool:
    """Whether the two decoders read the same zeta; otherwise they are driven independently."""
    return first.randomness == second.randomness


def draw_antithetic(
    decoder: Decoder, rng: np.random.Generator, batch: tuple[int, ...], n: int
) -> tuple[Any, Any]:
    """A zeta and its antithesis."""
    zeta = decoder.draw(rng, batch, n)
    return zeta, decoder.antithetic(zeta)
