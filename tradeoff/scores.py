"""Scores f(x, s) of transport watermarks: how well token x goes with side information s.

Tsur et al., "HeavyWater and SimplexWater". A family has k values of side information, s = 0 .. k-1, and for
every token a row of k scores. SimplexWater's rows are words of a simplex code, HeavyWater's are independent
draws from a law with a heavy tail, standardised. Rows belong to a table: a key, under which the pair
(token, s) is looked up in the keyed pseudorandom function. One key has one table, whatever the position;
what changes from position to position is s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy import special

from tradeoff.keys import Key
from tradeoff.prf import KeyedPrf, Prf

__all__ = ["SCORE_LAWS", "RandomScores", "Scores", "SimplexScores", "remembered_rows", "seeded_table"]

#: Bytes of score rows remembered for one key.
_ROW_BYTES = 1 << 28


class Scores(Hashable, Protocol):
    """A family of scores."""

    @property
    def name(self) -> str:
        """As in names of decoders."""

    @property
    def k(self) -> int:
        """Number of values of the side information."""

    def rows(self, tokens: np.ndarray, table: Prf) -> np.ndarray:
        """Scores of tokens [m] for every s: [m, k], float64, of one key's table."""


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
        """As in names of decoders."""
        return f"{self.r}" if self.q == 2 else f"{self.r}-{self.q}"

    @property
    def k(self) -> int:
        """q^r - 1."""
        return self.q**self.r - 1

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


#: Quantile functions of the score laws, from U uniform on (0, 1).
SCORE_LAWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lognormal": lambda u: np.exp(special.ndtri(u)),
    "gamma": lambda u: special.gammaincinv(0.2, u),
    "gumbel": lambda u: -np.log(-np.log(u)),
    "gaussian": special.ndtri,
}


@dataclass(frozen=True)
class RandomScores:
    """f iid of one law, every row standardised: mean 0 and variance 1 over s.

    Args:
        law: one of SCORE_LAWS: lognormal (0, 1), gamma (0.2, 1), gumbel (0, 1), gaussian (0, 1).
        k: values of the side information, 2 to 2^16; the authors use 1,024.

    Raises:
        ValueError: for another law or k.
    """

    law: str = "lognormal"
    k: int = 1024

    def __post_init__(self) -> None:
        if self.law not in SCORE_LAWS:
            raise ValueError(f"law={self.law!r} is unknown; use one of {', '.join(SCORE_LAWS)}")
        if not isinstance(self.k, int) or not 2 <= self.k <= 1 << 16:
            raise ValueError(f"k={self.k!r} must be a whole number from 2 to 65536; 1024 is usual")

    @property
    def name(self) -> str:
        """As in names of decoders."""
        return f"{self.law}-{self.k}"

    def rows(self, tokens: np.ndarray, table: Prf) -> np.ndarray:
        """See `Scores.rows`."""
        raw = SCORE_LAWS[self.law](table.score_uniforms(tokens, self.k))
        raw -= raw.mean(axis=-1, keepdims=True)
        raw /= raw.std(axis=-1, keepdims=True)
        return raw


@lru_cache(maxsize=4)
def remembered_rows(scores: Scores, table: Prf) -> Callable[[np.ndarray], np.ndarray]:
    """`scores.rows` of one table, remembered by token: few tokens make up most of a text.

    Returns:
        Token ids [m] -> their rows [m, k].
    """
    known: dict[int, np.ndarray] = {}

    def rows(tokens: np.ndarray) -> np.ndarray:
        wanted = tokens.tolist()
        new = [token for token in dict.fromkeys(wanted) if token not in known]
        if (len(known) + len(new)) * 8 * scores.k > _ROW_BYTES:
            known.clear()
            new = list(dict.fromkeys(wanted))
        if new:
            known.update(zip(new, scores.rows(np.array(new, dtype=np.int64), table), strict=True))
        return np.stack([known[token] for token in wanted])

    return rows


def seeded_table(seed: int) -> KeyedPrf:
    """The table of a simulation.

    Args:
        seed: 0 to 2^63 - 1.
    """
    return KeyedPrf(Key(b"table of scores " + seed.to_bytes(8, "little")))
