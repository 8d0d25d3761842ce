"""Watermarks that commands write or look for, methods that carry them, and what they have in common."""

from __future__ import annotations

import math

from tradeoff.decoders import (
    Completed,
    Decoder,
    GumbelMax,
    Identity,
    SynthID,
    Transport,
    decoder_name,
    parse_decoder,
)
from tradeoff.kernels import METHODS, Method, OneRace, SingleKey, Standard, make_method

__all__ = ["NamedWatermarks", "carrying_method", "prospect", "read_watermark", "seen_by"]

#: What a watermark that a record names may have at most: values of side information, of which the authors of
#: HeavyWater use 1,024 and SimplexWater of R = 10 has 1,023, and rounds of a tournament, which few go on for.
_MOST_VALUES, _MOST_ROUNDS = 1024, 256
#: How many watermarks the records of one command may name.
_MOST_NAMED = 16


class NamedWatermarks:
    """Watermarks that records name: few, and none that takes long to read, as anybody may write records."""

    def __init__(self) -> None:
        self._seen: set[Decoder] = set()

    def check(self, watermark: str) -> None:
        """Before anything is computed of a watermark that a record names.

        Raises:
            ValueError: for one that cannot be read, takes too long, or is one too many.
        """
        decoder = read_watermark(watermark)
        inner = decoder.decoder if isinstance(decoder, Completed) else decoder
        # As it is spelled here: what stands in a record may be meant for the shell.
        name = decoder_name(decoder)
        remedy = f"pass --watermark {name} to look for it all the same"
        if isinstance(inner, Transport) and inner.values > _MOST_VALUES:
            raise ValueError(
                f"watermark={name!r} has {inner.values} values of side information, and a record may "
                f"name {_MOST_VALUES} at most; {remedy}"
            )
        if isinstance(inner, SynthID) and _MOST_ROUNDS < inner.rounds < math.inf:
            raise ValueError(
                f"watermark={name!r} has {inner.rounds} rounds, and a record may name {_MOST_ROUNDS} at "
                f"most; {remedy}"
            )
        if decoder not in self._seen and len(self._seen) == _MOST_NAMED:
            raise ValueError(
                f"watermark={name!r} is one more than the {_MOST_NAMED} that records may name; {remedy}"
            )
        self._seen.add(decoder)


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
