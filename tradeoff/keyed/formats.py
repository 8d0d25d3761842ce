"""Pseudorandom functions by the names that commands and records use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Prf

__all__ = ["PRF_NAMES", "keyword_of", "parse_prf", "prf_type", "reader_of", "register_prf", "watermark_of"]

_Read = TypeVar("_Read", bound=Callable[[str], Any])
_FUNCTIONS: dict[str, Any] = {KeyedPrf.name: KeyedPrf, VllmPhilox.name: VllmPhilox}
#: Those without settings; the default first.
PRF_NAMES = tuple(_FUNCTIONS)
_CONFIGURED: dict[str, Callable[[str], Any]] = {}
#: Of every keyword a name that can be read.
_EXAMPLES: dict[str, str] = {}
_WATERMARKS: dict[str, Callable[[Any], str]] = {}
_USUAL_WATERMARK = "gumbel"


def register_prf(
    keyword: str, example: str = "", watermark: Callable[[Any], str] | None = None
) -> Callable[[_Read], _Read]:
    """Decorator of the function that reads what follows "keyword:" in a name, "" where nothing does, and
    gives what `prf_type` gives.

    Args:
        keyword: what names begin with.
        example: a name that can be read, for messages; the keyword if left out.
        watermark: as `watermark_of`, of a key or None; None if that of all others is meant.

    Raises:
        ValueError: for a keyword that is taken.
    """

    def register(read: _Read) -> _Read:
        if keyword in _FUNCTIONS or keyword in _CONFIGURED:
            raise ValueError(f"keyword={keyword!r} is taken; choose another")
        _CONFIGURED[keyword] = read
        _EXAMPLES[keyword] = example or keyword
        if watermark is not None:
            _WATERMARKS[keyword] = watermark
        return read

    return register


def keyword_of(name: str) -> str:
    """What stands before the settings in the name of a function."""
    return name.partition(":")[0]


def watermark_of(name: str, key: Any = None) -> str:
    """The watermark of texts of the function called `name` of which nobody says another.

    Args:
        name: one that `prf_type` knows.
        key: of its `key_type`, where that decides; None for what is usual.
    """
    found = _WATERMARKS.get(keyword_of(name))
    return _USUAL_WATERMARK if found is None else found(key)


def prf_type(name: str) -> Any:
    """What holds of the function called `name` whatever the key, and makes it of a key: a class, or an object
    for a name with settings ("hf-synthid:seed=7").

    It has the attributes `key_type` with `takes` (for messages), `name`, `supplies`, `streams`, `serves`,
    `pads_contexts` and `context_width` (the default), `check_decoder` (see `BasePrf.check_decoder`), and is
    called with a key and perhaps `context_width`.

    Raises:
        ValueError: for an unknown name, or settings with a fault.
    """
    keyword, colon, settings = name.partition(":")
    if keyword in _CONFIGURED:
        return _CONFIGURED[keyword](settings)
    if colon and keyword == VllmPhilox.name:
        return VllmPhilox.configured(settings)
    if colon and keyword in _FUNCTIONS:
        raise ValueError(f"prf={name!r} has settings, which {keyword} does not take; use {keyword}")
    if name not in _FUNCTIONS:
        raise ValueError(f"prf={name!r} is unknown; use one of {', '.join(_known_names())}")
    return _FUNCTIONS[name]


def reader_of(name: str) -> str:
    """The name of the function that a detector reads texts of the function `name` with: that without the
    settings that generation alone follows, so that what is read alike is one test.

    Raises:
        ValueError: as `prf_type`.
    """
    function = prf_type(name)
    is_vllm = isinstance(function, type) and issubclass(function, VllmPhilox)
    return str(function.reader if is_vllm else function.name)


def _known_names() -> list[str]:
    return [*PRF_NAMES, *_EXAMPLES.values()]


def parse_prf(name: str, key: Any, context_width: int | None = None) -> Prf:
    """The function called `name`, with its default context width unless one is given.

    Args:
        name: one that `prf_type` knows.
        key: of its `key_type`: a Key for the default function, an integer below 2^64 for vLLM's.
        context_width: 1 to 64, or None.

    Raises:
        ValueError: for an unknown name, a key of the wrong kind, or a bad width.
    """
    function = prf_type(name)
    kinds = (Key, int, np.integer, *(prf_type(other).key_type for other in _EXAMPLES.values()))
    if not isinstance(key, kinds) or isinstance(key, bool):
        raise ValueError(f"key is {type(key).__name__}; pass a Key, as from Key.new() or Key.read(file)")
    kind = int if isinstance(key, int | np.integer) else type(key)
    if kind is not function.key_type:
        told = {Key: "a key of secret bytes", int: "an integer"}.get(kind, kind.__name__)
        others = [n for n in _known_names() if prf_type(n).key_type is kind]
        raise ValueError(
            f"{name} takes {function.takes}, not {told}; give that, or use {' or '.join(others)} "
            "(`tradeoff key new` makes keys of secret bytes)"
        )
    width = {} if context_width is None else {"context_width": context_width}
    made: Prf = function(key, **width)
    return made
