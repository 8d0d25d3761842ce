"""No watermark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tradeoff._arrays import Array
from tradeoff.decoders.base import BaseDecoder
from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.sources import Source
from tradeoff.keyed import Kind

__all__ = ["Identity"]


@dataclass(frozen=True)
class Identity(BaseDecoder):
    """S(P, zeta) = P: the identity decoder of Eq. 9, of strength 0."""

    name: ClassVar[str] = "no watermark"
    degenerate: ClassVar[bool] = False
    randomness: ClassVar[str] = "none"
    needs: ClassVar[frozenset[Kind]] = frozenset()
    marks: ClassVar[bool] = False
    spelling: ClassVar[str] = "none"
    excess: ClassVar[str | None] = None

    def numbers(self, source: Source) -> None:
        """None are read."""

    def take(self, zeta: Any, rows: Array) -> Any:
        """The same nothing."""
        return zeta

    def draw(self, rng: np.random.Generator, batch: tuple[int, ...], n: int) -> np.ndarray:
        """Nothing is random: an array of the batch shape that only carries the shape."""
        return np.empty((*batch, 0))

    def antithetic(self, zeta: Any) -> Any:
        """Nothing to mirror."""
        return zeta

    def __call__(self, p: Array, zeta: Any) -> Array:
        """P itself, `[..., n]`."""
        return p


@register_watermark("none")
def _read(argument: str) -> Identity | None:
    return None if argument else Identity()
