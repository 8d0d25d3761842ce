"""Kernels of watermarked speculative sampling: one frozen dataclass per method, pure and batched.

A method maps (P, Q, draft token, randomness) to (accepted, token) over arrays [..., n], for millions of seeds
at once or for the rows of a language model's batch; the engine calls the same code that the tests enumerate.
Every method preserves the law of the target. With a = min(1, P/Q), t = min E/Q the draft's winning time:

    method            draft         accepted if       replacement             bonus       efficiency
    standard          Q             coin < a          (P-Q)_+                 P           1 - TV
    keep strength     S(Q, z)       coin < a_z        (P_z-Q_z)_+             S(P, z)     E[1 - TV(Q_z, P_z)]
    keep efficiency   S(Q, z_D)     coin < a          (P-Q)_+                 S(P, z_D)   1 - TV
    two keys          S(Q, z_D)     coin < a          S((P-Q)_+, z_T)         S(P, z_T)   1 - TV
    Algorithm 1       S(Q, z_D)     G(z_R) < a        S((P-Q)_+, z_T)         S(P, z_T)   1 - TV
    single key        argmin E/Q    G(z_R) < a        argmin (E-tQ)/(P-Q)_+   argmin E/P  1 - TV
    one race          argmin E/Q    1 - e^-t < a      argmin (E-tQ)/(P-Q)_+   argmin E/P  1 - TV

The first five are the paper's (sections 2 and 4.1), the last two and trees this project's. Derivations:
docs/theory/trade-off.md (strengths, Theorem 4.1) and docs/theory/one-race.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar, NamedTuple, TypeVar, final

from tradeoff._arrays import Array, namespace
from tradeoff.decoders import Decoder, GumbelMax, Identity, is_degenerate, race_diagonal
from tradeoff.extensions import load_extensions
from tradeoff.kernels.race_tree import TreeVerdict, one_race_candidates, one_race_tree
from tradeoff.kernels.randomness import Randomness
from tradeoff.keyed import Stream
from tradeoff.laws import at, categorical, draft_acceptance, overlap, residual, uniform_of

__all__ = [
    "METHODS",
    "WIDEST",
    "Algorithm1",
    "Basic",
    "Coin",
    "Columns",
    "Detection",
    "KeepEfficiency",
    "KeepStrength",
    "Method",
    "OneRace",
    "OneRaceTree",
    "SingleKey",
    "Standard",
    "TwoKeys",
    "Verdict",
    "draw",
    "drawn",
    "drawn_from_residual",
    "keyed_coin",
    "make_method",
    "method_type",
    "random_coin",
    "random_draw",
    "random_residual",
    "register_method",
    "remaining_race",
    "winning_time",
]


_OfOne = Callable[["Method", Array, Randomness], Array]
_OfBoth = Callable[["Method", Array, Array, Array, Randomness], Array]
#: Most candidates a level of a tree. On the built-in pair 64 leave 1 to 3 levels in 100 without an accepted
#: candidate, and 32 more leave less than 1 fewer; each costs a position of the target's pass.
WIDEST = 64


class Verdict(NamedTuple):
    """What became of a draft token: whether it was accepted, and the token that is emitted, each [...]."""

    accepted: Array
    token: Array


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
    """

    drafted: Stream | None
    replaced: Stream | None
    bonus: Stream | None
    coin: Coin

    @property
    def streams(self) -> frozenset[Stream]:
        """All streams that draw tokens."""
        return frozenset(s for s in (self.drafted, self.replaced, self.bonus) if s is not None)


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
    #: Whether it makes sense without a watermark.
    unmarked: ClassVar[bool] = False
    #: Whether drafts are of law Q and accepted with probability a, so that the efficiency is 1 - TV.
    full_efficiency: ClassVar[bool] = False
    #: The watermarks that `carries` holds of, for messages.
    carried: ClassVar[str] = "any watermark"

    @classmethod
    def carries(cls, decoder: Decoder) -> bool:
        """Whether a watermark is whole under this method."""
        return decoder.marks

    @classmethod
    def make(cls, decoder: Decoder, width: int | None = None) -> Method:
        """With candidates a level, where the method has a choice of them.

        Raises:
            ValueError: where it has none.
        """
        if width is not None and (type(width) is not int or width != 1):
            raise ValueError(f"width={width} is for {OneRaceTree.name}; {cls.name} has one candidate a level")
        return cls(decoder)

    @property
    def width(self) -> int:
        """Candidates a level: 1, except for trees."""
        return 1

    @property
    def determined(self) -> bool:
        """Whether the key decides every token, given both laws."""
        return is_degenerate(self.decoder) and self.detection.coin is not Coin.RANDOM

    def draft(self, q: Array, randomness: Randomness) -> Array:
        """The draft token: [...]."""
        return self.columns.draft(self, q, randomness)

    def accepts(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        """Whether the draft token is accepted: [...] booleans."""
        return self.columns.accept(self, p, q, draft, randomness)

    def replacement(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        """The token emitted where `draft` was rejected: [...]; meaningless elsewhere."""
        return self.columns.replace(self, p, q, draft, randomness)

    def bonus(self, p: Array, randomness: Randomness) -> Array:
        """The token drawn from the target where nothing was drafted or all was accepted: [...]."""
        return self.columns.bonus(self, p, randomness)

    def __call__(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Verdict:
        """The kernel: (P, Q, draft token, randomness) -> (accepted, token)."""
        accepted = self.accepts(p, q, draft, randomness)
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
        return draw(method.decoder, residual(p, q), stream, randomness)

    return replace


def random_draw(method: Method, law: Array, randomness: Randomness) -> Array:
    """Column: a truly random token of a law."""
    return categorical(law, randomness.uniform())


def random_residual(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: a truly random token of (P-Q)_+."""
    return categorical(residual(p, q), randomness.uniform())


def random_coin(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: accepted if a truly random coin is below a."""
    return randomness.uniform() < draft_acceptance(p, q, draft)


def keyed_coin(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: accepted if G(z_R), which the key determines, is below a."""
    return randomness.coin() < draft_acceptance(p, q, draft)


def winning_time(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: accepted if 1 - exp(-t) is below a."""
    # Small t is accepted, not large: accepted tokens then have small E, which is what detectors read.
    coin = uniform_of(randomness.race_at(Stream.SHARED, draft) / at(q, draft))
    return coin < draft_acceptance(p, q, draft)


def remaining_race(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: the winner of the residual's race among what the draft left, E - t Q."""
    race = randomness.zeta(Stream.SHARED, method.decoder)
    return GumbelMax().token(residual(p, q), _remainders(race, q, draft))


def _remainders(race: Array, q: Array, draft: Array) -> Array:
    """E - t Q with t = E/Q at the draft token."""
    return race - (at(race, draft) / at(q, draft))[..., None] * q


def _nothing_drafted(method: Method, *_: object) -> Array:
    raise ValueError(f"method={method.name!r} drafts nothing; ask it for the bonus token")


@final
@register_method
@dataclass(frozen=True)
class Basic(Method):
    """The target alone, without speculation: token ~ S(P, zeta)."""

    name = "basic"
    columns = Columns(_nothing_drafted, _nothing_drafted, _nothing_drafted, drawn(Stream.SHARED))
    detection = Detection(None, None, Stream.SHARED, Coin.NONE)
    drafts = False
    unmarked = True


@final
@register_method
@dataclass(frozen=True)
class Standard(Method):
    """Speculative sampling (Leviathan et al. 2023; Chen et al. 2023), Eq. 5: no watermark anywhere."""

    decoder: Decoder = field(default_factory=Identity)
    name = "standard"
    full_efficiency = True
    columns = Columns(random_draw, random_coin, random_residual, random_draw)
    detection = Detection(None, None, None, Coin.RANDOM)
    unmarked = True
    carried = "no watermark"

    @classmethod
    def carries(cls, decoder: Decoder) -> bool:
        return False


def _accepts_watermarked(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    zeta = randomness.zeta(Stream.SHARED, method.decoder)
    if is_degenerate(method.decoder):
        # Two point masses: a_z is 1 where they agree and 0 elsewhere, and the coin is idle.
        return method.decoder.token(p, zeta) == draft
    return random_coin(method, method.decoder(p, zeta), method.decoder(q, zeta), draft, randomness)


def _replaces_watermarked(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    zeta = randomness.zeta(Stream.SHARED, method.decoder)
    if is_degenerate(method.decoder):
        return method.decoder.token(p, zeta)
    return random_residual(method, method.decoder(p, zeta), method.decoder(q, zeta), draft, randomness)


@final
@register_method
@dataclass(frozen=True)
class KeepStrength(Method):
    """Hu and Huang (2024): speculate between the watermarked laws Q_zeta and P_zeta, one zeta for both."""

    name = "keep-strength"
    columns = Columns(drawn(Stream.SHARED), _accepts_watermarked, _replaces_watermarked, drawn(Stream.SHARED))
    detection = Detection(Stream.SHARED, Stream.SHARED, Stream.SHARED, Coin.RANDOM)

    @property
    def determined(self) -> bool:
        return is_degenerate(self.decoder)

    def efficiency(self, p: Array, q: Array) -> Array | None:
        """sum_i pi_ii for Gumbel-max (exact); None for other decoders."""
        if self.decoder == GumbelMax():
            return namespace(p).sum(race_diagonal(p, q), axis=-1)
        return None


@final
@register_method
@dataclass(frozen=True)
class KeepEfficiency(Method):
    """Hu and Huang (2024): the draft is watermarked, verification is truly random."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "keep-efficiency"
    full_efficiency = True
    columns = Columns(drawn(Stream.DRAFT), random_coin, random_residual, drawn(Stream.DRAFT))
    detection = Detection(Stream.DRAFT, None, Stream.DRAFT, Coin.RANDOM)


@final
@register_method
@dataclass(frozen=True)
class TwoKeys(Method):
    """Dathathri et al. (2024), and vLLM's dual key: the replacement is watermarked under a second key."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "two-keys"
    full_efficiency = True
    columns = Columns(
        drawn(Stream.DRAFT), random_coin, drawn_from_residual(Stream.TARGET), drawn(Stream.TARGET)
    )
    detection = Detection(Stream.DRAFT, Stream.TARGET, Stream.TARGET, Coin.RANDOM)


@final
@register_method
@dataclass(frozen=True)
class Algorithm1(Method):
    """Algorithm 1 of the paper: two keys, and a coin G(zeta_R) that the key determines as well."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "algorithm-1"
    full_efficiency = True
    columns = TwoKeys.columns._replace(accept=keyed_coin)
    detection = replace(TwoKeys.detection, coin=Coin.KEYED)


class _OfOneRace(Method):
    """What the methods of one race carry: Gumbel-max alone."""

    carried = "gumbel only"

    def __post_init__(self) -> None:
        if not self.carries(self.decoder):
            raise ValueError(
                f"decoder={self.decoder.name!r} does not run a race; {self.name} needs Gumbel-max "
                "(algorithm-1 works with any decoder)"
            )

    @classmethod
    def carries(cls, decoder: Decoder) -> bool:
        return decoder == GumbelMax()


@final
@register_method
@dataclass(frozen=True)
class SingleKey(_OfOneRace):
    """One race for draft, replacement and bonus; the coin is keyed (Gumbel-max only)."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "single-key"
    full_efficiency = True
    columns = Columns(drawn(Stream.SHARED), keyed_coin, remaining_race, drawn(Stream.SHARED))
    detection = Detection(Stream.SHARED, Stream.SHARED, Stream.SHARED, Coin.KEYED)


@final
@register_method
@dataclass(frozen=True)
class OneRace(_OfOneRace):
    """One race and nothing else: the coin is 1 - exp(-t), t the winning time of the draft."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "one-race"
    full_efficiency = True
    columns = SingleKey.columns._replace(accept=winning_time)
    detection = replace(SingleKey.detection, coin=Coin.WINNING_TIME)


def _next_candidate(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    return method.after_rejection(p, q, draft, randomness).token


@final
@register_method
@dataclass(frozen=True)
class OneRaceTree(_OfOneRace):
    """Several candidates a level from one race: the `width` smallest E/Q, tested in order.

    As a kernel of one draft token it is `OneRace` whose replacement tests the other candidates before the
    residual; `one_race_tree` says which was accepted.

    Args:
        width: candidates a level, 1 to WIDEST.
    """

    decoder: Decoder = field(default_factory=GumbelMax)
    width: int = 2
    name = "one-race-tree"
    columns = OneRace.columns._replace(replace=_next_candidate)
    detection = OneRace.detection

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.width) is not int or self.width < 1:
            raise ValueError(f"width={self.width!r} must be a whole number, at least 1 candidate")
        if self.width > WIDEST:
            raise ValueError(
                f"width={self.width} candidates a level are more than can be of use; pass at most {WIDEST}"
            )

    @classmethod
    def make(cls, decoder: Decoder, width: int | None = None) -> OneRaceTree:
        return cls(decoder) if width is None else cls(decoder, width)

    def candidates(self, q: Array, randomness: Randomness) -> Array:
        return one_race_candidates(q, randomness.zeta(Stream.SHARED, self.decoder), self.width)

    def choose(self, p: Array, q: Array, randomness: Randomness) -> TreeVerdict:
        """The whole tree of one level, from its first candidate on."""
        return one_race_tree(p, q, randomness.zeta(Stream.SHARED, self.decoder), self.width)

    def after_rejection(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> TreeVerdict:
        return self.choose(p, q, randomness)

    def efficiency(self, p: Array, q: Array) -> Array | None:
        """1 - TV for the first candidate alone, no closed form for more."""
        return overlap(p, q) if self.width == 1 else None


def method_type(name: str) -> type[Method]:
    """The method called `name`, of this package or an extension (`tradeoff.extensions`).

    Raises:
        ValueError: for an unknown name.
    """
    failed = "" if name in METHODS else load_extensions()
    if name not in METHODS:
        raise ValueError(f"method={name!r} is unknown; use one of {', '.join(METHODS)}{failed}")
    return METHODS[name]


def make_method(name: str, decoder: Decoder, width: int | None = None) -> Method:
    """The method called `name` with the watermark `decoder`.

    Args:
        name: a key of METHODS.
        decoder: the watermark; Identity for none.
        width: candidates a level of one-race-tree (default 2).

    Raises:
        ValueError: for an unknown name, a watermark that the method cannot carry, or a width that is out of
            range or where there is no tree.
    """
    kind = method_type(name)
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
    return method
