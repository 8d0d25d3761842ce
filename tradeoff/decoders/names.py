"""Watermarks by the names that commands, presets and records use: "synthid:30", a keyword and an argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tradeoff.decoders.base import Decoder
from tradeoff.extensions import load_extensions

__all__ = ["decoder_name", "parse_decoder", "read_name", "register_watermark", "watermarks"]

_Read = TypeVar("_Read", bound=Callable[[str], Decoder | None])


@dataclass(frozen=True)
class _Family:
    """Watermarks of one keyword: what may be written, and how the argument is read."""

    usage: str
    example: str
    read: Callable[[str], Decoder | None]


_FAMILIES: dict[str, _Family] = {}


def register_watermark(keyword: str, usage: str = "", example: str | None = None) -> Callable[[_Read], _Read]:
    """Decorator of the function that reads what follows "keyword:" in a name, in lower case; "" where nothing
    does.

    The function returns None for what is no name, and raises ValueError for a name with a fault, which it
    explains. `Decoder.spelling` is its inverse.

    Args:
        keyword: lower-case letters, digits and hyphens.
        usage: for help and error messages; left out of them if empty.
        example: a name, where settings may follow an argument; the keyword alone if left out.

    Raises:
        ValueError: for a keyword that is taken or cannot be one.
    """
    if not keyword or not set(keyword) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
        raise ValueError(f"keyword={keyword!r} must be lower-case letters, digits and hyphens, as in synthid")

    def register(read: _Read) -> _Read:
        if keyword in _FAMILIES:
            raise ValueError(f"keyword={keyword!r} is taken; choose another")
        _FAMILIES[keyword] = _Family(usage, example or keyword, read)
        return read

    return register


def watermarks() -> str:
    """What `parse_decoder` reads, for error messages and help."""
    return ", ".join(family.usage for family in _FAMILIES.values() if family.usage)


def parse_decoder(text: str) -> Decoder:
    """ "gumbel", "synthid:30", "synthid:inf", "heavywater", "completed:simplexwater:8", "none" -> a decoder.

    Names of transport watermarks may go on with settings: "heavywater:gamma,k=256,sinkhorn=0.05,head=20",
    "simplexwater:10,tilt=2".

    Raises:
        ValueError: for anything else.
    """
    try:
        decoder = read_name(text.lower())
    except ValueError as error:
        raise ValueError(f"decoder={text!r} cannot be read: {error}") from error
    if decoder is None:
        raise ValueError(f"decoder={text!r} is unknown; use {watermarks()} or none{load_extensions()}")
    return decoder


def read_name(name: str) -> Decoder | None:
    """The decoder of a name in lower case; None for a name that is unknown.

    Raises:
        ValueError: for a name with a fault.
    """
    keyword, _, argument = name.partition(":")
    if keyword not in _FAMILIES:
        load_extensions()
    if keyword in _FAMILIES:
        return _FAMILIES[keyword].read(argument)
    family, comma, settings = keyword.partition(",")
    if comma and family in _FAMILIES:
        example = _FAMILIES[family].example
        raise ValueError(f"settings follow a colon and a main argument: {example},{settings}")
    return None


def decoder_name(decoder: Decoder) -> str:
    """The name that `parse_decoder` reads.

    Raises:
        ValueError: for a decoder that has none, as names tell neither seeds nor when a solver stops.
    """
    return decoder.spelling
