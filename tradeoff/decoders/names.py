"""Decoders by the names that commands, presets and records use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from tradeoff.decoders.base import Decoder
from tradeoff.decoders.completed import Completed
from tradeoff.decoders.gumbel import GumbelMax
from tradeoff.decoders.identity import Identity
from tradeoff.decoders.synthid import SynthID
from tradeoff.decoders.transport import Transport
from tradeoff.scores import RandomScores, SimplexScores
from tradeoff.transport import Exact, Sinkhorn, Solver

__all__ = ["WATERMARKS", "decoder_name", "parse_decoder"]

#: What `parse_decoder` reads, for error messages and help.
WATERMARKS = (
    "gumbel, synthid:M with M >= 1, synthid:inf, simplexwater[:R], heavywater[:LAW] (lognormal, gamma), "
    "the last two with settings k, head, sinkhorn or tilt (heavywater:gamma,k=256), completed:NAME"
)
_COMPLETED = "completed:"
_TRANSPORT = Transport(RandomScores())
#: Numbers in names of transport watermarks, with values to go by.
_EXAMPLES = {"R": "10", "k": "1024", "sinkhorn": "0.05", "head": "50", "tilt": "1.5"}
_Number = TypeVar("_Number", int, float)


def parse_decoder(text: str) -> Decoder:
    """ "gumbel", "synthid:30", "synthid:inf", "heavywater", "completed:simplexwater:8", "none" -> a decoder.

    Names of transport watermarks may go on with settings: "heavywater:gamma,k=256,sinkhorn=0.05,head=20",
    "simplexwater:10,tilt=2".

    Raises:
        ValueError: for anything else.
    """
    name = text.lower()
    try:
        decoder = _read(name)
    except ValueError as error:
        raise ValueError(f"decoder={text!r} cannot be read: {error}") from error
    if decoder is None:
        raise ValueError(f"decoder={text!r} is unknown; use {WATERMARKS} or none")
    return decoder


def _read(name: str) -> Decoder | None:
    """None for a name that is unknown."""
    if name.startswith(_COMPLETED):
        inner = _read(name.removeprefix(_COMPLETED))
        if isinstance(inner, Identity):
            raise ValueError("there is no watermark to complete; use gumbel")
        return None if inner is None else Completed(inner)
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
        return _transport(kind, argument)
    if kind.startswith(("simplexwater,", "heavywater,")):
        family, _, rest = name.partition(",")
        example = "simplexwater:10" if family == "simplexwater" else "heavywater:lognormal"
        raise ValueError(f"settings follow a colon and a main argument: {example},{rest}")
    return None


def decoder_name(decoder: Decoder) -> str:
    """The name that `parse_decoder` reads.

    Raises:
        ValueError: for a decoder that has none, as names tell neither seeds nor when a solver stops.
    """
    if isinstance(decoder, GumbelMax):
        return "gumbel"
    if isinstance(decoder, Identity):
        return "none"
    if isinstance(decoder, SynthID):
        return f"synthid:{decoder.rounds}"
    if isinstance(decoder, Completed):
        return _COMPLETED + decoder_name(decoder.decoder)
    if isinstance(decoder, Transport) and decoder.seed == 0 and _usual(decoder.solver):
        if isinstance(decoder.scores, SimplexScores) and decoder.scores.q == 2:
            return f"simplexwater:{decoder.scores.r}" + _settings(decoder)
        if isinstance(decoder.scores, RandomScores):
            k = "" if decoder.scores.k == RandomScores().k else f",k={decoder.scores.k}"
            return f"heavywater:{decoder.scores.law}{k}" + _settings(decoder)
    raise ValueError(f"decoder={decoder.name!r} has no name on the command line")


def _transport(kind: str, argument: str) -> Transport:
    main, *items = argument.split(",")
    settings = _split(kind, items)
    head, tilt = _number("head", settings, int), _number("tilt", settings, float)
    sinkhorn = _number("sinkhorn", settings, float)
    if kind == "simplexwater":
        scores: SimplexScores | RandomScores = SimplexScores(_convert("R", main, int) if main else 10)
    else:
        k = _number("k", settings, int)
        scores = RandomScores(main or RandomScores().law, RandomScores().k if k is None else k)
    return Transport(
        scores,
        Exact() if sinkhorn is None else Sinkhorn(sinkhorn),
        _TRANSPORT.head if head is None else head,
        tilt or 0.0,
    )


def _split(kind: str, items: list[str]) -> dict[str, str]:
    """ "k=256" and so on by name."""
    known = [name for name in _EXAMPLES if name not in ("R", "k") or (name == "k" and kind == "heavywater")]
    settings: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if name not in known:
            *most, last = known
            raise ValueError(f"unknown setting {name!r}; {kind} knows {', '.join(most)} and {last}")
        if not equals:
            raise ValueError(f"the setting {name!r} has no value; write {name}={_EXAMPLES[name]}")
        if name in settings:
            raise ValueError(
                f"the setting {name} comes twice, {settings[name]} and {value}; keep one of them"
            )
        settings[name] = value
    return settings


def _number(name: str, settings: dict[str, str], kind: Callable[[str], _Number]) -> _Number | None:
    return _convert(name, settings[name], kind) if name in settings else None


def _convert(name: str, value: str, kind: Callable[[str], _Number]) -> _Number:
    try:
        return kind(value)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise ValueError(f"{name}={value!r} must be a {what}, as {_EXAMPLES[name]}") from None


def _usual(solver: Solver) -> bool:
    """Whether a name tells all of the solver."""
    if isinstance(solver, Sinkhorn):
        return solver == Sinkhorn(solver.regularisation)
    return isinstance(solver, Exact)


def _settings(decoder: Transport) -> str:
    """What differs from the usual."""
    parts = []
    if isinstance(decoder.solver, Sinkhorn):
        parts.append(f"sinkhorn={_written(decoder.solver.regularisation)}")
    if decoder.head != _TRANSPORT.head:
        parts.append(f"head={decoder.head}")
    if decoder.tilt:
        parts.append(f"tilt={_written(decoder.tilt)}")
    return "".join(f",{part}" for part in parts)


def _written(number: float) -> str:
    """All digits, and no ".0"."""
    return repr(float(number)).removesuffix(".0")
