"""Philox4x32-10, and the watermark format of vLLM that is built on it."""

from __future__ import annotations

import hashlib
import operator
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, NoReturn

import numpy as np

from tradeoff._arrays import Array, like, namespace, on_host, to_numpy
from tradeoff.keyed.bits import expand
from tradeoff.keyed.prf import PAD, BasePrf, Kind, Stream, check_contexts, check_tokens, check_width, lacks

__all__ = ["Hidden", "VllmPhilox", "hidden_integer", "philox4x32"]

_WORD = 0xFFFFFFFF
_FACTORS = (0xD2511F53, 0xCD9E8D57)
_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
#: Constants of vLLM's format: they set apart the absorption of a context and the draws at its tokens.
_ABSORB = 0x574D4358
_DRAW = 0x574D544B
#: Values of vLLM's `deduplicate_contexts`.
_AGAIN, _ONCE, _EVERYWHERE = _SCOPES = ("none", "single_turn", "all")

Words4 = tuple[Array, Array, Array, Array]


def philox4x32(counter: Words4, key: tuple[Array, Array]) -> Words4:
    """Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011).

    Args:
        counter: four int64 arrays of 32-bit words (0 .. 2^32 - 1) that broadcast, with at least one axis.
        key: two such arrays, or integers.

    Returns:
        Four int64 arrays of 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _product(c0, _FACTORS[0])
        high1, low1 = _product(c2, _FACTORS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _INCREMENTS[0]) & _WORD, (k1 + _INCREMENTS[1]) & _WORD
    return c0, c1, c2, c3


def _product(words: Array, factor: int) -> tuple[Array, Array]:
    """The high and the low 32 bits of a product of 32-bit words."""
    # A product below 2^64 wraps to a signed number with the same 64 bits; the mask then undoes what the
    # arithmetic shift copies of its sign.
    product = words * factor
    return (product >> 32) & _WORD, product & _WORD


class Hidden:
    """An integer that is neither shown nor pickled, so that no dump of settings carries it."""

    __slots__ = ("_value",)

    def __init__(self, value: int):
        self._value = value

    def __index__(self) -> int:
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and self._value == other._value

    def __hash__(self) -> int:
        return hash(("hidden", self._value))

    def __repr__(self) -> str:
        return "<hidden>"

    def __deepcopy__(self, memo: dict) -> Hidden:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key cannot be pickled; pass the integer and make the function anew")


def hidden_integer(key: object, argument: str, name: str) -> Hidden:
    """An integer key of 0 .. 2^64 - 1 of the function called `name`; ValueError for what is none."""
    value = operator.index(key) if isinstance(key, Hidden) else key
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{argument} is {type(value).__name__}; {name} takes an integer below 2^64")
    if not 0 <= value < 1 << 64:
        # A message must not show the key, so it shows its size.
        size = "negative" if value < 0 else f"{int(value).bit_length()} bits long"
        raise ValueError(f"{argument} is {size}; {name} takes an integer of 0 to 2^64 - 1")
    return Hidden(int(value))


@dataclass(frozen=True)
class VllmPhilox(BasePrf):
    """vLLM's watermark format "philox4x32-10-v1", bit for bit: texts of either are detected by the other.

    Uniforms have 24 bits: u = (m + 1) / (2^24 + 1) rounded to float32, given as float64. The stream
    SHARED uses the master key; DRAFT and TARGET use keys A and B of vLLM's dual-key algorithm.

    The format has races only, at positions padded with PAD too. It serves the methods without a keyed
    coin, with Gumbel-max. Contexts are marked once a text; `configured` has vLLM's other settings.

    Args:
        master_key: 0 .. 2^64 - 1. Small ones can be guessed, from the fingerprint too: draw it at random.
        context_width: 1 to 64; vLLM's own default is 4.

    Raises:
        ValueError: for a key or a width outside these ranges.
    """

    master_key: int | Hidden = field(repr=False)
    context_width: int = 4

    name: ClassVar[str] = "vllm-philox-v1"
    key_type: ClassVar[type] = int
    supplies: ClassVar[frozenset[Kind]] = frozenset({Kind.RACE})
    streams: ClassVar[frozenset[Stream]] = frozenset({Stream.SHARED, Stream.DRAFT, Stream.TARGET})
    pads_contexts: ClassVar[bool] = True
    serves: ClassVar[str] = (
        "the methods basic, keep-strength, keep-efficiency, target-only, two-keys, dual-key, one-race, "
        "one-race-tree, joint-race or joint-race-tree with Gumbel-max"
    )
    takes: ClassVar[str] = "the integer master key of vLLM, below 2^64"
    #: Name of the function that reads its texts: that without what generation alone follows.
    reader: ClassVar[str] = name

    def __post_init__(self) -> None:
        object.__setattr__(self, "master_key", hidden_integer(self.master_key, "master_key", self.name))
        check_width(self.context_width)

    @classmethod
    @cache
    def configured(cls, settings: str) -> type[VllmPhilox]:
        """The function with vLLM's settings of which contexts are marked, as they stand behind the colon of a
        name: the same numbers at all contexts.

        Args:
            settings: `deduplicate_contexts`: "none", where contexts are marked as often as they come,
                "single_turn", once a text, or "all", where those of the prompt are not marked either, nor the
                first `context_width` tokens; and perhaps "history=N", `deduplicate_contexts_max_history`, for
                how many positions they are remembered; parted by a comma.

        Raises:
            ValueError: for other settings, and a history of "none".
        """
        scope, comma, rest = settings.partition(",")
        if scope not in _SCOPES:
            scope, comma, rest = _ONCE, ",", settings
        found = re.fullmatch(r"history=([1-9][0-9]{0,17})", rest)
        if bool(comma) != bool(found) or (found and scope == _AGAIN):
            raise ValueError(
                f"prf='{cls.name}:{settings}' has settings that are none; write {cls.name}:none, "
                f"{cls.name}:all, {cls.name}:history=8192 or {cls.name}:all,history=8192"
            )
        told = [*([] if scope == _ONCE else [scope]), *([rest] if found else [])]
        everywhere = scope == _EVERYWHERE
        attributes: dict[str, Any] = {
            "name": ":".join([cls.name, ",".join(told)] if told else [cls.name]),
            "memory": 0 if scope == _AGAIN else int(found[1]) if found else None,
            "pads_contexts": not everywhere,
            "masks_prompt": everywhere,
            "reader": f"{cls.name}:{_EVERYWHERE}" if everywhere else cls.name,
            "__doc__": cls.__doc__,
            "__module__": cls.__module__,
        }
        return type(cls.__name__, (cls,), attributes) if told else cls

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name the key."""
        return hashlib.blake2b(self._key_bytes(), digest_size=8, person=b"vllm-fingerprint").hexdigest()

    def uniform(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """See `Prf.uniform`. Raises ValueError for malformed arguments and streams without a key."""
        contexts, tokens = check_contexts(contexts, self.context_width), check_tokens(tokens)
        state = self._absorb(self._stream_key(Stream(stream)), contexts)
        n = tokens.shape[-1]
        if _is_vocabulary(tokens):
            groups = like(np.arange(-(-n // 4)), tokens)
            return expand(_uniforms_of_groups, state, groups)[..., :n]
        return expand(_uniforms_of_tokens, state, tokens)

    def _key_bytes(self) -> bytes:
        return operator.index(self.master_key).to_bytes(8, "big")

    def _stream_key(self, stream: Stream) -> int:
        """The integer key of a stream."""
        if stream is Stream.SHARED:
            return operator.index(self.master_key)
        labels = {Stream.DRAFT: b"key_a", Stream.TARGET: b"key_b"}
        if stream not in labels:
            raise lacks(self, [f"a stream {stream.value!r}"])
        return int.from_bytes(hashlib.sha256(labels[stream] + self._key_bytes()).digest()[:8], "big")

    def _absorb(self, key: int, contexts: np.ndarray) -> np.ndarray:
        """What the draws at a context start from: `[..., 5]`, three counter words and two key words."""
        ids = contexts.astype(np.int64).reshape(-1, self.context_width)
        # PAD is the last 32-bit word. Larger ids would be words of others, and a context that is new to a
        # detector would bring the numbers of an old one.
        if ids.size and (ids.max() >= _WORD or ids.min() < PAD):
            wrong = ids[(ids >= _WORD) | (ids < PAD)][0]
            raise ValueError(f"contexts hold {wrong}; {self.name} has token ids below 2^32 - 1")
        words = ids & _WORD
        low, high = key & _WORD, key >> 32
        state = [np.full(len(words), word) for word in (_ABSORB, int(self.context_width), 0, 0)]
        for offset in range(0, self.context_width, 4):
            for i in range(4):
                inside = offset + i < self.context_width
                state[i] = state[i] ^ (words[:, offset + i] if inside else _WORD - i)
            state = list(philox4x32((state[0], state[1], state[2], state[3]), (low ^ offset, high)))
        keys = [low ^ state[3], np.full(len(words), high ^ _DRAW)]
        return np.stack([*state[:3], *keys], axis=-1).reshape(*contexts.shape[:-1], 5)


def _is_vocabulary(tokens: Array) -> bool:
    """Whether `tokens` are known to be 0, 1, ..., n - 1; always False on an accelerator.

    One evaluation then serves four tokens. An accelerator would have to be waited for, and has time for
    one evaluation a token.
    """
    if not on_host(tokens) or tokens.ndim != 1 or len(tokens) == 0:
        return False
    return np.array_equal(to_numpy(tokens), np.arange(len(tokens)))


def _draw(state: Array, groups: Array) -> Words4:
    """The four words of every group of four tokens: `[..., m]` each."""
    counter = (groups, state[..., 0:1], state[..., 1:2], state[..., 2:3])
    return philox4x32(counter, (state[..., 3:4], state[..., 4:5]))


def _uniforms_of_groups(state: Array, groups: Array) -> Array:
    """Uniforms of tokens 4 g .. 4 g + 3 for every group g: `[..., 4 m]`."""
    words = namespace(groups).stack(_draw(state, groups), axis=-1)
    return _short_unit(words.reshape(*words.shape[:-2], -1))


def _uniforms_of_tokens(state: Array, tokens: Array) -> Array:
    """Uniforms of the tokens: `[..., m]`."""
    xp = namespace(tokens)
    first, second, third, fourth = _draw(state, tokens >> 2)
    lane = tokens & 3
    return _short_unit(
        xp.where(lane < 2, xp.where(lane == 0, first, second), xp.where(lane == 2, third, fourth))
    )


def _short_unit(words: Array) -> Array:
    """(m + 1) / (2^24 + 1) with m the top 24 of 32 bits, rounded to float32: float64."""
    xp = namespace(words)
    # No such quotient is so near the middle of two float32 that rounding it to float64 first matters.
    u = xp.astype((words >> 8) + 1, xp.float64) / (2.0**24 + 1)
    return xp.astype(xp.astype(u, xp.float32), xp.float64)
