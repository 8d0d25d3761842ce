"""Integer arithmetic of the keyed pseudorandom functions: from secret bits and token ids to uniforms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tradeoff._arrays import Array, like, namespace, on_host, to_numpy

__all__ = ["expand", "minus_log", "mix", "open_unit", "scaled"]

# Tokens worked on at a time (at least one row): 0.25 MiB an array, so that a block stays in the cache.
_BLOCK = 1 << 15


def expand(function: Callable[[Array, Array], Array], state: np.ndarray, tokens: Array) -> Array:
    """`function(state, tokens)` for all contexts at once: `[..., m']`.

    Args:
        function: takes states `[..., k]` and tokens `[..., m]` whose leading axes broadcast, and gives
            `[..., m']`, in the library of its arguments.
        state: `[..., k]` int64, on the host.
        tokens: `[..., m]` int64.

    Returns:
        The values, in the library and on the device of `tokens`.
    """
    if not on_host(tokens):
        return function(like(state, tokens), tokens)
    # CPU tensors are worked on in NumPy, which shares their memory and needs two thirds of
    # torch's time; in blocks, because arrays that leave the cache cost up to twice as much.
    ids = to_numpy(tokens)
    m = ids.shape[-1]
    batch = np.broadcast_shapes(state.shape[:-1], ids.shape[:-1])
    if max(m, 1) * int(np.prod(batch)) <= _BLOCK:
        return like(function(state, ids), tokens)
    rows = np.broadcast_to(state, (*batch, state.shape[-1])).reshape(-1, state.shape[-1])
    one_row = ids.size == m
    ids = ids.reshape(1, m) if one_row else np.broadcast_to(ids, (*batch, m)).reshape(-1, m)
    step = max(1, _BLOCK // m)
    result = np.empty(0)
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        values = function(rows[part], ids if one_row else ids[part])
        if first == 0:
            result = np.empty((len(rows), values.shape[-1]), values.dtype)
        result[part] = values
    return like(result.reshape(*batch, result.shape[-1]), tokens)


def open_unit(bits: Array) -> Array:
    """Uniforms strictly inside (0, 1) from the top 53 of 64 bits: float64 of the shape of `bits` (1-d+).

    With m the top 53 bits as an integer, u = (m + 1) (2^-53 - 2^-106). The factor is (1 - 2^-53) / 2^53,
    an exact float64. It takes from (m + 1) / 2^53 at least half and less than all of its last place, so
    the product rounds to the float just below (m + 1) / 2^53: to (m + 1) / (2^53 + 1) within a last
    place. So floor(2^53 u) = m: different m give different u, of which the least is just below 2^-53 and
    the greatest is 1 - 2^-53.
    """
    m = bits >> 11
    # The shift is arithmetic: the mask removes the copies of the sign.
    m &= (1 << 53) - 1
    m += 1
    xp = namespace(m)
    u = xp.astype(m, xp.float64)
    u *= 2.0**-53 - 2.0**-106
    return u


def scaled(bits: Array, count: int) -> Array:
    """floor(count U), int64, of the shape of `bits`."""
    # The greatest U is 1 - 2^-53, and count (1 - 2^-53) rounds to a number below count.
    u = open_unit(bits)
    return namespace(u).astype(u * count, namespace(u).int64)


def minus_log(u: Array) -> Array:
    """E = -log u."""
    race = namespace(u).log(u)
    race *= -1.0
    return race


def _signed(word: int) -> int:
    return word - (word >> 63 << 64)


_INCREMENT = _signed(0x9E3779B97F4A7C15)
_FACTORS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))


def mix(keys: Array, tokens: Array) -> Array:
    """The 64 bits f(f(t g + k0) + k1) of every token: `[..., m]` int64, from keys (k0, k1): `[..., 2]`."""
    # Signed products and sums wrap to the same 64 bits as unsigned ones; torch has no others.
    z = tokens * _INCREMENT + keys[..., :1]
    _finalise(z)
    z += keys[..., 1:]
    _finalise(z)
    return z


def _finalise(z: Array) -> None:
    """The SplitMix64 finaliser (Steele, Lea and Flood 2014; Stafford's variant 13), in place."""
    _fold(z, 30)
    z *= _FACTORS[0]
    _fold(z, 27)
    z *= _FACTORS[1]
    _fold(z, 31)


def _fold(z: Array, shift: int) -> None:
    """z ^= z >> shift with a logical shift, in place."""
    high = z >> shift
    high &= (1 << 64 - shift) - 1
    z ^= high
