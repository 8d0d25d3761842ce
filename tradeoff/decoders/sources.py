"""Where the numbers that a decoder reads come from: a key, or true randomness."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tradeoff._arrays import Array, to_numpy
from tradeoff.keyed import Prf
from tradeoff.optimal_transport import seeded_table

if TYPE_CHECKING:
    from tradeoff.decoders.base import Decoder

__all__ = ["GreenLists", "Source", "TrueSource"]


class Source(Protocol):
    """Numbers of one stream for a batch [...] of positions over n tokens.

    Numbers of different kinds are independent of each other. The tokens' are in one library and on one
    device, whichever the source is for.
    """

    def race(self) -> Array:
        """E ~ Exp(1) of every token: [..., n], positive and finite."""

    def bits(self) -> Callable[[int], Array]:
        """Fair bits of every token, word by word: word k is an int64 array [..., n] of 64 bits an entry."""

    def side_information(self, k: int) -> Array:
        """One of k values for every position: [...] int64, uniform on 0 .. k-1."""

    def lists(self, gamma: float) -> GreenLists:
        """Tokens of every position, which have the share `gamma` of the vocabulary."""

    def one_list(self, gamma: float) -> GreenLists:
        """Tokens of the key, the same at all positions, which have the share `gamma` of the vocabulary; where
        there is no key, as `lists`: every seed stands for a key."""

    def position(self) -> Array:
        """A uniform of every position: [...], strictly inside (0, 1)."""

    def table(self, seed: int) -> Prf:
        """The key under which scores of tokens are looked up; where there is no key, the table of `seed`."""

    def zeta(self, decoder: Decoder) -> Any:
        """What another decoder reads of the same stream: for decoders that are made of others."""


class GreenLists:
    """Which tokens are green, for a batch [...] of positions.

    Args:
        look: (token ids [..., m], or None for all; rows [r] of the batch, or None for all) -> booleans
            [..., m].
        rows: those of the batch that are meant.
    """

    def __init__(self, look: Callable[[Array | None, Array | None], Array], rows: Array | None = None):
        self._look, self._rows = look, rows

    def every(self) -> Array:
        """Of all tokens: [..., n]."""
        return self._look(None, self._rows)

    def of(self, tokens: Array) -> Array:
        """Of some of them: [..., m]."""
        return self._look(tokens, self._rows)

    def take(self, rows: Array) -> GreenLists:
        """Of some positions of a batch of one axis: integers [r]."""
        return GreenLists(self._look, rows if self._rows is None else self._rows[rows])


class TrueSource:
    """Truly random numbers, NumPy arrays.

    Args:
        rng: what they are drawn from.
        batch: shape [...] of the batch.
        n: vocabulary size.
    """

    def __init__(self, rng: np.random.Generator, batch: tuple[int, ...], n: int):
        self._rng, self._batch, self._n = rng, batch, n

    def race(self) -> np.ndarray:
        """See `Source.race`."""
        # rng.random() is k / 2^53. The half step keeps U above 0; next to 1 it is lost to rounding, so
        # the smallest E is set to its exact value.
        return np.maximum(-np.log(self._rng.random((*self._batch, self._n)) + 2.0**-54), 2.0**-54)

    def bits(self) -> Callable[[int], np.ndarray]:
        """See `Source.bits`; words must be asked for in order, each once."""
        # A generator of its own, made now, so that what else is drawn from `rng` does not depend on how
        # many words are asked for later.
        own = np.random.Generator(np.random.SFC64(self._rng.integers(1 << 63)))
        span, shape = np.iinfo(np.int64), (*self._batch, self._n)
        return lambda _: own.integers(span.min, span.max, shape, dtype=np.int64, endpoint=True)

    def side_information(self, k: int) -> np.ndarray:
        """See `Source.side_information`."""
        return np.asarray(self._rng.integers(k, size=self._batch))

    def lists(self, gamma: float) -> GreenLists:
        """See `Source.lists`: every token is green with probability gamma, independently of the others."""
        green = self._rng.random((*self._batch, self._n)) < gamma

        def look(tokens: Array | None, rows: Array | None) -> np.ndarray:
            some = green if rows is None else green[to_numpy(rows)]
            if tokens is None:
                return some
            ids = to_numpy(tokens)
            return np.take_along_axis(some, np.broadcast_to(ids, (*some.shape[:-1], ids.shape[-1])), axis=-1)

        return GreenLists(look)

    def one_list(self, gamma: float) -> GreenLists:
        """See `Source.one_list`."""
        return self.lists(gamma)

    def position(self) -> np.ndarray:
        """See `Source.position`."""
        return np.asarray(np.maximum(self._rng.random(self._batch), 2.0**-54))

    def table(self, seed: int) -> Prf:
        """See `Source.table`: that of the seed."""
        return seeded_table(seed)

    def zeta(self, decoder: Decoder) -> Any:
        """See `Source.zeta`."""
        return decoder.numbers(self)
