"""Inverse transform sampling (Kuditipudi et al. 2023): a uniform of the position and a permutation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tradeoff._arrays import Array, like, namespace
from tradeoff.decoders.base import BaseDecoder
from tradeoff.decoders.gumbel import one_hot
from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.sources import Source
from tradeoff.keyed import Kind
from tradeoff.laws import at, categorical

__all__ = ["InverseTransform", "PermutedPosition"]


class PermutedPosition(NamedTuple):
    """What inverse transform sampling reads.

    Attributes:
        uniform: of the position, [...].
        race: whose order is the permutation, [..., n].
    """

    uniform: Array
    race: Array


@dataclass(frozen=True)
class InverseTransform(BaseDecoder):
    """The token is the first whose cumulative mass, in a permuted order, is above a uniform u.

    Inverse transform sampling of Kuditipudi et al. (2307.15593), with numbers of the context in place of a
    key as long as the text. u is of the position. Tokens come in the order of their uniforms U = exp(-E), E
    the race, so that the token's own U is near u, which a detector reads without the model.

    Unbiased: given the order, u falls into the interval of token w with probability P(w). Degenerate.
    """

    name: ClassVar[str] = "inverse transform"
    degenerate: ClassVar[bool] = True
    randomness: ClassVar[str] = "a race and a uniform of the position"
    needs: ClassVar[frozenset[Kind]] = frozenset({Kind.RACE, Kind.POSITION})
    spelling: ClassVar[str] = "inverse-transform"
    excess: ClassVar[None] = None

    def numbers(self, source: Source) -> PermutedPosition:
        """u and the race; numbers of different kinds are independent."""
        return PermutedPosition(source.position(), source.race())

    def take(self, zeta: PermutedPosition, rows: Array) -> PermutedPosition:
        """Both of theirs."""
        return PermutedPosition(zeta.uniform[rows], zeta.race[rows])

    def antithetic(self, zeta: PermutedPosition) -> PermutedPosition:
        """1 - u in the same order: with the order reversed as well, the token would be the same."""
        return zeta._replace(uniform=1 - zeta.uniform)

    def token(self, p: Array, zeta: PermutedPosition) -> Array:
        """The first token with more than u of the mass up to it: `[...]` integers."""
        xp = namespace(p)
        uniform, race = (like(part, p) if isinstance(part, np.ndarray) else part for part in zeta)
        order = xp.argsort(race, axis=-1, descending=True)
        p, order, uniform = xp.broadcast_arrays(p, order, uniform[..., None])
        return at(order, categorical(xp.take_along_axis(p, order, axis=-1), uniform[..., 0]))

    def __call__(self, p: Array, zeta: PermutedPosition) -> Array:
        """The point mass on it: `[..., n]`."""
        return one_hot(self.token(p, zeta), p)


@register_watermark(InverseTransform.spelling, InverseTransform.spelling)
def _read(argument: str) -> InverseTransform | None:
    return None if argument else InverseTransform()
