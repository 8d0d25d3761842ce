"""The default pseudorandom function: keyed BLAKE2b of the context, then SplitMix64 of the token."""

from __future__ import annotations

import hashlib
import math
import operator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff._arrays import Array
from tradeoff.keyed.bits import expand, minus_log, mix, open_unit, scaled
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import (
    DEFAULT_PRF,
    BasePrf,
    Kind,
    Stream,
    check_contexts,
    check_gamma,
    check_tokens,
    check_width,
)

__all__ = ["KeyedPrf"]


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
        context_width: 1 to 64. With two, more of a text survives edits than with four;
            `docs/results/edited-text.md` tells at what price.

    Raises:
        ValueError: for another context width.
    """

    key: Key
    context_width: int = 2

    name: ClassVar[str] = DEFAULT_PRF
    key_type: ClassVar[type] = Key
    supplies: ClassVar[frozenset[Kind]] = frozenset(Kind)
    pads_contexts: ClassVar[bool] = False
    takes: ClassVar[str] = "a key of secret bytes"

    def __post_init__(self) -> None:
        if not isinstance(self.key, Key):
            raise ValueError(f"key is {type(self.key).__name__}; {self.name} takes a tradeoff.Key")
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

    def lists(self, stream: Stream, contexts: np.ndarray, tokens: Array, gamma: float) -> Array:
        """See `Prf.lists`: every token is on the list with probability gamma, independently of the others.

        Raises:
            ValueError: for malformed arguments, or gamma outside (0, 1).
        """
        contexts, tokens = check_contexts(contexts, self.context_width), check_tokens(tokens)
        check_gamma(gamma)
        keys = self._context_keys("lists", stream, contexts)
        return expand(lambda k, t: open_unit(mix(k, t)) < gamma, keys, tokens)

    def position(self, stream: Stream, contexts: np.ndarray) -> np.ndarray:
        """See `Prf.position`. Raises ValueError for malformed contexts."""
        contexts = check_contexts(contexts, self.context_width)
        return np.asarray(open_unit(self._context_keys("position", stream, contexts)[..., :1])[..., 0])

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
