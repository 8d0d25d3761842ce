"""Random numbers of a batch of text positions: keyed by the context where the watermark may act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tradeoff._arrays import Array, like, namespace, to_numpy
from tradeoff.decoders import Decoder, GreenLists, GumbelMax, TrueSource
from tradeoff.kernels.randomness import open_uniform
from tradeoff.keyed import Prf, Stream, listed
from tradeoff.optimal_transport import seeded_table

__all__ = ["KeyedRandomness"]


class KeyedRandomness:
    """Pseudorandom numbers addressed by (key, stream, context, token), one position a row.

    At masked positions, and where there is no key, every number is truly random instead. All kernels are
    unbiased with such numbers too, so they need not know. Lists, which bias laws, are empty there.

    Args:
        prf: the keyed pseudorandom function; None without a watermark.
        contexts: context token ids, [rows, context width].
        masked: positions that carry no watermark, [rows] booleans.
        sources: the true randomness of every row, made when it is first asked for: each gives the same
            generator at every call.
        ids: all token ids, [n] int64; what is returned is in their library and on their device.
    """

    def __init__(
        self,
        prf: Prf | None,
        contexts: np.ndarray,
        masked: np.ndarray,
        sources: Sequence[Callable[[], np.random.Generator]],
        ids: Array,
    ):
        self._prf, self._contexts, self._sources, self._ids = prf, contexts, sources, ids
        self._free = np.flatnonzero(masked if prf is not None else np.ones(len(contexts), dtype=bool))
        # zeta by stream and kind, and the decoder that knows how to take rows of it.
        self._drawn: dict[tuple[Stream, str], tuple[Decoder, Any]] = {}
        self._coin: Array | None = None
        self._kept: dict[str, Array] = {}

    @classmethod
    def of_key(cls, prf: Prf, contexts: np.ndarray, ids: Array) -> KeyedRandomness:
        """What the key determines at every context [rows, context width]; true random numbers are for nobody
        to ask for."""
        masked = np.zeros(len(contexts), dtype=bool)
        return cls(prf, contexts, masked, [partial(np.random.default_rng, 0)] * len(contexts), ids)

    def uniform(self) -> Array:
        """True random numbers in (0, 1): [rows], new ones at every call."""
        return like(np.array([float(open_uniform(source())) for source in self._sources]), self._ids)

    def kept(self, name: str) -> Array:
        """True random numbers in (0, 1): [rows], the same at every call with one name."""
        if name not in self._kept:
            self._kept[name] = self.uniform()
        return self._kept[name]

    def coin(self) -> Array:
        """The acceptance coin in (0, 1): [rows]."""
        if self._coin is None:
            if self._keyed is None:
                self._coin = self.uniform()
            else:
                coin = np.array(self._keyed.coin(self._contexts))
                for row in map(int, self._free):
                    coin[row] = open_uniform(self._sources[row]())
                self._coin = like(coin, self._ids)
        return self._coin

    def zeta(self, stream: Stream, decoder: Decoder) -> Any:
        """What the decoder reads (`Decoder.numbers`).

        Raises:
            ValueError: for what the function does not supply.
        """
        place = (stream, decoder.randomness)
        if place not in self._drawn:
            self._drawn[place] = decoder, decoder.numbers(_Rows(self, stream))
        return self._drawn[place][1]

    def race_at(self, stream: Stream, token: Array) -> Array:
        """The entries of the race at `token: [rows]`."""
        race = self.zeta(stream, GumbelMax())
        return namespace(race).take_along_axis(race, token[..., None], axis=-1)[..., 0]

    def take(self, rows: np.ndarray) -> KeyedRandomness:
        """The same numbers for some of the rows; true random numbers go on from where they are."""
        if len(rows) == len(self._contexts):
            return self
        masked = np.zeros(len(self._contexts), dtype=bool)
        masked[self._free] = True
        sources = [self._sources[int(row)] for row in rows]
        part = KeyedRandomness(self._prf, self._contexts[rows], masked[rows], sources, self._ids)
        index = like(rows, self._ids)
        part._drawn = {
            place: (decoder, decoder.take(zeta, index)) for place, (decoder, zeta) in self._drawn.items()
        }
        if self._coin is not None:
            part._coin = self._coin[index]
        part._kept = {name: numbers[index] for name, numbers in self._kept.items()}
        return part

    @property
    def _keyed(self) -> Prf | None:
        """The function, if any row reads it."""
        return None if len(self._free) == len(self._contexts) else self._prf


class _Rows:
    """Numbers of one stream: the key's, and in rows without a watermark true ones (`Source`)."""

    def __init__(self, of: KeyedRandomness, stream: Stream):
        self._of, self._stream = of, stream

    def race(self) -> Array:
        of, n = self._of, len(self._of._ids)
        keyed = of._keyed
        if keyed is None:
            race = like(np.empty((len(of._contexts), n)), of._ids)
        else:
            race = keyed.race(self._stream, of._contexts, of._ids)
        for row, true in self._true().items():
            race[row] = like(true.race(), of._ids)
        return race

    def bits(self) -> Callable[[int], Array]:
        # Made now: how many words are drawn later depends on the other rows of the batch, and must not move
        # what this text draws next.
        of, n = self._of, len(self._of._ids)
        free = {row: true.bits() for row, true in self._true().items()}

        def word(k: int) -> Array:
            keyed = of._keyed
            if keyed is None:
                bits = like(np.empty((len(of._contexts), n), dtype=np.int64), of._ids)
            else:
                bits = keyed.bits(self._stream, of._contexts, of._ids, k)
            for row, own in free.items():
                bits[row] = like(own(k), of._ids)
            return bits

        return word

    def side_information(self, k: int) -> Array:
        of = self._of
        side = np.empty(len(of._contexts), dtype=np.int64)
        if of._prf is not None:
            side = of._prf.side_information(self._stream, of._contexts, k)
        for row, true in self._true().items():
            side[row] = true.side_information(k)
        return like(side, of._ids)

    def lists(self, gamma: float) -> GreenLists:
        of = self._of
        # Random lists would move the law as those of a key do: where a key is not to act, nothing is green.
        true = {} if of._prf is not None else self._true()
        free = {row: source.lists(gamma) for row, source in true.items()}
        unmarked = set() if of._prf is None else set(of._free.tolist())

        def look(tokens: Array | None, rows: Array | None) -> Array:
            places = np.arange(len(of._contexts)) if rows is None else to_numpy(rows)
            asked = of._ids if tokens is None else tokens
            if of._keyed is None:
                shape = (len(places), asked.shape[-1])
                green = like(np.zeros(shape, dtype=bool), of._ids)
            else:
                green = of._keyed.lists(self._stream, of._contexts[places], asked, gamma)
            for place, row in enumerate(places.tolist()):
                if row in unmarked:
                    green[place] = False
                elif row in free:
                    own = free[row].every() if tokens is None else free[row].of(tokens[place])
                    green[place] = like(own, of._ids)
            return green

        return GreenLists(look)

    def one_list(self, gamma: float) -> GreenLists:
        # At every position, also where contexts repeat: it has nothing to do with them.
        prf, ids, count = self._of._prf, self._of._ids, len(self._of._contexts)
        if prf is None:
            return self.lists(gamma)

        def look(tokens: Array | None, rows: Array | None) -> Array:
            green = listed(prf, ids if tokens is None else tokens, gamma)
            batch = (count if rows is None else len(rows), green.shape[-1])
            return namespace(green).broadcast_to(green, batch)

        return GreenLists(look)

    def position(self) -> Array:
        of = self._of
        uniform = np.empty(len(of._contexts))
        if of._keyed is not None:
            uniform = np.array(of._keyed.position(self._stream, of._contexts))
        for row, true in self._true().items():
            uniform[row] = true.position()
        return like(uniform, of._ids)

    def table(self, seed: int) -> Prf:
        # Without a key nobody reads the text, and one table is as good as another.
        return self._of._prf or seeded_table(seed)

    def zeta(self, decoder: Decoder) -> Any:
        return self._of.zeta(self._stream, decoder)

    def _true(self) -> dict[int, TrueSource]:
        of = self._of
        return {row: TrueSource(of._sources[row](), (), len(of._ids)) for row in map(int, of._free)}
