"""SynthID's two-candidate tournament sampling (Dathathri et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff._arrays import Array, device_of, like, namespace, on_host
from tradeoff.decoders.base import BaseDecoder
from tradeoff.decoders.gumbel import one_hot
from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.sources import Source
from tradeoff.keyed import Kind

__all__ = ["SETTLED", "BitsDecoder", "SynthID", "TournamentBits"]

#: "m = infinity" stops once the top mass is within this of 1.
SETTLED = 1e-9
_WORD = 64
#: After so many rounds most tournaments have settled.
_MANY_ROUNDS = 10
_MOST_NAMED = 256
#: Probabilities worked on at a time (at least one row): with their bits they fit a cache.
_BLOCK = 1 << 15
#: The tournament of any distribution settles in about 40 rounds and 1e-5 of them need 150; a tournament
#: still open after this many rounds means that its bits are not random.
_ROUND_LIMIT = 64 * _WORD


class TournamentBits:
    """Fair bits g_1, g_2, ... per token, in words of 64 rounds drawn only when a round needs them.

    Args:
        word: the k-th word for all seeds and tokens, an int64 array [..., n] of 64 fair bits an entry.
    """

    def __init__(self, word: Callable[[int], Array]):
        self._draw = word
        self._words: list[Array] = []

    def word(self, k: int) -> Array:
        """Rounds 64 k to 64 k + 63: `[..., n]` int64."""
        while len(self._words) <= k:
            self._words.append(self._draw(len(self._words)))
        return self._words[k]


class BitsDecoder(BaseDecoder):
    """A decoder that reads fair bits of every token: those of SynthID, or others of one's own."""

    needs: ClassVar[frozenset[Kind]] = frozenset({Kind.BITS})

    def numbers(self, source: Source) -> TournamentBits:
        """Fair bits for every round, token and position."""
        return TournamentBits(source.bits())

    def take(self, zeta: TournamentBits, rows: Array) -> TournamentBits:
        """Their bits, drawn for all rows at once as before."""
        return TournamentBits(lambda k: zeta.word(k)[rows])

    def antithetic(self, zeta: TournamentBits) -> TournamentBits:
        """Every bit flipped."""
        return TournamentBits(lambda k: ~zeta.word(k))


@dataclass(frozen=True)
class SynthID(BitsDecoder):
    """Tournament of m rounds (Eq. 3-4): P_zeta = T_gm o ... o T_g1 (P), with

        T_g(p)(w) = p(w) (1 + g(w) - sum_v p(v) g(v)),   g iid fair bits.

    Unbiased for every m. Degenerate only for m = infinity, the limit of a martingale (Theorem 3.3):
    rounds are then run until the top mass reaches 1 - 1e-9. Taking the argmax after a fixed number of
    rounds instead, as the authors of the trade-off paper do, is biased. Proofs: docs/theory/tournaments.md.

    Args:
        rounds: m >= 1, or math.inf.

    Raises:
        ValueError: for any other number of rounds.
    """

    rounds: int | float = 30
    randomness: ClassVar[str] = "tournament bits"

    def __post_init__(self) -> None:
        if not (self.rounds == math.inf or (float(self.rounds).is_integer() and self.rounds >= 1)):
            raise ValueError(f"rounds={self.rounds} must be a whole number >= 1, or math.inf")
        if _ROUND_LIMIT < self.rounds < math.inf:
            raise ValueError(
                f"rounds={self.rounds} is beyond {_ROUND_LIMIT}, long after every tournament has settled; "
                "use math.inf"
            )

    @property
    def name(self) -> str:
        """ "SynthID (m = 30)"."""
        return f"SynthID (m = {'∞' if self.rounds == math.inf else int(self.rounds)})"

    @property
    def degenerate(self) -> bool:
        """Only for m = infinity."""
        return self.rounds == math.inf

    @property
    def leaves_little(self) -> bool:
        """After many rounds most tournaments have settled."""
        return self.rounds >= _MANY_ROUNDS

    @property
    def tournament(self) -> int | None:
        """m, if it is finite."""
        return None if self.degenerate else int(self.rounds)

    @property
    def spelling(self) -> str:
        """ "synthid:30", "synthid:inf"."""
        return f"synthid:{'inf' if math.isinf(self.rounds) else int(self.rounds)}"

    @property
    def excess(self) -> str | None:
        """Rounds, beyond which few go on."""
        if not _MOST_NAMED < self.rounds < math.inf:
            return None
        return f"{self.rounds} rounds, and a record may name {_MOST_NAMED} at most"

    def __call__(self, p: Array, zeta: TournamentBits) -> Array:
        """P_zeta: `[..., n]`."""
        if self.degenerate:
            return one_hot(self.token(p, zeta), p)
        law, first = _broadcast(p, zeta.word(0))
        xp, n = namespace(law), law.shape[-1]
        rows = xp.reshape(law, (-1, n))
        words = [xp.reshape(first, (-1, n))]
        for k in range(1, -(-int(self.rounds) // _WORD)):
            words.append(xp.reshape(_broadcast(p, zeta.word(k))[1], (-1, n)))
        # Rounds read and write everything several times: on the host in blocks that stay in the cache.
        step = max(1, _BLOCK // n) if on_host(law) else max(1, rows.shape[0])
        parts = [
            self._play(rows[i : i + step], [word[i : i + step] for word in words])
            for i in range(0, rows.shape[0], step)
        ]
        return xp.reshape(xp.concat(parts) if parts else rows, law.shape)

    def _play(self, law: Array, words: list[Array]) -> Array:
        """All rounds for some rows: `[rows, n]`."""
        for level in range(int(self.rounds)):
            law = _tournament(law, words[level // _WORD], level % _WORD)
        return law

    def token(self, p: Array, zeta: TournamentBits) -> Array:
        """The token on which the tournament settles: `[...]` integers (m = infinity only).

        Raises:
            ValueError: for finite m, which has a distribution and no token.
            RuntimeError: if a tournament does not settle, because its bits are not random.
        """
        if not self.degenerate:
            raise ValueError(
                f"{self.name} is not degenerate: it has a distribution, not a token; use SynthID(math.inf)"
            )
        law, word = _broadcast(p, zeta.word(0))
        xp = namespace(law)
        batch, n = law.shape[:-1], law.shape[-1]
        law = xp.reshape(law, (-1, n))
        device = device_of(law)
        open_rows = xp.arange(law.shape[0], device=device)
        token = xp.zeros(law.shape[0], dtype=xp.int64, device=device)
        for first in range(0, _ROUND_LIMIT, _WORD):
            word = like(zeta.word(first // _WORD), law)
            word = xp.reshape(xp.broadcast_to(word, (*batch, n)), (-1, n))[open_rows]
            for shift in range(0, _WORD, 8):
                settled = xp.max(law, axis=-1) >= 1 - SETTLED
                token[open_rows[settled]] = xp.argmax(law[settled], axis=-1)
                if bool(xp.all(settled)):
                    return xp.reshape(token, batch)
                law, word, open_rows = law[~settled], word[~settled], open_rows[~settled]
                for level in range(shift, shift + 8):
                    law = _tournament(law, word, level)
        raise RuntimeError(
            f"a tournament did not settle in {_ROUND_LIMIT} rounds; check that its bits are random"
        )


def _broadcast(p: Array, word: Array) -> tuple[Array, Array]:
    xp = namespace(p)
    law, word = xp.broadcast_arrays(p, like(word, p) if isinstance(word, np.ndarray) else word)
    return law, word


def _tournament(law: Array, word: Array, level: int) -> Array:
    """One round T_g with g the `level`-th bits of `word`."""
    xp = namespace(law)
    g = xp.astype((word >> level) & 1, law.dtype)
    # A sum that rounds to just above 1 would make the losers negative.
    ones_mass = xp.vecdot(law, g)
    ones_mass = xp.minimum(ones_mass, xp.ones_like(ones_mass))[..., None]
    return law * ((1 - ones_mass) + g)


@register_watermark("synthid", "synthid:M with M >= 1, synthid:inf")
def _read(argument: str) -> SynthID | None:
    try:
        rounds = math.inf if argument in ("inf", "infinity") else int(argument or 30)
    except ValueError:
        return None
    return SynthID(rounds) if rounds >= 1 else None
