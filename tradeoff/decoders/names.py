"""Decoders by the names that commands, presets and records use."""

from __future__ import annotations

import math

from tradeoff.decoders.base import Decoder
from tradeoff.decoders.gumbel import GumbelMax
from tradeoff.decoders.identity import Identity
from tradeoff.decoders.synthid import SynthID

__all__ = ["decoder_name", "parse_decoder"]


def parse_decoder(text: str) -> Decoder:
    """ "gumbel", "synthid:30", "synthid:inf", "none" -> a decoder.

    Raises:
        ValueError: for anything else.
    """
    kind, _, argument = text.lower().partition(":")
    if kind == "gumbel" and not argument:
        return GumbelMax()
    if kind == "none" and not argument:
        return Identity()
    if kind == "synthid":
        try:
            rounds = math.inf if argument in ("inf", "infinity") else int(argument or 30)
        except ValueError:
            rounds = 0
        if rounds >= 1:
            return SynthID(rounds)
    raise ValueError(f"decoder={text!r} is unknown; use gumbel, synthid:M with M >= 1, synthid:inf or none")


def decoder_name(decoder: Decoder) -> str:
    """The name that `parse_decoder` reads.

    Raises:
        ValueError: for a decoder that has none.
    """
    if isinstance(decoder, GumbelMax):
        return "gumbel"
    if isinstance(decoder, Identity):
        return "none"
    if isinstance(decoder, SynthID):
        return f"synthid:{decoder.rounds}"
    raise ValueError(f"decoder={decoder.name!r} has no name on the command line")
