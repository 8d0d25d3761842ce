"""Keyed pseudorandom functions of (stream, context, token): the randomness of a watermark.

A watermarked position reads its randomness from the key and the `context_width` tokens before it, so a
detector that holds the key recomputes it at the tokens it sees, at O(1) work per token. Values are
addressed by index: those of a whole vocabulary and those of single tokens agree bit for bit, and so do
the uniforms and bits of NumPy, torch CPU and torch CUDA (races differ in the last place where the
logarithms of the libraries do).
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from array_api_compat import is_array_api_obj

from tradeoff._arrays import Array, namespace, on_host, to_numpy
from tradeoff.keys import Key
from tradeoff.prf_bits import expand, minus_log, mix, open_unit, scaled

__all__ = [
    "PAD",
    "BasePrf",
    "KeyedPrf",
    "Kind",
    "Prf",
    "Stream",
    "check_contexts",
    "check_supplied",
    "check_tokens",
    "check_width",
    "lacks",
]

#: Fills contexts near the start of a text.
PAD = -1
_WIDEST_CONTEXT = 64


class Stream(StrEnum):
    """Who draws; different streams are independent under one key and context."""

    #: The one race that draft and target share.
    SHARED = "shared"
    DRAFT = "draft"
    TARGET = "target"
    ACCEPTANCE = "acceptance"


class Kind(StrEnum):
    """What a function supplies, and a watermark needs."""

    RACE = "a race"
    COIN = "an acceptance coin"
    BITS = "tournament bits"
    SIDE_INFORMATION = "side information"
    BUCKETS = "buckets of tokens"


@runtime_checkable
class Prf(Hashable, Protocol):
    """A keyed pseudorandom function.

    In all methods `contexts: [..., context_width]` are NumPy integers, the token ids before the position,
    oldest first, and `tokens: [n]` or `[..., m]` are NumPy or torch integers >= 0 whose leading axes
    broadcast against the batch `[...]` of the contexts. Results `[..., m]` are in the library and on the
    device of `tokens`.
    """

    @property
    def name(self) -> str:
        """Name and version of the format."""

    @property
    def context_width(self) -> int:
        """How many tokens before the position a value depends on."""

    @property
    def pads_contexts(self) -> bool:
        """Whether positions with fewer than `context_width` generated tokens before them are watermarked.

        If so, with contexts padded on the left by PAD; otherwise they carry no watermark. The function
        only states this rule; generation and detection follow it.
        """

    @property
    def supplies(self) -> frozenset[Kind]:
        """The kinds of numbers that it has; asking for others is an error."""

    @property
    def fingerprint(self) -> str:
        """A few hex digits that name the key and do not reveal it."""

    def uniform(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """U: `[..., m]` float64, uniform and strictly inside (0, 1)."""

    def race(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """E = -log U ~ Exp(1): `[..., m]` float64, finite and > 0; from the same U as `uniform`."""

    def coin(self, contexts: np.ndarray) -> np.ndarray:
        """The acceptance coin: `[...]` float64, uniform and strictly inside (0, 1)."""

    def bits(self, stream: Stream, contexts: np.ndarray, tokens: Array, word: int = 0) -> Array:
        """64 fair bits per token: `[..., m]` int64; `word` k holds rounds 64 k .. 64 k + 63."""

    def side_information(self, stream: Stream, contexts: np.ndarray, k: int) -> np.ndarray:
        """What transport watermarks read of a position: `[...]` int64, uniform on 0 .. k-1."""

    def score_uniforms(self, tokens: np.ndarray, k: int) -> np.ndarray:
        """A uniform for every token and value of the side information: `[m] -> [m, k]` float64 in (0, 1);
        a function of the key alone, so that the scores of a token are the same at all positions."""

    def buckets(self, tokens: Array, m: int) -> Array:
        """A hash of token ids `[...]` to 0 .. m-1, uniform and independent for different tokens: a function
        of the key alone."""


class BasePrf:
    """What functions have in common: a function of one's own derives from it, and says in `supplies` which of
    these it has. All others are errors that say so."""

    name: ClassVar[str]
    supplies: ClassVar[frozenset[Kind]]

    def uniform(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """See `Prf.uniform`."""
        raise self._lacks(Kind.RACE)

    def race(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """See `Prf.race`."""
        return minus_log(self.uniform(stream, contexts, tokens))

    def coin(self, contexts: np.ndarray) -> np.ndarray:
        """See `Prf.coin`."""
        raise self._lacks(Kind.COIN)

    def bits(self, stream: Stream, contexts: np.ndarray, tokens: Array, word: int = 0) -> Array:
        """See `Prf.bits`."""
        raise self._lacks(Kind.BITS)

    def side_information(self, stream: Stream, contexts: np.ndarray, k: int) -> np.ndarray:
        """See `Prf.side_information`."""
        raise self._lacks(Kind.SIDE_INFORMATION)

    def score_uniforms(self, tokens: np.ndarray, k: int) -> np.ndarray:
        """See `Prf.score_uniforms`."""
        raise lacks(self.name, ["scores"])

    def buckets(self, tokens: Array, m: int) -> Array:
        """See `Prf.buckets`."""
        raise self._lacks(Kind.BUCKETS)

    def _lacks(self, kind: Kind) -> ValueError:
        return lacks(self.name, [kind])


@dataclass(frozen=True)
class KeyedPrf(BasePrf):
    """The default function, in two steps.

    1. BLAKE2b, keyed by a 64-byte subkey of the key, hashes (word, context) as little-endian int64 to 128
       bits (k0, k1). Its salt names the stream and its personalisation the purpose (race, coin or layers),
       so that these are independent of each other.
    2. Token t gets the 64 bits f(f(t g + k0) + k1), where f is the SplitMix64 finaliser, g its odd
       increment, and arithmetic is modulo 2^64: a bijection of t, so one context never gives two tokens
       the same 64 bits. The secrecy rests on step 1; step 2 only has to be statistically sound.

    Uniforms are `open_unit` of these bits. The coin is `open_unit` of k0 and has no second step. Buckets
    have an empty context: they are the same at every position. A PAD in a context is hashed like any other
    number.

    Args:
        key: the key.
        context_width: 1 to 64.

    Raises:
        ValueError: for another context width.
    """

    key: Key
    context_width: int = 4

    name: ClassVar[str] = "blake2b-splitmix-v1"
    key_type: ClassVar[type] = Key
    supplies: ClassVar[frozenset[Kind]] = frozenset(Kind)
    pads_contexts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.key, Key):
            raise ValueError(f"key is {type(self.key).__name__}; {self.name} takes a tradeoff.keys.Key")
        check_width(self.context_width)

    @property
    def fingerprint(self) -> str:
        """The key's."""
        return self.key.fingerprint

    def uniform(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """See `Prf.uniform`. Raises ValueError for malformed arguments."""
        contexts, tokens = check_contexts(contexts, self.context_width), check_tokens(tokens)
        keys = self._context_keys("race", stream, contexts)
        return expand(lambda k, t: open_unit(mix(k, t)), keys, tokens)

    def race(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """See `Prf.race`. Raises ValueError for malformed arguments."""
        contexts, tokens = check_contexts(contexts, self.context_width), check_tokens(tokens)
        keys = self._context_keys("race", stream, contexts)
        return expand(lambda k, t: minus_log(open_unit(mix(k, t))), keys, tokens)

    def coin(self, contexts: np.ndarray) -> np.ndarray:
        """See `Prf.coin`. Raises ValueError for malformed contexts."""
        contexts = check_contexts(contexts, self.context_width)
        keys = self._context_keys("coin", Stream.ACCEPTANCE, contexts)
        return np.asarray(open_unit(keys[..., :1])[..., 0])

    def bits(self, stream: Stream, contexts: np.ndarray, tokens: Array, word: int = 0) -> Array:
        """See `Prf.bits`. Raises ValueError for malformed arguments."""
        contexts, tokens = check_contexts(contexts, self.context_width), check_tokens(tokens)
        if not 0 <= operator.index(word) < 1 << 63:
            raise ValueError(f"word={word} must be in 0 .. 2^63 - 1; word k holds rounds 64 k to 64 k + 63")
        return expand(mix, self._context_keys("layers", stream, contexts, word), tokens)

    def side_information(self, stream: Stream, contexts: np.ndarray, k: int) -> np.ndarray:
        """See `Prf.side_information`.

        floor(k U) for a uniform U of the context alone, independent of the coin and of every token's numbers.

        Raises:
            ValueError: for malformed contexts, or k outside 1 .. 2^31.
        """
        contexts, k = check_contexts(contexts, self.context_width), _check_count("k", k, "values; 1024")
        return np.asarray(scaled(self._context_keys("side", stream, contexts)[..., :1], k)[..., 0])

    def score_uniforms(self, tokens: np.ndarray, k: int) -> np.ndarray:
        """See `Prf.score_uniforms`; (t, s) is looked up as t k + s, with an empty context.

        Raises:
            ValueError: for malformed tokens, or k outside 1 .. 2^31.
        """
        tokens, k = check_tokens(tokens), _check_count("k", k, "values; 1024")
        keys = self._context_keys("scores", Stream.SHARED, np.empty(0, dtype=np.int64), k)
        pairs = tokens[:, None] * k + np.arange(k)
        return np.asarray(expand(lambda key, t: open_unit(mix(key, t)), keys, pairs))

    def buckets(self, tokens: Array, m: int) -> Array:
        """The keyed hash h of token ids `[...]` to 0 .. m-1, uniform and independent for different tokens.

        floor(m U) for a uniform U of the token alone: a function of the key, not of the position or of
        `context_width`. It needs no table of the vocabulary, and h for m is h for 2 m, halved.

        Raises:
            ValueError: for malformed tokens, or m outside 1 .. 2^31.
        """
        tokens, m = check_tokens(tokens), _check_count("m", m, "buckets; 2 to 16")
        keys = self._context_keys("buckets", Stream.SHARED, np.empty(0, dtype=np.int64))
        return scaled(expand(mix, keys, tokens), m)

    def _context_keys(self, purpose: str, stream: Stream, contexts: np.ndarray, word: int = 0) -> np.ndarray:
        """The 128 secret bits (k0, k1) of every context: `[..., 2]` int64."""
        # Keys of any length become BLAKE2b keys, and those of another version would be unrelated.
        subkey = hashlib.blake2b(self.key.secret, digest_size=64, person=b"tradeoff-prf-v1").digest()
        keyed = hashlib.blake2b(
            operator.index(word).to_bytes(8, "little"),
            key=subkey,
            digest_size=16,
            salt=Stream(stream).encode(),
            person=purpose.encode(),
        )
        data, size = contexts.astype("<i8").tobytes(), 8 * contexts.shape[-1]
        digests = bytearray()
        for row in range(math.prod(contexts.shape[:-1])):
            state = keyed.copy()
            state.update(data[row * size : (row + 1) * size])
            digests += state.digest()
        return np.frombuffer(digests, dtype="<i8").astype(np.int64).reshape(*contexts.shape[:-1], 2)


def _check_count(name: str, count: int, what: str) -> int:
    if not isinstance(count, int | np.integer) or not 1 <= count <= 1 << 31:
        kind, usual = what.split("; ")
        raise ValueError(f"{name}={count!r} must be a whole number of {kind}, 1 to 2^31; {usual} is usual")
    return int(count)


def check_supplied(prf: Prf, needs: Iterable[Kind]) -> None:
    """Raise ValueError, naming them, if the function lacks kinds of numbers that are needed, or if what is
    needed is no `Kind`."""
    unknown = [kind for kind in needs if not isinstance(kind, Kind)]
    if unknown:
        raise ValueError(
            f"needs hold {unknown[0]!r}, which is no Kind; write them as frozenset({{Kind.RACE}}), with "
            f"{', '.join(Kind.__members__)}"
        )
    wanted = set(needs) - prf.supplies
    if wanted:
        raise lacks(prf.name, wanted)


def lacks(name: str, what: Iterable[str]) -> ValueError:
    """The error for numbers that a function of that name does not have."""
    return ValueError(
        f"{name} does not define {' and '.join(sorted(what))}; with it use the methods basic, "
        "keep-strength, keep-efficiency, two-keys, one-race or one-race-tree with Gumbel-max; the default "
        f"prf {KeyedPrf.name} has all"
    )


def check_width(width: int) -> None:
    """Raise ValueError unless `width` is a whole number of 1 to 64."""
    if (
        isinstance(width, bool)
        or not isinstance(width, int | np.integer)
        or not 1 <= width <= _WIDEST_CONTEXT
    ):
        raise ValueError(
            f"context_width={width!r} must be a whole number of 1 to {_WIDEST_CONTEXT}; 4 is usual"
        )


def check_contexts(contexts: np.ndarray, width: int) -> np.ndarray:
    """`contexts` as an integer array `[..., width]`; ValueError otherwise."""
    contexts = np.asarray(contexts)
    if contexts.dtype.kind not in "iu":
        raise ValueError(f"contexts hold {contexts.dtype} values; pass integer token ids")
    if contexts.ndim < 1 or contexts.shape[-1] != width:
        raise ValueError(
            f"contexts have shape {contexts.shape}; the last axis must hold the {width} token ids before "
            "the position (context_width)"
        )
    return contexts


def check_tokens(tokens: Array) -> Array:
    """`tokens` as an int64 array `[..., m]` of ids >= 0; ValueError otherwise.

    Ids on an accelerator are not looked at: to wait for them would stall every generated token.
    """
    if not is_array_api_obj(tokens):
        raise ValueError(f"tokens are {type(tokens).__name__}; pass a NumPy or torch array of token ids")
    xp = namespace(tokens)
    if not xp.isdtype(tokens.dtype, "integral"):
        raise ValueError(f"tokens hold {tokens.dtype} values; pass integer token ids")
    if tokens.ndim < 1:
        raise ValueError("tokens have no axis; pass [m] token ids, as in tokens[..., None]")
    if on_host(tokens) and 0 not in tokens.shape and (lowest := int(to_numpy(tokens).min())) < 0:
        raise ValueError(f"tokens hold the id {lowest}; pass ids >= 0 and drop padding first")
    return xp.astype(tokens, xp.int64, copy=False)
