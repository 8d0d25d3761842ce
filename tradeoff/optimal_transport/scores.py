"""Scores f(x, s) of transport watermarks: how well token x goes with side information s.

Tsur et al., "HeavyWater and SimplexWater". A family has k values of side information, s = 0 .. k-1, and for
every token a row of k scores. SimplexWater's rows are words of a simplex code, HeavyWater's are independent
draws from a law with a heavy tail, standardised. Rows belong to a table: a key, under which the pair
(token, s) is looked up in the keyed pseudorandom function. One key has one table, whatever the position;
what changes from position to position is s.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Protocol

import numpy as np
from scipy import special

from tradeoff.keyed import Key, KeyedPrf, Prf

__all__ = ["SCORE_LAWS", "RandomScores", "Scores", "remembered_rows", "seeded_table"]

#: Bytes of score rows remembered for one key.
_ROW_BYTES = 1 << 28


class Scores(Hashable, Protocol):
    """A family of scores."""

    @property
    def name(self) -> str:
        """ "HeavyWater (lognormal, k = 1024)": the family, and in brackets what it is made with."""

    @property
    def spelling(self) -> str:
        """As on the command line, without the settings of a transport: "heavywater:gamma,k=256".

        Raises:
            ValueError: if names cannot tell them.
        """

    @property
    def k(self) -> int:
        """Number of values of the side information."""

    @property
    def presumed(self) -> tuple[float, float] | None:
        """Mean and standard deviation of a row, as the authors' test takes them; None if it is for others."""

    def rows(self, tokens: np.ndarray, table: Prf) -> np.ndarray:
        """Scores of tokens [m] for every s: [m, k], float64, of one key's table."""


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
    presumed: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.law not in SCORE_LAWS:
            raise ValueError(f"law={self.law!r} is unknown; use one of {', '.join(SCORE_LAWS)}")
        if not isinstance(self.k, int) or not 2 <= self.k <= 1 << 16:
            raise ValueError(f"k={self.k!r} must be a whole number from 2 to 65536; 1024 is usual")

    @property
    def name(self) -> str:
        """ "HeavyWater (lognormal, k = 1024)": of laws with a heavy tail."""
        family = "HeavyWater" if self.law in ("lognormal", "gamma") else "transport"
        return f"{family} ({self.law}, k = {self.k})"

    @property
    def spelling(self) -> str:
        """ "heavywater:lognormal"; the authors' k is left out."""
        return f"heavywater:{self.law}" + ("" if self.k == RandomScores().k else f",k={self.k}")

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
