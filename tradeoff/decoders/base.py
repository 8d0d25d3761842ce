"""What every watermark decoder offers: S(P, zeta), drawing zeta, and whether S is degenerate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from tradeoff._arrays import Array
from tradeoff.decoders.sources import Source, TrueSource
from tradeoff.prf import Kind

__all__ = [
    "BaseDecoder",
    "Decoder",
    "DegenerateDecoder",
    "FiniteDecoder",
    "draw_antithetic",
    "is_degenerate",
    "shares_randomness",
]


@runtime_checkable
class Decoder(Protocol):
    """An unbiased decoder S: (P, zeta) -> P_zeta with E_zeta P_zeta = P (section 2 of the paper)."""

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
    `randomness`, `needs`, `numbers`, `antithetic`, and S itself as `__call__`."""

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
