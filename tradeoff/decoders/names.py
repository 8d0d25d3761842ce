"""Decoders by the names that commands, presets and records use."""

from __future__ import annotations

import math

from tradeoff.decoders.base import Decoder
from tradeoff.decoders.completed import Completed
from tradeoff.decoders.gumbel import GumbelMax
from tradeoff.decoders.identity import Identity
from tradeoff.decoders.synthid import SynthID
from tradeoff.decoders.transport import Transport
from tradeoff.scores import RandomScores, SimplexScores
from tradeoff.transport import Exact, Sinkhorn

__all__ = ["WATERMARKS", "decoder_name", "parse_decoder"]

#: What `parse_decoder` reads, for error messages and help.
WATERMARKS = (
    "gumbel, synthid:M with M >= 1, synthid:inf, simplexwater[:R], heavywater[:LAW] (lognormal, gamma), "
    "completed:NAME"
)
_COMPLETED = "completed:"
_TRANSPORT = Transport(RandomScores())


def parse_decoder(text: str) -> Decoder:
    """ "gumbel", "synthid:30", "synthid:inf", "heavywater", "completed:simplexwater:8", "none" -> a decoder.

    Names of transport watermarks may go on with settings: "heavywater:gamma,k=256,sinkhorn=0.05,head=20",
    "simplexwater:10,tilt=2".

    Raises:
        ValueError: for anything else.
    """
    name = text.lower()
    if name.startswith(_COMPLETED):
        inner = parse_decoder(name.removeprefix(_COMPLETED))
        try:
            return Completed(inner)
        except ValueError as error:
            raise ValueError(f"decoder={text!r} cannot be read: {error}") from error
    kind, _, argument = name.partition(":")
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
    if kind in ("simplexwater", "heavywater"):
        return _transport(text, kind, argument)
    raise ValueError(f"decoder={text!r} is unknown; use {WATERMARKS} or none")


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
    if isinstance(decoder, Completed):
        return _COMPLETED + decoder_name(decoder.decoder)
    if isinstance(decoder, Transport) and decoder.seed == 0:
        if isinstance(decoder.scores, SimplexScores) and decoder.scores.q == 2:
            return f"simplexwater:{decoder.scores.r}" + _settings(decoder)
        if isinstance(decoder.scores, RandomScores):
            k = "" if decoder.scores.k == RandomScores().k else f",k={decoder.scores.k}"
            return f"heavywater:{decoder.scores.law}{k}" + _settings(decoder)
    raise ValueError(f"decoder={decoder.name!r} has no name on the command line")


def _transport(text: str, kind: str, argument: str) -> Transport:
    main, *rest = argument.split(",")
    settings = {key: value for key, _, value in (item.partition("=") for item in rest)}
    try:
        solver = Sinkhorn(float(settings.pop("sinkhorn"))) if "sinkhorn" in settings else Exact()
        head, tilt = int(settings.pop("head", _TRANSPORT.head)), float(settings.pop("tilt", 0))
        if kind == "simplexwater":
            scores: SimplexScores | RandomScores = SimplexScores(int(main or 10))
        else:
            scores = RandomScores(main or RandomScores().law, int(settings.pop("k", RandomScores().k)))
        decoder = Transport(scores, solver, head, tilt)
    except ValueError as error:
        raise ValueError(f"decoder={text!r} cannot be read: {error}") from error
    if settings:
        raise ValueError(
            f"decoder={text!r} has the unknown setting {next(iter(settings))!r}; {kind} knows "
            + ("" if kind == "simplexwater" else "k, ")
            + "sinkhorn, head and tilt"
        )
    return decoder


def _settings(decoder: Transport) -> str:
    """What differs from the usual."""
    parts = []
    if isinstance(decoder.solver, Sinkhorn):
        parts.append(f"sinkhorn={decoder.solver.regularisation:g}")
    if decoder.head != _TRANSPORT.head:
        parts.append(f"head={decoder.head}")
    if decoder.tilt:
        parts.append(f"tilt={decoder.tilt:g}")
    return "".join(f",{part}" for part in parts)
