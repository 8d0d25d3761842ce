"""The detectors that need nothing but a key, for every method: each watermark registers its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import TYPE_CHECKING, TypeVar

from tradeoff.decoders import Decoder
from tradeoff.extensions import load_extensions
from tradeoff.keyed import Stream, keyword_of

if TYPE_CHECKING:
    from tradeoff.detection.bets.stream_bets import Bets
    from tradeoff.detection.detector import Detector
    from tradeoff.kernels import Method

__all__ = [
    "bets_of",
    "default_bets",
    "default_detector",
    "detector_called",
    "detector_of",
    "register_detector",
    "register_format",
]

_Make = TypeVar("_Make", bound="Callable[[Method], Detector]")
_OfFormat = TypeVar("_OfFormat", bound="Callable[[Method, str], Detector]")


@singledispatch
def detector_of(decoder: Decoder, streams: tuple[Stream, ...]) -> Detector:
    """The untrained detector of a watermark: register that of your own with the type of its decoder.

    Args:
        decoder: the watermark.
        streams: those that drew tokens, one or more.

    Raises:
        ValueError: for a decoder whose type none is registered with.
    """
    raise ValueError(
        f"decoder={decoder.name!r} has no untrained detector; import the module that registers one "
        "(tradeoff.detection.detector_of), or pass a detector"
    )


@singledispatch
def bets_of(decoder: Decoder, streams: tuple[Stream, ...], coin: bool) -> Bets:
    """The bets of sequential detection: register those on your own watermark with the type of its decoder.

    Args:
        decoder: the watermark.
        streams: those that drew tokens, one or two.
        coin: with two streams, whether the coin is keyed.

    Raises:
        ValueError: for a decoder whose type none are registered with.
    """
    raise ValueError(
        f"decoder={decoder.name!r} has no bets; import the module that registers some "
        "(tradeoff.detection.bets_of)"
    )


_CALLED: dict[str, Callable[[Method], Detector]] = {}


def register_detector(name: str) -> Callable[[_Make], _Make]:
    """Decorator of a function that makes a detector for a method: `tradeoff detect --detector NAME`, and
    `detector=` of `tradeoff.detect`.

    Raises:
        ValueError: for a name that is taken, or looks like a file.
    """
    if not name or set(name) & set("./\\"):
        raise ValueError(f"name={name!r} must not be empty or look like a file; use letters and hyphens")

    def register(make: _Make) -> _Make:
        if name in _CALLED:
            raise ValueError(f"name={name!r} is taken; choose another")
        _CALLED[name] = make
        return make

    return register


def detector_called(name: str) -> Callable[[Method], Detector]:
    """What makes the detector of that name, for a method.

    Raises:
        ValueError: for a name that none was registered with.
    """
    failed = "" if name in _CALLED else load_extensions()
    if name not in _CALLED:
        known = f"use one of {', '.join(_CALLED)}" if _CALLED else "no extension registers one"
        raise ValueError(
            f"detector={name!r} is unknown: {known}, pass the file of a fitted one, or leave it out{failed}"
        )
    return _CALLED[name]


_FORMATS: dict[str, Callable[[Method, str], Detector]] = {}


def register_format(keyword: str) -> Callable[[_OfFormat], _OfFormat]:
    """Decorator of a function (method, name of the function) -> detector: that of texts of a pseudorandom
    function whose numbers do not have the laws that other detectors go by.

    Args:
        keyword: of the function's names, `tradeoff.keyed.prf_type`.
    """

    def register(make: _OfFormat) -> _OfFormat:
        _FORMATS[keyword] = make
        return make

    return register


def default_detector(method: Method, prf: str | None = None) -> Detector:
    """The untrained detector of a method's text: no fitting, no coin, an exact null law.

    Args:
        method: as generation used it; its decoder and the streams that drew tokens decide.
        prf: name of the pseudorandom function, where that has a detector of its own.

    Returns:
        Aaronson's test (Gumbel-max, one stream), the sum of both keys (Gumbel-max, two streams), weighed if
        the method has an alpha, weighted tournament bits (SynthID), the sum of scores (SimplexWater), the
        likelihood ratio of ranks (HeavyWater), of late tokens (DiPmark) or of near uniforms (inverse
        transform), green tokens (KGW), each counted once (Unigram), the own statistic and that of the race
        (completed watermarks), or what another package registered with `detector_of`. The solver of a
        transport matters to completed ones alone, and head and tilt to none.

    Raises:
        ValueError: for a method without a watermark, or a decoder that no such detector reads.
    """
    streams = _streams(method)
    if prf is not None and (own := _FORMATS.get(keyword_of(prf))) is not None:
        return own(method, prf)
    if method.alpha is None:
        return detector_of(method.decoder, streams)
    from tradeoff.detection.fixed.gumbel import WeightedSumOfKeys

    return WeightedSumOfKeys(method.alpha)


def default_bets(method: Method, prf: str | None = None) -> Bets:
    """The bets of sequential detection of a method's text (`tradeoff.detection.sequential`).

    Args:
        method: as generation used it; its decoder, the streams that drew tokens and the coin decide.
        prf: name of the pseudorandom function.

    Raises:
        ValueError: as `default_detector`, and for a function whose numbers no bets are fair on.
    """
    streams = _streams(method)
    if prf is not None and keyword_of(prf) in _FORMATS:
        raise ValueError(
            f"prf={prf!r} has numbers that depend on each other from token to token, so that no bets on them "
            "are known to be fair; leave sequential out"
        )
    return bets_of(method.decoder, streams, len(streams) > 1 and method.detection.coin == "keyed")


def _streams(method: Method) -> tuple[Stream, ...]:
    """Those that drew tokens, in their order."""
    streams = tuple(stream for stream in Stream if stream in method.detection.streams)
    if not streams or not method.decoder.marks:
        raise ValueError(
            f"method={method.name!r} with {method.decoder.name} leaves no watermark to detect; name the "
            "method and the watermark to look for, such as joint and gumbel"
        )
    return streams
