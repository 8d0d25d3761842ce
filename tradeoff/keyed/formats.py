"""Pseudorandom functions by the names that commands and records use."""

from __future__ import annotations

from typing import Any

import numpy as np

from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Prf

__all__ = ["PRF_NAMES", "parse_prf", "prf_type"]

_FUNCTIONS: dict[str, Any] = {KeyedPrf.name: KeyedPrf, VllmPhilox.name: VllmPhilox}
#: The default first.
PRF_NAMES = tuple(_FUNCTIONS)


def prf_type(name: str) -> Any:
    """The class of the function called `name`, which says what holds for every key: `key_type` (Key or int),
    `pads_contexts`, `supplies`, and `context_width`, the default.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in _FUNCTIONS:
        raise ValueError(f"prf={name!r} is unknown; use one of {', '.join(PRF_NAMES)}")
    return _FUNCTIONS[name]


def parse_prf(name: str, key: Key | int, context_width: int | None = None) -> Prf:
    """The function called `name`, with its default context width unless one is given.

    Args:
        name: one of PRF_NAMES.
        key: a Key for the default function, an integer below 2^64 for vLLM's.
        context_width: 1 to 64, or None.

    Raises:
        ValueError: for an unknown name, a key of the wrong kind, or a bad width.
    """
    function = prf_type(name)
    if not isinstance(key, Key | int | np.integer):
        raise ValueError(f"key is {type(key).__name__}; pass a Key, as from Key.new() or Key.read(file)")
    if isinstance(key, Key) and function.key_type is not Key:
        raise ValueError(
            f"{name} takes the integer master key of vLLM, below 2^64, not a key of secret bytes; "
            f"give the integer, or use {KeyedPrf.name}"
        )
    if not isinstance(key, Key) and function.key_type is Key:
        raise ValueError(
            f"{name} takes a key of secret bytes, not an integer; make one with `tradeoff key new`, "
            f"or use {VllmPhilox.name}"
        )
    width = {} if context_width is None else {"context_width": context_width}
    made: Prf = function(key, **width)
    return made
