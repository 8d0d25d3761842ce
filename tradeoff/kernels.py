"""Kernels of watermarked speculative sampling: one frozen dataclass per method, pure and batched.

A method says how the draft token is drawn from Q, when it is accepted, what replaces it, how the bonus
token is drawn from P when every draft was accepted, and what a detector must know. Each maps
(P, Q, draft token, randomness) to (accepted, token) over arrays [..., n], for millions of seeds at once
or for the rows of a language model's batch; the engine calls the same code that the tests enumerate.

Every method preserves the law of the target. With a = min(1, P/Q) (section 5 of the paper; the last three
are this project's):

    method            draft         accepted if       replacement             bonus       efficiency
    standard          Q             coin < a          (P-Q)_+                 P           1 - TV
    keep strength     S(Q, z)       coin < a_z        (P_z-Q_z)_+             S(P, z)     E[1 - TV(Q_z, P_z)]
    keep efficiency   S(Q, z_D)     coin < a          (P-Q)_+                 S(P, z_D)   1 - TV
    two keys          S(Q, z_D)     coin < a          S((P-Q)_+, z_T)         S(P, z_T)   1 - TV
    Algorithm 1       S(Q, z_D)     G(z_R) < a        S((P-Q)_+, z_T)         S(P, z_T)   1 - TV
    single key        argmin E/Q    G(z_R) < a        argmin (E-tQ)/(P-Q)_+   argmin E/P  1 - TV
    one race          argmin E/Q    1 - e^-t < a      argmin (E-tQ)/(P-Q)_+   argmin E/P  1 - TV

with t = min E/Q the winning time of the draft. Given the winner and t, the remainders E_k - t Q_k of the
others are iid Exp(1) again (memorylessness), and a rejected token has no excess, so the second race draws
exactly from (P-Q)_+. t ~ Exp(1) is independent of the winner, so 1 - e^-t is a uniform coin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from tradeoff._arrays import Array, namespace
from tradeoff.coupling import race_diagonal
from tradeoff.decoders import Decoder, GumbelMax, Identity, is_degenerate
from tradeoff.draws import at, categorical, draft_acceptance, residual, uniform_of
from tradeoff.prf import Stream
from tradeoff.race_tree import TreeVerdict, one_race_candidates, one_race_tree
from tradeoff.randomness import Randomness
from tradeoff.simplex import overlap

__all__ = [
    "METHODS",
    "WIDEST",
    "Algorithm1",
    "Basic",
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
    "make_method",
]


#: Most candidates a level of a tree. On the built-in pair 64 leave 1 to 3 levels in 100 without an accepted
#: candidate, and 32 more leave less than 1 fewer; each costs a position of the target's pass.
WIDEST = 64


class Verdict(NamedTuple):
    """What became of a draft token: whether it was accepted, and the token that is emitted, each [...]."""

    accepted: Array
    token: Array


@dataclass(frozen=True)
class Detection:
    """What a detector must know of a method: which pseudorandom stream drew a token.

    Attributes:
        drafted: stream of accepted draft tokens; None if there are none, or without a watermark.
        replaced: stream of the tokens that replace rejected ones; None likewise.
        bonus: stream of bonus tokens, and of all tokens without speculation; None likewise.
        coin: what decided acceptance: "none" (nothing is drafted), "random" (lost), "keyed" (the
            ACCEPTANCE stream), or "winning time" (a function of the same race).
    """

    drafted: Stream | None
    replaced: Stream | None
    bonus: Stream | None
    coin: str

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


@dataclass(frozen=True)
class Method:
    """One way to combine a watermark with speculative sampling.

    Args:
        decoder: the watermark S, on both models.

    `p` and `q` are target and draft laws [..., n]; `randomness` holds zeta, the keyed coin and true random
    numbers for the same batch.
    """

    decoder: Decoder
    #: As on the command line.
    name: ClassVar[str]
    detection: ClassVar[Detection]
    #: Candidates a level: 1, except for trees.
    width: ClassVar[int] = 1

    def draft(self, q: Array, randomness: Randomness) -> Array:
        """The draft token: [...]."""
        raise NotImplementedError

    def accepts(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        """Whether the draft token is accepted: [...] booleans."""
        raise NotImplementedError

    def replacement(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        """The token emitted where `draft` was rejected: [...]; meaningless elsewhere."""
        raise NotImplementedError

    def bonus(self, p: Array, randomness: Randomness) -> Array:
        """The token drawn from the target where nothing was drafted or all was accepted: [...]."""
        raise NotImplementedError

    def __call__(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Verdict:
        """The kernel: (P, Q, draft token, randomness) -> (accepted, token)."""
        accepted = self.accepts(p, q, draft, randomness)
        replaced = self.replacement(p, q, draft, randomness)
        return Verdict(accepted, namespace(p).where(accepted, draft, replaced))

    def efficiency(self, p: Array, q: Array) -> Array | None:
        """Expected acceptance rate, [...]; None where it has no closed form."""
        return overlap(p, q)


@dataclass(frozen=True)
class Basic(Method):
    """The target alone, without speculation: token ~ S(P, zeta)."""

    name = "basic"
    detection = Detection(None, None, Stream.SHARED, "none")

    def bonus(self, p: Array, randomness: Randomness) -> Array:
        return draw(self.decoder, p, Stream.SHARED, randomness)

    def efficiency(self, p: Array, q: Array) -> None:
        return None


@dataclass(frozen=True)
class Standard(Method):
    """Speculative sampling (Leviathan et al. 2023; Chen et al. 2023), Eq. 5: no watermark anywhere."""

    decoder: Decoder = field(default_factory=Identity)
    name = "standard"
    detection = Detection(None, None, None, "random")

    def draft(self, q: Array, randomness: Randomness) -> Array:
        return categorical(q, randomness.uniform())

    def accepts(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        return randomness.uniform() < draft_acceptance(p, q, draft)

    def replacement(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        return categorical(residual(p, q), randomness.uniform())

    def bonus(self, p: Array, randomness: Randomness) -> Array:
        return categorical(p, randomness.uniform())


@dataclass(frozen=True)
class KeepStrength(Method):
    """Hu and Huang (2024): speculate between the watermarked laws Q_zeta and P_zeta, one zeta for both."""

    name = "keep-strength"
    detection = Detection(Stream.SHARED, Stream.SHARED, Stream.SHARED, "random")

    def draft(self, q: Array, randomness: Randomness) -> Array:
        return draw(self.decoder, q, Stream.SHARED, randomness)

    def accepts(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        zeta = randomness.zeta(Stream.SHARED, self.decoder)
        if is_degenerate(self.decoder):
            # Two point masses: a_z is 1 where they agree and 0 elsewhere, and the coin is idle.
            return self.decoder.token(p, zeta) == draft
        return randomness.uniform() < draft_acceptance(self.decoder(p, zeta), self.decoder(q, zeta), draft)

    def replacement(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        zeta = randomness.zeta(Stream.SHARED, self.decoder)
        if is_degenerate(self.decoder):
            return self.decoder.token(p, zeta)
        return categorical(residual(self.decoder(p, zeta), self.decoder(q, zeta)), randomness.uniform())

    def bonus(self, p: Array, randomness: Randomness) -> Array:
        return draw(self.decoder, p, Stream.SHARED, randomness)

    def efficiency(self, p: Array, q: Array) -> Array | None:
        """sum_i pi_ii for Gumbel-max (exact); None for other decoders."""
        if isinstance(self.decoder, GumbelMax):
            return namespace(p).sum(race_diagonal(p, q), axis=-1)
        return None


@dataclass(frozen=True)
class KeepEfficiency(Standard):
    """Hu and Huang (2024): the draft is watermarked, verification is truly random."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "keep-efficiency"
    detection = Detection(Stream.DRAFT, None, Stream.DRAFT, "random")

    def draft(self, q: Array, randomness: Randomness) -> Array:
        return draw(self.decoder, q, Stream.DRAFT, randomness)

    def bonus(self, p: Array, randomness: Randomness) -> Array:
        return draw(self.decoder, p, Stream.DRAFT, randomness)


@dataclass(frozen=True)
class TwoKeys(KeepEfficiency):
    """Dathathri et al. (2024), and vLLM's dual key: the replacement is watermarked under a second key."""

    name = "two-keys"
    detection = Detection(Stream.DRAFT, Stream.TARGET, Stream.TARGET, "random")

    def replacement(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        return draw(self.decoder, residual(p, q), Stream.TARGET, randomness)

    def bonus(self, p: Array, randomness: Randomness) -> Array:
        return draw(self.decoder, p, Stream.TARGET, randomness)


@dataclass(frozen=True)
class Algorithm1(TwoKeys):
    """Algorithm 1 of the paper: two keys, and a coin G(zeta_R) that the key determines as well."""

    name = "algorithm-1"
    detection = Detection(Stream.DRAFT, Stream.TARGET, Stream.TARGET, "keyed")

    def accepts(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        return randomness.coin() < draft_acceptance(p, q, draft)


@dataclass(frozen=True)
class SingleKey(Method):
    """One race for draft, replacement and bonus; the coin is keyed (Gumbel-max only)."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "single-key"
    detection = Detection(Stream.SHARED, Stream.SHARED, Stream.SHARED, "keyed")

    def __post_init__(self) -> None:
        if not isinstance(self.decoder, GumbelMax):
            raise ValueError(
                f"decoder={self.decoder.name!r} does not run a race; {self.name} needs Gumbel-max "
                "(algorithm-1 works with any decoder)"
            )

    def draft(self, q: Array, randomness: Randomness) -> Array:
        return draw(self.decoder, q, Stream.SHARED, randomness)

    def accepts(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        return randomness.coin() < draft_acceptance(p, q, draft)

    def replacement(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        race = randomness.zeta(Stream.SHARED, self.decoder)
        return GumbelMax().token(residual(p, q), _remainders(race, q, draft))

    def bonus(self, p: Array, randomness: Randomness) -> Array:
        return draw(self.decoder, p, Stream.SHARED, randomness)


@dataclass(frozen=True)
class OneRace(SingleKey):
    """One race and nothing else: the coin is 1 - exp(-t), t the winning time of the draft."""

    name = "one-race"
    detection = Detection(Stream.SHARED, Stream.SHARED, Stream.SHARED, "winning time")

    def accepts(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        # Small t is accepted, not large: accepted tokens then have small E, which is what detectors read.
        return uniform_of(randomness.race_at(Stream.SHARED, draft) / at(q, draft)) < draft_acceptance(
            p, q, draft
        )


@dataclass(frozen=True)
class OneRaceTree(OneRace):
    """Several candidates a level from one race: the `width` smallest E/Q, tested in order.

    As a kernel of one draft token it is `OneRace` whose replacement tests the other candidates before the
    residual; `one_race_tree` says which was accepted.

    Args:
        width: candidates a level, 1 to WIDEST.
    """

    width: int = 2  # type: ignore[misc]  # a field here, a constant of the other methods
    name = "one-race-tree"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"width={self.width} must be at least 1 candidate")
        if self.width > WIDEST:
            raise ValueError(
                f"width={self.width} candidates a level are more than can be of use; pass at most {WIDEST}"
            )

    def candidates(self, q: Array, randomness: Randomness) -> Array:
        """The candidates in order, [..., width]; the first is the draft token."""
        return one_race_candidates(q, randomness.zeta(Stream.SHARED, self.decoder), self.width)

    def choose(self, p: Array, q: Array, randomness: Randomness) -> TreeVerdict:
        """The whole tree of one level, from its first candidate on."""
        return one_race_tree(p, q, randomness.zeta(Stream.SHARED, self.decoder), self.width)

    def replacement(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
        return self.choose(p, q, randomness).token

    def efficiency(self, p: Array, q: Array) -> Array | None:
        """1 - TV for the first candidate alone, no closed form for more."""
        return overlap(p, q) if self.width == 1 else None


def _remainders(race: Array, q: Array, draft: Array) -> Array:
    """E - t Q with t = E/Q at the draft token."""
    return race - (at(race, draft) / at(q, draft))[..., None] * q


#: All methods by name, in the order of tables.
METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Basic,
        Standard,
        KeepStrength,
        KeepEfficiency,
        TwoKeys,
        Algorithm1,
        SingleKey,
        OneRace,
        OneRaceTree,
    )
}


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
    if name not in METHODS:
        raise ValueError(f"method={name!r} is unknown; use one of {', '.join(METHODS)}")
    if width is not None and name != OneRaceTree.name:
        raise ValueError(f"width={width} is for {OneRaceTree.name}; {name} has one candidate a level")
    marked = not isinstance(decoder, Identity)
    if name == Standard.name and marked:
        raise ValueError(
            f"method='standard' carries no watermark, so {decoder.name} has no place in it; "
            "use watermark none, or another method"
        )
    if not marked and name not in (Basic.name, Standard.name):
        raise ValueError(
            f"method={name!r} needs a watermark; without one use basic (no speculation) or standard"
        )
    if name == OneRaceTree.name and width is not None:
        return OneRaceTree(decoder, width)
    return METHODS[name](decoder)
