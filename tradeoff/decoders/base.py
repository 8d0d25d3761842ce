"""What every watermark decoder offers: S(P, zeta), drawing zeta, and whether S is degenerate."""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from tradeoff._arrays import Array

__all__ = [
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

    def draw(self, rng: np.random.Generator, batch: tuple[int, ...], n: int) -> Any:
        """Pseudorandomness zeta for a batch of independent seeds over n tokens."""

    def antithetic(self, zeta: Any) -> Any:
        """The antithesis of zeta: the same law, negatively dependent on it."""

    def __call__(self, p: Array, zeta: Any) -> Array:
        """P_zeta: `[..., n]`, where p and zeta broadcast over the batch axes."""


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
