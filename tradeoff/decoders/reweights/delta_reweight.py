"""The delta-reweight (Hu et al. 2023): the inverse distribution function at a uniform of the position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff._arrays import Array, like
from tradeoff.decoders.base import BaseDecoder
from tradeoff.decoders.gumbel import one_hot
from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.sources import Source
from tradeoff.keyed import Kind
from tradeoff.laws import categorical

__all__ = ["DeltaReweight"]


@dataclass(frozen=True)
class DeltaReweight(BaseDecoder):
    """The token is the first whose cumulative mass, in the order of token ids, is above a uniform u.

    Hu et al. (2310.10669). u is of the position alone, so that the key says nothing of a token without its
    law: nobody reads it without the model.

    Unbiased: u falls into the interval of token w with probability P(w). Degenerate.
    """

    name: ClassVar[str] = "δ-reweight"
    degenerate: ClassVar[bool] = True
    randomness: ClassVar[str] = "a uniform of the position"
    needs: ClassVar[frozenset[Kind]] = frozenset({Kind.POSITION})
    spelling: ClassVar[str] = "delta-reweight"
    excess: ClassVar[None] = None

    def numbers(self, source: Source) -> Array:
        """u: [...]."""
        return source.position()

    def antithetic(self, zeta: Array) -> Array:
        """1 - u."""
        return 1 - zeta

    def token(self, p: Array, zeta: Array) -> Array:
        """The first token with more than u of the mass up to it: `[...]` integers."""
        return categorical(p, like(zeta, p) if isinstance(zeta, np.ndarray) else zeta)

    def __call__(self, p: Array, zeta: Array) -> Array:
        """The point mass on it: `[..., n]`."""
        return one_hot(self.token(p, zeta), p)


@register_watermark(DeltaReweight.spelling, DeltaReweight.spelling)
def _read(argument: str) -> DeltaReweight | None:
    return None if argument else DeltaReweight()
