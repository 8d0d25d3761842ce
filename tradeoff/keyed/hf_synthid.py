"""SynthID as Transformers runs it: `SynthIDTextWatermarkingConfig`, bit for bit, on the CPU.

A context of ngram_len - 1 ids is hashed to C = fold(... fold(1, c_1) ..., c_h), with

    fold(h, x) = (h + x) 6364136223846793005 + 1 mod 2^64,

and the bit of token v in the round of key k is entry fold(fold(C, v), k) of a table of coin flips, the hash
read as a signed number and reduced modulo the size of the table. Where that is a power of two, all bits of a
token are a function of u = fold(C, v) modulo the size, and every round reads one public cyclic sequence at a
shift, its key.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from tradeoff._arrays import Array, like, namespace
from tradeoff.keyed.bits import expand
from tradeoff.keyed.depth_keys import DepthKeys
from tradeoff.keyed.formats import register_prf
from tradeoff.keyed.prf import PAD, BasePrf, Kind, Stream, check_contexts, check_tokens, check_width, lacks

__all__ = ["HfSynthID", "HfSynthIDSettings", "SamplingTable", "ngram_hashes"]

_KEYWORD = "hf-synthid"
_FACTOR = 6364136223846793005
_WORD = 64
_USUAL_ROUNDS = 30
#: Eight bytes an entry are held of some keys.
_LARGEST_TABLE = 1 << 20


def _folded(hashes: np.ndarray, ids: Array) -> Array:
    """fold(h, x), int64, which wraps."""
    return (hashes + ids) * _FACTOR + 1


def ngram_hashes(contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """fold(C, v) of contexts [t, width] and tokens [t]: [t] int64."""
    return np.asarray(_folded(_context_hashes(contexts), tokens[:, None])[:, 0])


def _context_hashes(contexts: np.ndarray) -> np.ndarray:
    """C: [..., width] to [..., 1] int64. PAD stands for 0, with which generation begins."""
    ids = contexts.astype(np.int64, copy=False)
    hashes = np.ones((*ids.shape[:-1], 1), dtype=np.int64)
    for place in range(ids.shape[-1]):
        column = ids[..., place : place + 1]
        hashes = _folded(hashes, np.where(column == PAD, 0, column))
    return hashes


@dataclass(frozen=True)
class SamplingTable:
    """The coin flips that hashes look up: the last bits of what MT19937 gives, seeded with 32 bits.

    Everybody's table is the same, unless settings name another.

    Args:
        size: entries, 1 to 2^20; Transformers' `sampling_table_size`.
        seed: 0 to 2^64 - 1, of which the last 32 bits count; `sampling_table_seed`.

    Raises:
        ValueError: for values out of range.
    """

    size: int = 1 << 16
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= _LARGEST_TABLE:
            raise ValueError(f"table={self.size!r} must be a whole number of 1 to 2^20; 65536 is usual")
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed={self.seed!r} must be a whole number of 0 to 2^64 - 1; 0 is usual")
        object.__setattr__(self, "seed", self.seed & 0xFFFFFFFF)

    @property
    def flips(self) -> np.ndarray:
        """T: [size] of 0 and 1, int8."""
        return _flips(self)

    @property
    def cyclic(self) -> np.ndarray | None:
        """T'[u] = T[(6364136223846793005 u + 1) mod size], [size] of 0 and 1: the bit of u in the round of
        key k is T'[(u + k) mod size]. None where the size is no power of two, and nothing so simple holds."""
        return _cyclic(self) if self.size & (self.size - 1) == 0 else None


@lru_cache(maxsize=8)
def _flips(table: SamplingTable) -> np.ndarray:
    draws = np.frombuffer(np.random.RandomState(table.seed).bytes(4 * table.size), dtype="<u4")
    return (draws & 1).astype(np.int8)


@lru_cache(maxsize=8)
def _cyclic(table: SamplingTable) -> np.ndarray:
    places = np.arange(table.size) * (_FACTOR % table.size) + 1
    return table.flips[places % table.size]


@dataclass(frozen=True)
class HfSynthIDSettings:
    """What `SynthIDTextWatermarkingConfig` says beside keys and ngram_len, as it stands in names:
    "hf-synthid:table=1000,seed=7,history=0,skip-first".

    Called with keys, and perhaps a context width, it is the function.

    Args:
        table: `sampling_table_size` and `sampling_table_seed`.
        history: `context_history_size`, at least 0.
        skips_first: `skip_first_ngram_calls`.

    Raises:
        ValueError: for values out of range.
    """

    table: SamplingTable = SamplingTable()
    history: int = 1024
    skips_first: bool = False

    key_type: ClassVar[type] = DepthKeys
    takes: ClassVar[str] = "depth keys, one for every round (DepthKeys; `depth_keys` of a key file)"
    supplies: ClassVar[frozenset[Kind]] = frozenset({Kind.BITS})
    streams: ClassVar[frozenset[Stream]] = frozenset({Stream.SHARED})
    serves: ClassVar[str] = "the methods basic, keep-strength, target-only or joint-tournament with synthid:M"
    context_width: ClassVar[int] = 4
    excess: ClassVar[None] = None

    def __post_init__(self) -> None:
        if type(self.history) is not int or self.history < 0:
            raise ValueError(f"history={self.history!r} must be a whole number of at least 0; 1024 is usual")

    @property
    def name(self) -> str:
        """The keyword, and those settings that are not Transformers' defaults."""
        usual = HfSynthIDSettings()
        told = [
            *([f"table={self.table.size}"] if self.table.size != usual.table.size else []),
            *([f"seed={self.table.seed}"] if self.table.seed != usual.table.seed else []),
            *([f"history={self.history}"] if self.history != usual.history else []),
            *(["skip-first"] if self.skips_first else []),
        ]
        return f"{_KEYWORD}:{','.join(told)}" if told else _KEYWORD

    @property
    def pads_contexts(self) -> bool:
        """The first tokens are watermarked unless they are skipped."""
        return not self.skips_first

    def check_decoder(self, decoder: Any) -> None:
        """See `BasePrf.check_decoder`: with keys for its rounds any tournament will do.

        Raises:
            ValueError: for a decoder that reads bits and plays none.
        """
        if decoder.tournament is None:
            raise ValueError(
                f"{self.name} has a depth key for every round, and {decoder.name} has no fixed number of "
                "them; name synthid:M"
            )

    def __call__(self, key: DepthKeys, context_width: int = 4) -> HfSynthID:
        return HfSynthID(key, context_width, self)


@dataclass(frozen=True)
class HfSynthID(BasePrf):
    """Transformers' SynthID, whose texts are detected here, and the other way round.

    It has bits in one stream, a round for every key. Contexts near the start of a text are padded with zeros;
    a context whose hash is that of one of the last 1,024 is not used.

    Args:
        keys: one for every round.
        context_width: ngram_len - 1, 1 to 64.
        settings: all else.

    Raises:
        ValueError: for keys of another kind, or a width out of range.
    """

    keys: DepthKeys
    context_width: int = 4
    settings: HfSynthIDSettings = field(default_factory=HfSynthIDSettings)

    supplies: ClassVar[frozenset[Kind]] = HfSynthIDSettings.supplies
    streams: ClassVar[frozenset[Stream]] = HfSynthIDSettings.streams
    serves: ClassVar[str] = HfSynthIDSettings.serves

    def __post_init__(self) -> None:
        if not isinstance(self.keys, DepthKeys):
            raise ValueError(f"keys is {type(self.keys).__name__}; {_KEYWORD} takes a tradeoff.DepthKeys")
        check_width(self.context_width)

    @property
    def name(self) -> str:
        """As of the settings."""
        return self.settings.name

    @property
    def pads_contexts(self) -> bool:
        """As of the settings."""
        return self.settings.pads_contexts

    @property
    def memory(self) -> int:
        """As many positions as generation keeps hashes of."""
        return self.settings.history

    @property
    def rounds(self) -> int:
        """One a key."""
        return len(self.keys)

    @property
    def fingerprint(self) -> str:
        """The keys'."""
        return self.keys.fingerprint

    @property
    def same_positions(self) -> Hashable:
        """Hashes are the same whatever keys and table are."""
        return _KEYWORD, self.pads_contexts, self.context_width

    def origins(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """See `Prf.origins`: the hash of the context, by which generation compares contexts too."""
        return _context_hashes(check_contexts(contexts, self.context_width))[..., 0]

    def bits(self, stream: Stream, contexts: np.ndarray, tokens: Array, word: int = 0) -> Array:
        """See `Prf.bits`; bits behind the last round are 0.

        Raises:
            ValueError: for malformed arguments, another stream than SHARED, or a word behind the last round.
        """
        contexts, tokens = check_contexts(contexts, self.context_width), check_tokens(tokens)
        if Stream(stream) is not Stream.SHARED:
            raise lacks(self, [f"a stream {Stream(stream).value!r}"])
        keys = self.keys.secret[_WORD * operator.index(word) :][:_WORD] if operator.index(word) >= 0 else ()
        if not keys:
            raise ValueError(
                f"word={word} holds rounds from {_WORD * word} on, but there are {self.rounds} depth keys; "
                f"name synthid:{self.rounds}, or give a key for every round"
            )
        table, size = self.settings.table, self.settings.table.size
        if table.cyclic is not None:
            words = _words(table, self.keys, operator.index(word))
            return expand(
                lambda state, ids: like(words, ids)[_folded(state, ids) & (size - 1)],
                _context_hashes(contexts),
                tokens,
            )
        addends = [_signed(key * _FACTOR + 1) for key in keys]

        def looked_up(state: Array, ids: Array) -> Array:
            flips, hashes = like(table.flips, ids), _folded(state, ids) * _FACTOR
            found = namespace(ids).zeros_like(hashes)
            for depth, addend in enumerate(addends):
                # The modulo of a signed number has the sign of the size, in NumPy and in PyTorch.
                bit = flips[(hashes + addend) % size]
                found |= namespace(ids).astype(bit, found.dtype) << depth
            return found

        return expand(looked_up, _context_hashes(contexts), tokens)


@lru_cache(maxsize=16)
def _words(table: SamplingTable, keys: DepthKeys, word: int) -> np.ndarray:
    """The bits of every u in the rounds of a word: [size] int64."""
    assert table.cyclic is not None
    words = np.zeros(table.size, dtype=np.int64)
    for depth, key in enumerate(keys.secret[_WORD * word :][:_WORD]):
        words |= np.roll(table.cyclic, -(key % table.size)).astype(np.int64) << depth
    return words


def _watermark_of(keys: DepthKeys | None) -> str:
    """A round for every key; 30 are usual."""
    return f"synthid:{_USUAL_ROUNDS if keys is None else len(keys)}"


def _signed(number: int) -> int:
    """The signed number with the last 64 bits of an integer."""
    return ((number + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


@register_prf(_KEYWORD, watermark=_watermark_of)
def _read(settings: str) -> HfSynthIDSettings:
    told: dict[str, int] = {}
    skips = False
    for setting in settings.split(",") if settings else ():
        name, equals, value = setting.partition("=")
        if setting == "skip-first" and not skips:
            skips = True
        elif name in ("table", "seed", "history") and equals and name not in told and value.isdecimal():
            told[name] = int(value)
        else:
            raise ValueError(
                f"prf='{_KEYWORD}:{settings}' has the setting {setting!r}, which is none; write "
                f"{_KEYWORD}, or {_KEYWORD}:table=65536,seed=0,history=1024,skip-first"
            )
    usual = HfSynthIDSettings()
    table = SamplingTable(told.get("table", usual.table.size), told.get("seed", usual.table.seed))
    return HfSynthIDSettings(table, told.get("history", usual.history), skips)
