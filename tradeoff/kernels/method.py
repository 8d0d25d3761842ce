"""What a method is: how it drafts, accepts and replaces, and what a detector must know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, NamedTuple, TypeVar

from tradeoff._arrays import Array, device_of, namespace, on_host
from tradeoff.decoders import Decoder, GumbelMax, is_degenerate
from tradeoff.extensions import load_extensions
from tradeoff.kernels.race_tree import TreeVerdict
from tradeoff.kernels.randomness import Randomness
from tradeoff.keyed import Stream
from tradeoff.laws import categorical, draft_acceptance, overlap, residual

__all__ = [
    "JOINT",
    "METHODS",
    "Coin",
    "Columns",
    "Detection",
    "Method",
    "OfRaces",
    "Settled",
    "Verdict",
    "check_alpha",
    "draw",
    "drawn",
    "drawn_from_residual",
    "joint_name",
    "keyed_coin",
    "make_method",
    "method_type",
    "random_coin",
    "random_draw",
    "random_residual",
    "register_method",
    "replacing",
]


#: The name that stands for the best method of a watermark.
JOINT = "joint"

_OfOne = Callable[["Method", Array, Randomness], Array]
_OfBoth = Callable[["Method", Array, Array, Array, Randomness], Array]


class Verdict(NamedTuple):
    """What became of a draft token: whether it was accepted, and the token that is emitted, each [...]."""

    accepted: Array
    token: Array


class Settled(NamedTuple):
    """Whether a draft token was accepted, [...], and what replaces it if not, [...], where that came out with
    the verdict; else None."""

    accepted: Array
    replacement: Array | None


class Coin(StrEnum):
    """What decides acceptance."""

    #: Nothing is drafted.
    NONE = "none"
    #: True randomness, which nobody can look up later.
    RANDOM = "random"
    #: The ACCEPTANCE stream.
    KEYED = "keyed"
    #: The race that drew the draft token.
    WINNING_TIME = "winning time"


@dataclass(frozen=True)
class Detection:
    """What a detector must know of a method: which pseudorandom stream drew a token.

    Attributes:
        drafted: stream of accepted draft tokens; None if there are none, or without a watermark.
        replaced: stream of the tokens that replace rejected ones; None likewise.
        bonus: stream of bonus tokens, and of all tokens without speculation; None likewise.
        coin: what decided acceptance.
        routed: another stream of tokens without speculation, to which true randomness routes some; None if
            there is none.
    """

    drafted: Stream | None
    replaced: Stream | None
    bonus: Stream | None
    coin: Coin
    routed: Stream | None = None

    @property
    def streams(self) -> frozenset[Stream]:
        """All streams that draw tokens."""
        drawn = (self.drafted, self.replaced, self.bonus, self.routed)
        return frozenset(s for s in drawn if s is not None)


def draw(decoder: Decoder, p: Array, stream: Stream, randomness: Randomness) -> Array:
    """A token of law S(P, zeta): its point mass if S is degenerate, else a truly random draw from it."""
    zeta = randomness.zeta(stream, decoder)
    if is_degenerate(decoder):
        return decoder.token(p, zeta)
    return categorical(decoder(p, zeta), randomness.uniform())


class Columns(NamedTuple):
    """A row of the table: what a method does, as four functions of the method and its batch.

    Attributes:
        draft: (method, q, randomness) -> the draft token [...].
        accept: (method, p, q, draft, randomness) -> whether it is accepted, [...] booleans.
        replace: (method, p, q, draft, randomness) -> what is emitted where it was rejected, [...].
        bonus: (method, p, randomness) -> the token where nothing was drafted or all was accepted, [...].
    """

    draft: _OfOne
    accept: _OfBoth
    replace: _OfBoth
    bonus: _OfOne


@dataclass(frozen=True)
class Method:
    """One way to combine a watermark with speculative sampling: abstract, a final class for every row.

    One of your own derives from it, names itself, its columns and its streams; with `register_method`
    commands and records know it by its name. No method derives from another: they share columns.

    Args:
        decoder: the watermark S, on both models.

    `p` and `q` are target and draft laws [..., n]; `randomness` holds zeta, the keyed coin and true random
    numbers for the same batch.
    """

    decoder: Decoder
    #: As on the command line.
    name: ClassVar[str]
    columns: ClassVar[Columns]
    detection: ClassVar[Detection]
    #: Whether there is any speculation.
    drafts: ClassVar[bool] = True
    #: Whether a level has several candidates.
    tree: ClassVar[bool] = False
    #: Whether its text reads as text without speculation does, so that `joint` may choose it.
    joint: ClassVar[bool] = False
    #: Whether tokens are drawn under two keys that a detector may weigh, and `alpha` is a field.
    weighed: ClassVar[bool] = False
    #: Whether it makes sense without a watermark.
    unmarked: ClassVar[bool] = False
    #: Whether drafts are of law Q and accepted with probability a, so that the efficiency is 1 - TV.
    full_efficiency: ClassVar[bool] = False
    #: Whether drafts are verified against the law P, whatever the watermark.
    verifies_target: ClassVar[bool] = True
    #: The watermarks that `carries` holds of, for messages.
    carried: ClassVar[str] = "any watermark of the law P in the mean"

    @classmethod
    def carries(cls, decoder: Decoder) -> bool:
        """Whether a watermark is whole under this method: one that moves the target is not where drafts are
        verified against the law P."""
        return decoder.marks and not (cls.verifies_target and decoder.moves_target)

    @classmethod
    def make(cls, decoder: Decoder, width: int | None = None) -> Method:
        """With candidates a level, where the method has a choice of them.

        Raises:
            ValueError: where it has none.
        """
        if width is not None and (type(width) is not int or width != 1):
            trees = " and ".join(kind.name for kind in METHODS.values() if kind.tree)
            raise ValueError(f"width={width} is for {trees}; {cls.name} has one candidate a level")
        return cls(decoder)

    @property
    def width(self) -> int:
        """Candidates a level: 1, except for trees."""
        return 1

    @property
    def alpha(self) -> float | None:
        """How a detector weighs two keys, 1 - alpha and alpha: None for both alike, or for one key."""
        return None

    @property
    def determined(self) -> bool:
        """Whether the key decides every token, given both laws."""
        by_key = self.detection.coin is not Coin.RANDOM and self.detection.routed is None
        return by_key and is_degenerate(self.decoder)

    def draft(self, q: Array, randomness: Randomness) -> Array:
        """The draft token: [...]."""
        return self.columns.draft(self, q, randomness)

    def accepts(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        """Whether the draft token is accepted: [...] booleans."""
        return self.columns.accept(self, p, q, draft, randomness)

    def settles(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Settled:
        """`accepts`, and `replacement` where it comes out with it: nothing is then computed twice."""
        return Settled(self.accepts(p, q, draft, randomness), None)

    def replacement(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        """The token emitted where `draft` was rejected: [...]; meaningless elsewhere."""
        return self.columns.replace(self, p, q, draft, randomness)

    def bonus(self, p: Array, randomness: Randomness) -> Array:
        """The token drawn from the target where nothing was drafted or all was accepted: [...]."""
        return self.columns.bonus(self, p, randomness)

    def __call__(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Verdict:
        """The kernel: (P, Q, draft token, randomness) -> (accepted, token)."""
        accepted, replaced = self.settles(p, q, draft, randomness)
        if replaced is None:
            replaced = self.replacement(p, q, draft, randomness)
        return Verdict(accepted, namespace(p).where(accepted, draft, replaced))

    def candidates(self, q: Array, randomness: Randomness) -> Array:
        """The candidates of a level in order, [..., width]; the first is the draft token."""
        return self.draft(q, randomness)[..., None]

    def after_rejection(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> TreeVerdict:
        """What is emitted where `draft` was rejected: another candidate, by its rank from 1, or what replaces
        them all, with the rank `width`."""
        token = self.replacement(p, q, draft, randomness)
        return TreeVerdict(namespace(p).full_like(token, self.width), token)

    def efficiency(self, p: Array, q: Array) -> Array | None:
        """Expected acceptance rate, [...]; None where it has no closed form."""
        return overlap(p, q) if self.full_efficiency else None


_Kind = TypeVar("_Kind", bound=type[Method])
#: All methods by name, in the order of tables.
METHODS: dict[str, type[Method]] = {}


def register_method(kind: _Kind) -> _Kind:
    """Decorator: make a method known by its name to commands, presets, records and `Scheme`.

    Raises:
        ValueError: for a name that is taken.
    """
    if METHODS.setdefault(kind.name, kind) is not kind:
        raise ValueError(f"name={kind.name!r} is taken by {METHODS[kind.name].__name__}; choose another")
    return kind


def drawn(stream: Stream) -> _OfOne:
    """Column: a token of S(law, zeta) under a stream."""
    return lambda method, law, randomness: draw(method.decoder, law, stream, randomness)


def drawn_from_residual(stream: Stream) -> _OfBoth:
    """Column: a token of S((P-Q)_+, zeta) under a stream."""

    def replace(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        return draw(method.decoder, replacing(p, q, draft), stream, randomness)

    return replace


def replacing(p: Array, q: Array, draft: Array) -> Array:
    """What replaces a rejected draft: (P-Q)_+, normalised, [..., n]. Where nothing is there, as rounding may
    have it, the draft token stays."""
    xp = namespace(p)
    rest = residual(p, q)
    empty = ~xp.any(rest > 0, axis=-1)
    # A device would have to be waited for to know.
    if on_host(empty) and not bool(xp.any(empty)):
        return rest
    stays = xp.arange(p.shape[-1], device=device_of(p)) == draft[..., None]
    return xp.where(empty[..., None], xp.astype(stays, rest.dtype), rest)


def random_draw(method: Method, law: Array, randomness: Randomness) -> Array:
    """Column: a truly random token of a law."""
    return categorical(law, randomness.uniform())


def random_residual(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: a truly random token of (P-Q)_+."""
    return categorical(replacing(p, q, draft), randomness.uniform())


def random_coin(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: accepted if a truly random coin is below a."""
    return randomness.uniform() < draft_acceptance(p, q, draft)


def keyed_coin(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: accepted if G(z_R), which the key determines, is below a."""
    return randomness.coin() < draft_acceptance(p, q, draft)


def method_type(name: str) -> type[Method]:
    """The method called `name`, of this package or an extension (`tradeoff.extensions`).

    Raises:
        ValueError: for an unknown name.
    """
    failed = "" if name in METHODS else load_extensions()
    if name not in METHODS:
        raise ValueError(f"method={name!r} is unknown; use one of {', '.join(METHODS)}{failed}")
    return METHODS[name]


def joint_name(decoder: Decoder, width: int | None = None) -> str:
    """The name of the method that `joint` stands for: the first whose text a detector reads as it reads text
    without speculation, else algorithm-1, which carries any watermark that does not move the target, else
    joint-race-marked where that is completed and keep-strength where not; standard without a watermark.

    Args:
        decoder: the watermark; Identity for none.
        width: candidates a level; more than one ask for a tree.
    """
    if not decoder.marks:
        return "standard"
    tree = width not in (None, 1)
    joint = (kind for kind in METHODS.values() if kind.joint and kind.tree is tree)
    others = (METHODS[name] for name in ("algorithm-1", "joint-race-marked", "keep-strength"))
    return next(kind.name for kind in (*joint, *others) if kind.carries(decoder))


class OfRaces(Method):
    """What methods of races carry: Gumbel-max alone."""

    carried = "gumbel only"
    #: The method to take for another decoder.
    for_others: ClassVar[str] = "algorithm-1"

    def __post_init__(self) -> None:
        if not self.carries(self.decoder):
            raise ValueError(
                f"decoder={self.decoder.name!r} does not run a race; {self.name} needs Gumbel-max "
                f"({self.for_others} works with any decoder)"
            )

    @classmethod
    def carries(cls, decoder: Decoder) -> bool:
        return decoder == GumbelMax()


def check_alpha(alpha: float) -> None:
    """Raise ValueError for what does not weigh two keys, 1 - alpha and alpha."""
    if not isinstance(alpha, float) or not 0 < alpha < 1:
        raise ValueError(
            f"alpha={alpha!r} must be a number above 0 and below 1; at either end one key counts alone, "
            "which is Aaronson's test of one stream"
        )


def make_method(name: str, decoder: Decoder, width: int | None = None, alpha: float | None = None) -> Method:
    """The method called `name` with the watermark `decoder`.

    Args:
        name: a key of METHODS, or JOINT for the one that `joint_name` chooses.
        decoder: the watermark; Identity for none.
        width: candidates a level of a tree (default 2).
        alpha: weight of the second of two keys of Gumbel-max, above 0 and below 1.

    Raises:
        ValueError: for an unknown name, a watermark that the method cannot carry, or a width or an alpha that
            is out of range or of another method.
    """
    kind = method_type(joint_name(decoder, width) if name == JOINT else name)
    name = kind.name
    if not decoder.marks and not kind.unmarked:
        raise ValueError(
            f"method={name!r} needs a watermark; without one use basic (no speculation) or standard"
        )
    method = kind.make(decoder, width)
    if decoder.marks and not kind.carries(decoder):
        remedy = "watermark none, or another method" if kind.unmarked else "another method"
        raise ValueError(
            f"method={name!r} carries {kind.carried}, so {decoder.name} has no place in it; use {remedy}"
        )
    if alpha is None:
        return method
    if not kind.weighed:
        takers = ", ".join(other.name for other in METHODS.values() if other.weighed)
        raise ValueError(
            f"alpha={alpha} weighs the keys of {takers}; {name} has no two keys, so name one of those, or "
            "leave alpha out"
        )
    # Methods that are weighed have such a field.
    return replace(method, alpha=alpha)  # type: ignore[call-arg]
