"""Methods of one race, which carry Gumbel-max alone: draft, replacement and bonus read one stream."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import final

from tradeoff._arrays import Array, namespace, on_host
from tradeoff.decoders import Decoder, GumbelMax
from tradeoff.kernels.clocks import joint_acceptance
from tradeoff.kernels.method import (
    Coin,
    Columns,
    Detection,
    Method,
    OfRaces,
    drawn,
    keyed_coin,
    register_method,
    replacing,
)
from tradeoff.kernels.race_tree import TreeVerdict, is_last, one_race_candidates, one_race_tree
from tradeoff.kernels.randomness import Randomness
from tradeoff.keyed import Stream
from tradeoff.laws import at, draft_acceptance, overlap, uniform_of

__all__ = [
    "WIDEST",
    "JointRace",
    "JointRaceTree",
    "OneRace",
    "OneRaceTree",
    "SingleKey",
    "joint_clocks",
    "remainders",
    "remaining_race",
    "winning_time",
]

#: Most candidates a level of a tree. On the built-in pair 64 leave 1 to 3 levels in 100 without an accepted
#: candidate, and 32 more leave less than 1 fewer; each costs a position of the target's pass.
WIDEST = 64


def winning_time(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: accepted if 1 - exp(-t) is below a."""
    # Small t is accepted, not large: accepted tokens then have small E, which is what detectors read.
    coin = uniform_of(randomness.race_at(Stream.SHARED, draft) / at(q, draft))
    return coin < draft_acceptance(p, q, draft)


def joint_clocks(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: accepted by the clocks of the joint race."""
    return joint_acceptance(p, q, draft, randomness.zeta(Stream.SHARED, method.decoder))


def remaining_race(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: the winner of the residual's race among what the draft left, E - t Q."""
    race = randomness.zeta(Stream.SHARED, method.decoder)
    return GumbelMax().token(replacing(p, q, draft), remainders(race, q, draft))


def remainders(race: Array, q: Array, draft: Array) -> Array:
    """What a draft leaves of the race it won, E - t Q with t = E/Q at the draft token: [..., n]."""
    return race - (at(race, draft) / at(q, draft))[..., None] * q


@final
@register_method
@dataclass(frozen=True)
class SingleKey(OfRaces):
    """One race for draft, replacement and bonus; the coin is keyed (Gumbel-max only)."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "single-key"
    full_efficiency = True
    columns = Columns(drawn(Stream.SHARED), keyed_coin, remaining_race, drawn(Stream.SHARED))
    detection = Detection(Stream.SHARED, Stream.SHARED, Stream.SHARED, Coin.KEYED)


@final
@register_method
@dataclass(frozen=True)
class OneRace(OfRaces):
    """One race and nothing else: the coin is 1 - exp(-t), t the winning time of the draft."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "one-race"
    full_efficiency = True
    columns = SingleKey.columns._replace(accept=winning_time)
    detection = replace(SingleKey.detection, coin=Coin.WINNING_TIME)


def _first_of_tree(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    passes = winning_time(method, p, q, draft, randomness)
    if not method.joint:
        return passes
    xp = namespace(p)
    last = is_last(q, draft, 0, method.width)
    # The first candidate is seldom the last. A device would have to be waited for to know.
    if on_host(last) and not bool(xp.any(last)):
        return passes
    return xp.where(last, joint_clocks(method, p, q, draft, randomness), passes)


def _next_candidate(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    return method.after_rejection(p, q, draft, randomness).token


@dataclass(frozen=True)
class _Tree(OfRaces):
    """What trees have in common: the `width` smallest E/Q, tested in order."""

    decoder: Decoder = field(default_factory=GumbelMax)
    width: int = 2
    tree = True
    columns = Columns(drawn(Stream.SHARED), _first_of_tree, _next_candidate, drawn(Stream.SHARED))
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
    def make(cls, decoder: Decoder, width: int | None = None) -> Method:
        return cls(decoder) if width is None else cls(decoder, width)

    def candidates(self, q: Array, randomness: Randomness) -> Array:
        return one_race_candidates(q, randomness.zeta(Stream.SHARED, self.decoder), self.width)

    def choose(self, p: Array, q: Array, randomness: Randomness) -> TreeVerdict:
        """The whole tree of one level, from its first candidate on."""
        race = randomness.zeta(Stream.SHARED, self.decoder)
        return one_race_tree(p, q, race, self.width, joint=self.joint)

    def after_rejection(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> TreeVerdict:
        return self.choose(p, q, randomness)

    def efficiency(self, p: Array, q: Array) -> Array | None:
        """1 - TV for the first candidate alone, no closed form for more."""
        return overlap(p, q) if self.width == 1 else None


@final
@register_method
@dataclass(frozen=True)
class OneRaceTree(_Tree):
    """Several candidates a level from one race, each tested by its winning time.

    As a kernel of one draft token it is `OneRace` whose replacement tests the other candidates before the
    residual; `one_race_tree` says which was accepted.

    Args:
        width: candidates a level, 1 to WIDEST.
    """

    name = "one-race-tree"


@final
@register_method
@dataclass(frozen=True)
class JointRace(OfRaces):
    """Draft and replacement finish one race together: j is accepted if t/a < m/(1 - a), m the winning time of
    the residual's race among the remainders.

    As efficient and as strong as `OneRace`; what a detector with the key alone reads is closer to text
    without speculation. With a draft that is a point mass, or two tokens, it is the same.
    """

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "joint-race"
    full_efficiency = True
    joint = True
    columns = SingleKey.columns._replace(accept=joint_clocks)
    detection = OneRace.detection


@final
@register_method
@dataclass(frozen=True)
class JointRaceTree(_Tree):
    """`OneRaceTree` whose last candidate runs the joint race with the residual.

    Args:
        width: candidates a level, 1 to WIDEST; with 1 it is `JointRace`.
    """

    name = "joint-race-tree"
    joint = True
