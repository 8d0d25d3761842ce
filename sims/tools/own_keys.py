"""Random numbers of one position of many texts at once, each of which has a key of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tradeoff.decoders import Decoder, GreenLists, GumbelMax, TrueSource
from tradeoff.kernels import open_uniform
from tradeoff.keyed import KeyedPrf, Stream, listed
from tradeoff.laws import at

__all__ = ["OwnKeys"]


class OwnKeys:
    """Random numbers of one position of many texts: keyed by (text, context), truly random where masked.

    Args:
        prf: the keyed pseudorandom function.
        contexts: [texts, 2], number of the text and context token.
        masked: [texts].
        rng: true randomness.
        n: tokens.
    """

    def __init__(
        self, prf: KeyedPrf, contexts: np.ndarray, masked: np.ndarray, rng: np.random.Generator, n: int
    ):
        self.prf, self.contexts, self.masked, self.n = prf, contexts, masked, n
        self.rng = rng
        self._drawn: dict[tuple[Stream, str], Any] = {}
        self._kept: dict[str, np.ndarray] = {}
        self._coin = np.where(masked, open_uniform(rng, masked.shape), prf.coin(contexts))

    def zeta(self, stream: Stream, decoder: Decoder) -> Any:
        """What the decoder reads."""
        place = (stream, decoder.randomness)
        if place not in self._drawn:
            self._drawn[place] = decoder.numbers(_Stream(self, stream))
        return self._drawn[place]

    def race_at(self, stream: Stream, token: np.ndarray) -> np.ndarray:
        """One entry of a race a text."""
        return at(self.zeta(stream, GumbelMax()), token)

    def coin(self) -> np.ndarray:
        """The acceptance coin."""
        return self._coin

    def uniform(self) -> np.ndarray:
        """True randomness."""
        return open_uniform(self.rng, self.masked.shape)

    def kept(self, name: str) -> np.ndarray:
        """True randomness, the same at every call."""
        if name not in self._kept:
            self._kept[name] = self.uniform()
        return self._kept[name]


class _Stream:
    """Numbers of one stream: races and bits (`tradeoff.decoders.Source`)."""

    def __init__(self, of: OwnKeys, stream: Stream):
        self._of, self._stream = of, stream
        self._true = TrueSource(of.rng, of.masked.shape, of.n)

    def race(self) -> np.ndarray:
        of = self._of
        keyed = of.prf.race(self._stream, of.contexts, np.arange(of.n))
        return np.where(of.masked[:, None], self._true.race(), keyed)

    def bits(self) -> Callable[[int], np.ndarray]:
        of, true = self._of, self._true.bits()

        def word(k: int) -> np.ndarray:
            keyed = of.prf.bits(self._stream, of.contexts, np.arange(of.n), k)
            return np.where(of.masked[:, None], true(k), keyed)

        return word

    def side_information(self, k: int) -> np.ndarray:
        of = self._of
        keyed = of.prf.side_information(self._stream, of.contexts, k)
        return np.where(of.masked, self._true.side_information(k), keyed)

    def lists(self, gamma: float) -> GreenLists:
        of = self._of
        green = np.array(of.prf.lists(self._stream, of.contexts, np.arange(of.n), gamma))
        green[of.masked] = self._true.lists(gamma).every()[of.masked]

        def look(tokens: np.ndarray | None, rows: np.ndarray | None) -> np.ndarray:
            some = green if rows is None else green[rows]
            return some if tokens is None else np.take_along_axis(some, tokens, axis=-1)

        return GreenLists(look)

    def one_list(self, gamma: float) -> GreenLists:
        of = self._of
        green = np.broadcast_to(listed(of.prf, np.arange(of.n), gamma), (len(of.masked), of.n))

        def look(tokens: np.ndarray | None, rows: np.ndarray | None) -> np.ndarray:
            some = green if rows is None else green[rows]
            return some if tokens is None else np.take_along_axis(some, tokens, axis=-1)

        return GreenLists(look)

    def position(self) -> np.ndarray:
        of = self._of
        uniform = np.array(of.prf.position(self._stream, of.contexts))
        uniform[of.masked] = self._true.position()[of.masked]
        return uniform

    def table(self, seed: int) -> KeyedPrf:
        return self._of.prf

    def zeta(self, decoder: Decoder) -> Any:
        return self._of.zeta(self._stream, decoder)
