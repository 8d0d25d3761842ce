"""Random numbers of a batch of text positions: keyed by the context where the watermark may act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from tradeoff.decoders import Completed, Decoder, GumbelMax, SideInformation, Transport
from tradeoff.decoders.completed import Completion
from tradeoff.decoders.synthid import TournamentBits
from tradeoff.prf import Prf, Stream
from tradeoff.randomness import open_uniform
from tradeoff.scores import seeded_table

__all__ = ["PositionRandomness", "vocabulary_ids"]


class PositionRandomness:
    """Pseudorandom numbers addressed by (key, stream, context, token), one position a row.

    At masked positions, and where there is no key, every number is truly random instead. All kernels are
    unbiased with such numbers too, so they need not know.

    Args:
        prf: the keyed pseudorandom function; None without a watermark.
        contexts: context token ids, [rows, context width].
        masked: positions that carry no watermark, [rows] booleans.
        sources: the true randomness of every row, made when it is first asked for: each gives the same
            generator at every call.
        n: vocabulary size.
        device: of the tensors that are returned.
    """

    def __init__(
        self,
        prf: Prf | None,
        contexts: np.ndarray,
        masked: np.ndarray,
        sources: Sequence[Callable[[], np.random.Generator]],
        n: int,
        device: torch.device,
    ):
        self._prf, self._contexts, self._sources = prf, contexts, sources
        self._free = np.flatnonzero(masked if prf is not None else np.ones(len(contexts), dtype=bool))
        self._n, self._device = n, device
        self._drawn: dict[tuple[Stream, str], Any] = {}
        self._coin: torch.Tensor | None = None

    @classmethod
    def of_key(cls, prf: Prf, contexts: np.ndarray, n: int, device: torch.device) -> PositionRandomness:
        """What the key determines at every context; true random numbers are for nobody to ask for."""
        masked = np.zeros(len(contexts), dtype=bool)
        return cls(prf, contexts, masked, [partial(np.random.default_rng, 0)] * len(contexts), n, device)

    def uniform(self) -> torch.Tensor:
        """True random numbers in (0, 1): [rows], new ones at every call."""
        drawn = [float(open_uniform(source())) for source in self._sources]
        return torch.tensor(drawn, dtype=torch.float64, device=self._device)

    def coin(self) -> torch.Tensor:
        """The acceptance coin in (0, 1): [rows]."""
        if self._coin is None:
            if self._prf is None or len(self._free) == len(self._contexts):
                self._coin = self.uniform()
            else:
                coin = np.array(self._prf.coin(self._contexts))
                for row in map(int, self._free):
                    coin[row] = open_uniform(self._sources[row]())
                self._coin = torch.from_numpy(coin).to(self._device)
        return self._coin

    def zeta(self, stream: Stream, decoder: Decoder) -> Any:
        """What the decoder reads: a race [rows, n], tournament bits, side information [rows], a race beside
        one of the latter, or None if it reads nothing.

        Raises:
            ValueError: for what the function does not define.
        """
        if isinstance(decoder, Completed):
            # The function's purposes are independent of each other: bits or side information, and a race.
            return Completion(self.zeta(stream, decoder.decoder), self.zeta(stream, GumbelMax()))
        kind = decoder.randomness
        if (stream, kind) not in self._drawn:
            if kind == "race":
                self._drawn[stream, kind] = self._race(stream, decoder)
            elif kind == "tournament bits":
                self._drawn[stream, kind] = self._tournament_bits(stream, decoder)
            elif isinstance(decoder, Transport):
                self._drawn[stream, kind] = self._side_information(stream, decoder)
            else:
                return None
        return self._drawn[stream, kind]

    def race_at(self, stream: Stream, token: torch.Tensor) -> torch.Tensor:
        """The entries of the race at `token: [rows]`; the race has been drawn by then."""
        return torch.gather(self._drawn[stream, "race"], -1, token[..., None])[..., 0]

    def take(self, rows: np.ndarray) -> PositionRandomness:
        """The same numbers for some of the rows; true random numbers go on from where they are."""
        if len(rows) == len(self._contexts):
            return self
        masked = np.zeros(len(self._contexts), dtype=bool)
        masked[self._free] = True
        part = PositionRandomness(
            self._prf,
            self._contexts[rows],
            masked[rows],
            [self._sources[int(row)] for row in rows],
            self._n,
            self._device,
        )
        index = torch.from_numpy(rows).to(self._device)
        for (stream, kind), drawn in self._drawn.items():
            part._drawn[stream, kind] = _rows_of(drawn, index)
        if self._coin is not None:
            part._coin = self._coin[index]
        return part

    def _race(self, stream: Stream, decoder: Decoder) -> torch.Tensor:
        if self._prf is None or len(self._free) == len(self._contexts):
            race = torch.empty((len(self._contexts), self._n), dtype=torch.float64, device=self._device)
        else:
            race = self._prf.race(stream, self._contexts, vocabulary_ids(self._n, self._device))
        for row in map(int, self._free):
            drawn = decoder.draw(self._sources[row](), (), self._n)
            race[row] = torch.from_numpy(drawn).to(self._device)
        return race

    def _side_information(self, stream: Stream, decoder: Transport) -> SideInformation:
        # Without a key nobody reads the text, and one table is as good as another.
        side, table = np.empty(len(self._contexts), dtype=np.int64), self._prf or seeded_table(decoder.seed)
        if self._prf is not None:
            side = self._prf.side_information(stream, self._contexts, decoder.scores.k)
        for row in map(int, self._free):
            side[row] = decoder.draw(self._sources[row](), (), self._n).s
        return SideInformation(torch.from_numpy(side).to(self._device), table)

    def _tournament_bits(self, stream: Stream, decoder: Decoder) -> TournamentBits:
        # A source of its own for every free row, made now: how many words are drawn later depends on the
        # other rows of the batch, and must not move what this text draws next.
        free = {row: decoder.draw(self._sources[row](), (), self._n) for row in map(int, self._free)}

        def word(k: int) -> torch.Tensor:
            if self._prf is None or len(free) == len(self._contexts):
                bits = torch.empty((len(self._contexts), self._n), dtype=torch.int64, device=self._device)
            else:
                bits = self._prf.bits(stream, self._contexts, vocabulary_ids(self._n, self._device), k)
            for row, own in free.items():
                bits[row] = torch.from_numpy(own.word(k)).to(self._device)
            return bits

        return TournamentBits(word)


def _rows_of(drawn: Any, index: torch.Tensor) -> Any:
    if isinstance(drawn, SideInformation):
        return drawn._replace(s=drawn.s[index])
    if isinstance(drawn, TournamentBits):
        return TournamentBits(lambda word: drawn.word(word)[index])
    return drawn[index]


@lru_cache(maxsize=4)
def vocabulary_ids(n: int, device: torch.device) -> torch.Tensor:
    """All token ids, [n] int64; made once."""
    return torch.arange(n, device=device)
