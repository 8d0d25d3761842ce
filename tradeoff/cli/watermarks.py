"""Watermarks that commands write or look for, methods that carry them, and what they have in common."""

from __future__ import annotations

from tradeoff.decoders import Completed, Decoder, GumbelMax, Identity, Transport, parse_decoder
from tradeoff.kernels import METHODS, Method, OneRace, SingleKey, Standard, make_method

__all__ = ["carrying_method", "prospect", "read_watermark", "seen_by"]


def read_watermark(watermark: str) -> Decoder:
    """`parse_decoder`, whose errors name the option."""
    try:
        return parse_decoder(watermark)
    except ValueError as error:
        told = str(error).removeprefix("decoder=").removesuffix(" or none")
        raise ValueError(f"watermark={told}") from None


def carrying_method(
    name: str | None,
    watermark: str,
    width: int | None = None,
    other: str = "the --method that generated the text",
) -> Method:
    """The method of that name, one-race if None, and width.

    Raises:
        ValueError: if it cannot carry the watermark; `other` says which method to pass instead.
    """
    decoder = read_watermark(watermark)
    taken = OneRace.name if name is None else name
    if not isinstance(decoder, GumbelMax | Identity) and issubclass(METHODS.get(taken, Method), SingleKey):
        others = [n for n, kind in METHODS.items() if not issubclass(kind, SingleKey) and n != Standard.name]
        why = ", which is assumed where none is named, carries" if name is None else " carries"
        remedy = "also pass" if name is None else "pass"
        raise ValueError(
            f"watermark={watermark!r} does not fit: method {taken}{why} gumbel only; {remedy} {other}: "
            + ", ".join(others)
        )
    return make_method(taken, decoder, width)


def seen_by(read: Decoder, told: Decoder) -> bool:
    """Whether the detector of `read` sees something of the watermark `told`."""
    if isinstance(told, Completed) and isinstance(read, GumbelMax):
        return True
    inner, looked_for = (d.decoder if isinstance(d, Completed) else d for d in (told, read))
    if isinstance(inner, Transport) and isinstance(looked_for, Transport):
        return inner.scores == looked_for.scores
    return type(inner) is type(looked_for)


def prospect(in_part: bool) -> str:
    """What becomes of texts of another watermark than is looked for."""
    if in_part:
        return "their watermark is read in part, and harder to find this way"
    return "their watermark cannot be found this way"
