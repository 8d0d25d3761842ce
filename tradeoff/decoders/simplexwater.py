"""SimplexWater: the watermark by transport under the words of a simplex code (Tsur et al.)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.transport import Transport, convert, transport_of
from tradeoff.keyed import Prf

__all__ = ["SimplexScores", "simplex_water"]


@dataclass(frozen=True)
class SimplexScores:
    """f(x, s) = <word(x), word(s)> mod q: the simplex code over q elements, without its zero word.

    k = q^r - 1 words of r digits. Side information s has the word s + 1. Token x < k has the word x + 1, and
    so has the side information x: f is symmetric there. Tokens beyond get a word that the key draws, and
    share it with others: with n tokens over k values two given tokens collide with probability 1/k, and none
    do for n <= k. In binary every two different words differ at (k + 1)/2 of the k values, the most that
    any k binary words can (Theorem 2).

    Args:
        r: digits, at least 1.
        q: prime, 2 for SimplexWater.

    Raises:
        ValueError: for another q, or r outside 1 .. 20 log 2 / log q, beyond which no transport is solved.
    """

    r: int
    q: int = 2

    def __post_init__(self) -> None:
        if not isinstance(self.q, int) or self.q < 2 or any(self.q % d == 0 for d in range(2, self.q)):
            raise ValueError(f"q={self.q} must be a prime number; 2 is SimplexWater")
        if not isinstance(self.r, int) or self.r < 1 or self.r * math.log2(self.q) > 20 or self.k < 2:
            raise ValueError(
                f"r={self.r} must be a whole number with 2 to 2^20 values q^r - 1 (q = {self.q}); 8 to 10 "
                "is usual for q = 2"
            )

    @property
    def name(self) -> str:
        """ "SimplexWater (r = 10)"."""
        return f"SimplexWater (r = {self.r}" + (")" if self.q == 2 else f", q = {self.q})")

    @property
    def spelling(self) -> str:
        """ "simplexwater:10"."""
        if self.q != 2:
            raise ValueError(f"scores={self.name!r} have no name on the command line")
        return f"simplexwater:{self.r}"

    @property
    def k(self) -> int:
        """q^r - 1."""
        return self.q**self.r - 1

    @property
    def presumed(self) -> tuple[float, float] | None:
        """See `Scores.presumed`: of fair bits."""
        return (0.5, 0.5) if self.q == 2 else None

    @property
    def mean(self) -> float:
        """The mean of every row: each nonzero value comes q^(r-1) times."""
        return self.q**self.r * (self.q - 1) / (2 * self.k)

    def rows(self, tokens: np.ndarray, table: Prf) -> np.ndarray:
        """See `Scores.rows`: whole numbers from 0 to q - 1."""
        words = tokens + 1
        beyond = tokens >= self.k
        if beyond.any():
            drawn = table.score_uniforms(tokens[beyond], 1)[:, 0]
            words = np.where(beyond, 0, words)
            words[beyond] = np.floor(drawn * self.k).astype(np.int64) + 1
        sides = self._digits(np.arange(1, self.k + 1))
        return (self._digits(words) @ sides.T) % self.q

    def _digits(self, words: np.ndarray) -> np.ndarray:
        # Floats: integer matrix products do not use BLAS. They are exact below 2^53.
        return (words[:, None] // self.q ** np.arange(self.r) % self.q).astype(np.float64)


def simplex_water(r: int = 10, **settings: Any) -> Transport:
    """SimplexWater with k = 2^r - 1 values of side information; `settings` as of `Transport`."""
    return Transport(SimplexScores(r), **settings)


@register_watermark("simplexwater", "simplexwater[:R[,SETTINGS]]", "simplexwater:10")
def _read(argument: str) -> Transport:
    r, *settings = argument.split(",")
    return transport_of("simplexwater", settings, lambda _: SimplexScores(convert("R", r, "10") if r else 10))
