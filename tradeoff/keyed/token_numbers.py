"""Numbers of tokens alone: the same at every position, so that a text tells each of them once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff._arrays import Array
from tradeoff.keyed.prf import BasePrf, Kind, Prf, Stream, check_gamma

__all__ = ["TokensOnce", "listed", "listed_share"]

#: Buckets of which a list takes the first ones.
_BUCKETS = 1 << 31


def listed_share(gamma: float) -> float:
    """The chance that a token is on the list of a key: the multiple of 2^-31 inside (0, 1) nearest to gamma.

    Raises:
        ValueError: for gamma outside (0, 1).
    """
    return _taken(gamma) / _BUCKETS


def listed(prf: Prf, tokens: Array, gamma: float) -> Array:
    """Whether tokens `[...]` are on the one list of a key, independently of each other: booleans `[...]`.

    Raises:
        ValueError: for gamma outside (0, 1), or a function without buckets of tokens.
    """
    return prf.buckets(tokens, _BUCKETS) < _taken(gamma)


def _taken(gamma: float) -> int:
    check_gamma(gamma)
    return min(max(round(gamma * _BUCKETS), 1), _BUCKETS - 1)


@dataclass(frozen=True)
class TokensOnce(BasePrf):
    """A function as it is read where tokens alone decide: every token counts where it comes first.

    Contexts do not matter to such numbers, so that the first tokens of a text count like all others. Races
    are there for completed watermarks: no two positions that count have the same token, and so none has the
    same number in a race.

    Args:
        prf: the function of generation.
    """

    prf: Prf

    pads_contexts: ClassVar[bool] = True
    memory: ClassVar[int | None] = 0

    @property
    def name(self) -> str:
        """That of the function."""
        return self.prf.name

    @property
    def supplies(self) -> frozenset[Kind]:  # type: ignore[override]
        """Buckets and races, as far as the function has them."""
        return self.prf.supplies & {Kind.BUCKETS, Kind.RACE}

    @property
    def streams(self) -> frozenset[Stream]:  # type: ignore[override]
        """Those of the function."""
        return self.prf.streams

    @property
    def serves(self) -> str:  # type: ignore[override]
        """Watermarks whose numbers are those of tokens."""
        return "unigram, and unigram completed"

    @property
    def context_width(self) -> int:
        """That of the function."""
        return self.prf.context_width

    @property
    def fingerprint(self) -> str:
        """The key's."""
        return self.prf.fingerprint

    @property
    def same_positions(self) -> Hashable:
        """See `Prf.same_positions`."""
        return "tokens", self.context_width

    def origins(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The tokens."""
        return np.asarray(tokens, dtype=np.int64)

    def buckets(self, tokens: Array, m: int) -> Array:
        """See `Prf.buckets`."""
        return self.prf.buckets(tokens, m)

    def uniform(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """See `Prf.uniform`."""
        return self.prf.uniform(stream, contexts, tokens)

    def race(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """See `Prf.race`."""
        return self.prf.race(stream, contexts, tokens)
