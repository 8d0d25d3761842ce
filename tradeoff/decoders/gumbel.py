"""The Gumbel-max watermark (Aaronson 2023), as an exponential race."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff._arrays import Array, device_of, like, namespace
from tradeoff.decoders.base import BaseDecoder
from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.sources import Source
from tradeoff.keyed import Kind

__all__ = ["GumbelMax"]


@dataclass(frozen=True)
class GumbelMax(BaseDecoder):
    """Gumbel-max decoder (Eq. 2): token = argmax log(U_w)/P_w = argmin E_w/P_w, E_w = -log U_w ~ Exp(1).

    Degenerate and unbiased: an exponential race with rates P is won by w with probability P_w.
    zeta is the race E: [..., n]. Tokens with P_w = 0 never win.
    """

    name: ClassVar[str] = "Gumbel-max"
    degenerate: ClassVar[bool] = True
    randomness: ClassVar[str] = "race"
    needs: ClassVar[frozenset[Kind]] = frozenset({Kind.RACE})
    spelling: ClassVar[str] = "gumbel"
    excess: ClassVar[str | None] = None

    def numbers(self, source: Source) -> Array:
        """The race."""
        return source.race()

    def antithetic(self, zeta: np.ndarray) -> np.ndarray:
        """The race of 1 - U."""
        # Two forms of -log(1 - exp(-E)), each accurate where the other would round to 0 or infinity.
        small = zeta < np.log(2)
        return np.where(small, -np.log(-np.expm1(-zeta)), -np.log1p(-np.exp(-np.where(small, 1.0, zeta))))

    def token(self, p: Array, zeta: Array) -> Array:
        """argmin E/P: `[...]` integers."""
        xp = namespace(p)
        race = like(zeta, p) if isinstance(zeta, np.ndarray) else zeta
        # A token with P = 0 is replaced whatever its quotient; one that overflows has P < 1e-300 and loses.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            time = race / p
        return xp.argmin(xp.where(p > 0, time, xp.inf), axis=-1)

    def __call__(self, p: Array, zeta: Array) -> Array:
        """The point mass on the winner: `[..., n]`."""
        return one_hot(self.token(p, zeta), p)


@register_watermark("gumbel", "gumbel")
def _read(argument: str) -> GumbelMax | None:
    return None if argument else GumbelMax()


def one_hot(token: Array, p: Array) -> Array:
    """Point masses on `token: [...]`, as an array of p's kind: `[..., n]`."""
    xp = namespace(p)
    ids = xp.arange(p.shape[-1], device=device_of(p))
    return xp.astype(token[..., None] == ids, p.dtype)
