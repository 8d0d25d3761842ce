"""How a text is watermarked: what its generator and its detector must agree on beside the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tradeoff.decoders import Decoder, decoder_name, parse_decoder
from tradeoff.kernels import (
    JOINT,
    METHODS,
    Coin,
    Detection,
    Method,
    Standard,
    make_method,
    method_type,
)
from tradeoff.keyed import (
    PRF_NAMES,
    AnyKey,
    Kind,
    Prf,
    TokensOnce,
    check_supplied,
    check_width,
    parse_prf,
    prf_type,
    reader_of,
    watermark_of,
)

if TYPE_CHECKING:
    from tradeoff.detection import Bets, Detector

__all__ = ["CONTEXT_WIDTH", "Scheme", "Sight", "read_watermark"]

#: Tokens before a position that seed it, with the default function, unless one says otherwise: the name of
#: 0.1 for what `prf_type` tells of every function.
CONTEXT_WIDTH: int = prf_type(PRF_NAMES[0]).context_width
#: Of the keys of `Scheme.to_dict`.
_KINDS: dict[str, type] = {
    "method": str,
    "watermark": str,
    "width": int,
    "alpha": float,
    "prf": str,
    "context_width": int,
}
#: Detectors remembered: their null laws take time, and texts share them.
_REMEMBERED = 64


class Sight(StrEnum):
    """How much the detector of one scheme sees of a text of another."""

    WHOLE = "whole"
    PART = "part"
    NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True, repr=False)
class Scheme:
    """A method with its watermark, a pseudorandom function, and how many tokens seed a position.

    Everything that a detector must know beside the key; never the key itself. `Scheme.of` takes names.

    Args:
        method: kernel and watermark.
        prf: name of the pseudorandom function (`tradeoff.keyed.prf_type`); settings are spelled in one way.
        context_width: tokens before a position that seed it, 1 to 64.

    Raises:
        ValueError: for an unknown function, a width out of range, or numbers that the function does not have.
    """

    method: Method
    prf: str
    context_width: int

    def __post_init__(self) -> None:
        function = prf_type(self.prf)
        object.__setattr__(self, "prf", function.name)
        check_width(self.context_width)
        if self.marks:
            coin = {Kind.COIN} if self.method.detection.coin is Coin.KEYED else set()
            check_supplied(function, self.method.decoder.needs | coin, self.method.detection.streams)
            function.check_decoder(self.method.decoder)
        # Records and detectors tell functions apart by names, of which settings may have several.
        object.__setattr__(self, "prf", function.name)

    @classmethod
    def of(
        cls,
        method: str | Method | None = None,
        watermark: str | Decoder | None = None,
        *,
        width: int | None = None,
        alpha: float | None = None,
        prf: str | None = None,
        context_width: int | None = None,
    ) -> Scheme:
        """A scheme from names.

        Args:
            method: a key of `METHODS`, a method as it is, or `joint`, which is meant if it is left out: the
                method whose text a detector reads best (`tradeoff.kernels.joint_name`).
            watermark: a name that `parse_decoder` reads, or a decoder; if left out that of the function,
                gumbel as a rule and synthid:30 of hf-synthid, and none for the method standard.
            width: candidates a level of a tree; 2 if left out.
            alpha: weight of the second of two keys of Gumbel-max, above 0 and below 1. If left out, 0.1 for
                dual-key, which draws with it; others weigh both keys alike.
            prf: one of PRF_NAMES, or a name with settings such as hf-synthid; the first if left out.
            context_width: 1 to 64; the default of the function if left out: 2, and 4 of vLLM's.

        Raises:
            ValueError: for names that are unknown, or do not fit each other.
        """
        if isinstance(method, Method):
            if watermark is not None or width is not None or alpha is not None:
                raise ValueError(
                    f"method={method.name!r} holds its watermark, width and alpha already; leave these out"
                )
        else:
            usual = watermark_of(PRF_NAMES[0] if prf is None else prf)
            method = _carrying(method, watermark, width, alpha, usual)
        if prf is None:
            prf = PRF_NAMES[0]
        if context_width is None:
            context_width = prf_type(prf).context_width
        return cls(method=method, prf=prf, context_width=context_width)

    @property
    def marks(self) -> bool:
        """Whether the key leaves anything in the text."""
        return self.method.decoder.marks

    @property
    def watermark(self) -> str:
        """The name of the watermark, as `parse_decoder` reads it; of one that names cannot tell, its display
        name."""
        try:
            return decoder_name(self.method.decoder)
        except ValueError:
            return self.method.decoder.name

    @property
    def label(self) -> str:
        """ "joint-race with Gumbel-max", for people."""
        if not self.marks:
            return f"{self.method.name} without a watermark"
        weighed = "" if self.method.alpha is None else f", alpha {self.method.alpha:g}"
        return f"{self.method.name} with {self.method.decoder.name}{weighed}"

    @property
    def warm_up(self) -> int:
        """How many tokens at the start of a text never count."""
        every = prf_type(self.prf).pads_contexts or self.method.decoder.by_token
        return 0 if every else self.context_width

    def function(self, key: AnyKey) -> Prf:
        """The pseudorandom function under a key.

        Raises:
            ValueError: for a key of the wrong kind, or depth keys that are not as many as the tournament has
                rounds.
        """
        function = parse_prf(self.prf, key, self.context_width)
        rounds = self.method.decoder.tournament
        if self.marks and function.rounds is not None and rounds != function.rounds:
            raise ValueError(
                f"watermark={self.watermark!r} plays {rounds or 'no fixed number of'} rounds, and {self.prf} "
                f"needs a depth key for each; there are {function.rounds}: name synthid:{function.rounds}, "
                "or give as many keys as there are rounds"
            )
        return function

    def reading_function(self, key: AnyKey) -> Prf:
        """The function that its texts are read with: that without what generation alone follows.

        Raises:
            ValueError: as `function`.
        """
        return replace(self, prf=reader_of(self.prf)).function(key)

    def reads(self, function: Prf) -> Prf:
        """What detection makes `Evidence` of: the function of a key, whose tokens count once each where the
        watermark is of tokens alone (`Decoder.by_token`)."""
        return TokensOnce(function) if self.method.decoder.by_token else function

    def detector(self) -> Detector:
        """The untrained detector of its texts, with an exact null law.

        Raises:
            ValueError: for a scheme that leaves nothing to detect.
        """
        return _detector(self.method, self.prf)

    def bets(self) -> Bets:
        """The bets of sequential detection of its texts.

        Raises:
            ValueError: as `detector`.
        """
        return _bets(self.method, self.prf)

    def sees(self, other: Scheme) -> Sight:
        """How much its detector sees of a text of another scheme, under the same key."""
        mine, theirs = ((reader_of(one.prf), one.context_width) for one in (self, other))
        same_numbers = mine == theirs
        streams = self.sees_streams(other.method.detection)
        if not (same_numbers and self.marks and other.marks) or streams is Sight.NOTHING:
            return Sight.NOTHING
        found = self.sees_watermark(other.method.decoder)
        return streams if found is Sight.WHOLE else found

    def sees_streams(self, other: Detection) -> Sight:
        """The same of the streams that drew tokens alone."""
        mine, theirs = self.method.detection.streams, other.streams
        if mine == theirs:
            return Sight.WHOLE
        return Sight.NOTHING if mine.isdisjoint(theirs) else Sight.PART

    def sees_watermark(self, other: Decoder) -> Sight:
        """The same of a watermark alone, whichever streams drew tokens."""
        mine = self.method.decoder
        if mine == other or _read_alike(mine, other):
            return Sight.WHOLE
        return Sight.NOTHING if mine.traces.isdisjoint(other.traces) else Sight.PART

    def __repr__(self) -> str:
        return f"<Scheme: {self.label}, {self.prf}, context width {self.context_width}>"

    def to_dict(self) -> dict[str, Any]:
        """Names and numbers that `of_dict` reads, as they stand in records: method, watermark, width, prf and
        context_width, the last two None without a watermark; and alpha where there is one.

        Raises:
            ValueError: for a watermark that names cannot tell.
        """
        alpha = self.method.alpha
        return {
            "method": self.method.name,
            "watermark": decoder_name(self.method.decoder),
            "width": self.method.width,
            **({} if alpha is None else {"alpha": alpha}),
            "prf": self.prf if self.marks else None,
            "context_width": self.context_width if self.marks else None,
        }

    @classmethod
    def of_dict(cls, settings: Mapping[str, Any]) -> Scheme:
        """The scheme of a record's run, or of anything else that has these keys; others are passed over.

        Raises:
            ValueError: for a method or watermark that is missing, or as `of`.
        """
        told = {name: settings.get(name) for name in _KINDS}
        for name, value in told.items():
            if value is None and name in ("method", "watermark"):
                raise ValueError(f"{name} is missing; name it, as in {cls.of().to_dict()}")
            if value is not None and type(value) is not _KINDS[name]:
                raise ValueError(
                    f"{name}={value!r} is no {_KINDS[name].__name__}; repair it, or leave it out"
                )
        return cls.of(told.pop("method"), told.pop("watermark"), **told)


def read_watermark(watermark: str) -> Decoder:
    """`parse_decoder`, whose errors name the watermark."""
    try:
        return parse_decoder(watermark)
    except ValueError as error:
        told = str(error).removeprefix("decoder=").replace(" or none", "", 1)
        raise ValueError(f"watermark={told}") from None


def _carrying(
    name: str | None,
    watermark: str | Decoder | None,
    width: int | None,
    alpha: float | None,
    usual: str,
) -> Method:
    """The method of that name, `joint` if None, with a watermark that it can carry, `usual` if None."""
    taken = JOINT if name is None else name
    if watermark is None:
        watermark = "none" if taken == Standard.name else usual
    decoder = read_watermark(watermark) if isinstance(watermark, str) else watermark
    if taken == JOINT:
        return make_method(JOINT, decoder, width, alpha)
    kind = method_type(taken)
    if decoder.marks and kind is not Standard and not kind.carries(decoder):
        others = [n for n, other in METHODS.items() if other.carries(decoder)]
        shown = repr(watermark) if isinstance(watermark, str) else repr(decoder.name)
        raise ValueError(
            f"watermark={shown} does not fit: method {taken} carries {kind.carried}; pass a method that "
            f"carries it (of a text, the one that generated it): {', '.join([JOINT, *others])}"
        )
    return make_method(taken, decoder, width, alpha)


def _read_alike(first: Decoder, second: Decoder) -> bool:
    """Whether the two have the same detector; of watermarks without one nobody knows."""
    try:
        return _detector(make_method("basic", first), None) == _detector(make_method("basic", second), None)
    except ValueError:
        return False


@lru_cache(maxsize=_REMEMBERED)
def _detector(method: Method, prf: str | None) -> Detector:
    # Reading laws takes time, and generating needs none of them.
    from tradeoff.detection import default_detector

    return default_detector(method, prf)


@lru_cache(maxsize=_REMEMBERED)
def _bets(method: Method, prf: str) -> Bets:
    from tradeoff.detection import default_bets

    return default_bets(method, prf)
