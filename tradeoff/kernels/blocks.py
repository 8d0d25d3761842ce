"""Keyed block verification: of a block of drafts the longest prefix that joint probabilities let through.

Block verification (Sun et al. 2024, "Block verification accelerates speculative decoding") lets more drafts
through a step than verification token by token, as many as any rule can. Here the event of a position is the
method's own, a function of the key where token by token it is one: docs/theory/blocks.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from tradeoff._arrays import Array, device_of, namespace
from tradeoff.kernels.method import METHODS, Method, Settled
from tradeoff.kernels.randomness import Randomness
from tradeoff.laws import at, draft_acceptance

__all__ = [
    "Block",
    "BlockVerdict",
    "ExpectedAccepted",
    "Verify",
    "block",
    "check_verify",
    "expected_accepted",
    "settle_block",
]


class Verify(StrEnum):
    """How drafts are verified."""

    #: One after the other, up to the first that is rejected.
    TOKEN = "token"
    #: All of a step together.
    BLOCK = "block"

    @classmethod
    def _missing_(cls, value: object) -> Verify:
        raise ValueError(f"verify={value!r} is unknown; use {' or '.join(cls)}")


def check_verify(method: Method, verify: Verify) -> None:
    """Raise ValueError for blocks of a method that has none."""
    if verify is Verify.BLOCK and not method.full_efficiency:
        others = ", ".join(name for name, kind in METHODS.items() if kind.full_efficiency)
        raise ValueError(
            f"verify='block' is for methods that accept drafts of Q with probability min(1, P/Q), which "
            f"{method.name} does not; use verify='token', or one of {others}"
        )


class Block(NamedTuple):
    """What a block of K drafts asks of each of its positions.

    Attributes:
        targets: K measures [..., n] in place of the target's laws. To a method that accepts x with
            min(1, P(x)/Q(x)) and replaces it by a token of (P-Q)_+, they say: accept x_i with probability
            h_i, and replace it by a token of (p_{i-1} P_i - Q_i)_+.
        chances: h_i, K of [...].
    """

    targets: list[Array]
    chances: list[Array]


class BlockVerdict(NamedTuple):
    """What became of a block.

    Attributes:
        accepted: tau, how many drafts are emitted, [...].
        settled: of every position: whether its event happened, and what replaces the draft there if it is
            the first that is not emitted.
    """

    accepted: Array
    settled: list[Settled]


def block(
    targets: Sequence[Array], laws: Sequence[Array], drafts: Sequence[Array], depth: Array | None = None
) -> Block:
    """With p_0 = 1 and p_i = min(1, p_{i-1} P_i(x_i)/Q_i(x_i)):

        h_i = s_i / (s_i + 1 - p_i),  s_i = sum_v (p_i P_{i+1}(v) - Q_{i+1}(v))_+   for i < K;    h_K = p_K.

    Args:
        targets: P_1 .. P_K, [..., n] each; more are not looked at.
        laws: Q_1 .. Q_K, [..., n] each.
        drafts: x_1 .. x_K, x_i of law Q_i, [...] each.
        depth: K of every row, [...], if they differ: what stands at later positions is then of no meaning.

    Returns:
        K measures and K probabilities. A draft with p_i = 1 keeps its p_{i-1} P_i(x_i) >= Q_i(x_i), and is
        accepted for sure.
    """
    measures, chances = [], []
    p = None
    for i, (law, x) in enumerate(zip(laws, drafts, strict=True)):
        xp = namespace(law)
        measure = targets[i] if p is None else p[..., None] * targets[i]
        wanted, drafted = at(measure, x), at(law, x)
        sure = wanted >= drafted
        p = xp.where(sure, xp.ones_like(drafted), wanted / drafted)
        chance = p
        if i + 1 < len(laws):
            over = xp.maximum(p[..., None] * targets[i + 1] - laws[i + 1], xp.zeros_like(law))
            here = _chance(xp.sum(over, axis=-1), p)
            chance = here if depth is None else xp.where(depth == i + 1, p, here)
        measures.append(_with(measure, x, xp.where(sure, wanted, chance * drafted)))
        chances.append(chance)
    return Block(measures, chances)


class ExpectedAccepted(NamedTuple):
    """How many of a step's drafts a method of full efficiency accepts in the mean, given them: [...].

    Attributes:
        by_token: sum_i a_1 .. a_i, one after the other.
        by_block: sum_i i h_i (1 - h_{i+1}) .. (1 - h_K).
    """

    by_token: Array
    by_block: Array


def expected_accepted(
    targets: Sequence[Array], laws: Sequence[Array], drafts: Sequence[Array], depth: Array | None = None
) -> ExpectedAccepted:
    """Both means, of the arguments of `block`; its drafts were drawn, so the mean over these is over rows."""
    chances = block(targets, laws, drafts, depth).chances
    xp = namespace(laws[0])
    by_token, by_block = xp.zeros_like(chances[0]), xp.zeros_like(chances[0])
    passed, none_later = xp.ones_like(chances[0]), xp.ones_like(chances[0])
    for i, (law, x) in enumerate(zip(laws, drafts, strict=True)):
        here = xp.astype(xp.ones_like(x) if depth is None else i < depth, passed.dtype)
        passed = passed * draft_acceptance(targets[i], law, x) * here
        by_token = by_token + passed
    for i in reversed(range(len(laws))):
        here = xp.astype(xp.ones_like(drafts[i]) if depth is None else i < depth, passed.dtype)
        by_block = by_block + (i + 1) * chances[i] * none_later * here
        none_later = none_later * (1 - chances[i] * here)
    return ExpectedAccepted(by_token, by_block)


def _chance(s: Array, p: Array) -> Array:
    """s / (s + 1 - p), and 1 where p is."""
    xp = namespace(p)
    # Next to 1 the sum would lose what is small, so that 1 - p comes first.
    rest = s + (1 - p)
    return xp.where(p < 1, s / xp.where(rest > 0, rest, xp.ones_like(rest)), xp.ones_like(p))


def settle_block(
    method: Method,
    targets: Sequence[Array],
    laws: Sequence[Array],
    drafts: Sequence[Array],
    randomness: Sequence[Randomness],
    depth: Array | None = None,
) -> BlockVerdict:
    """The events of all positions, and the largest i whose own happened.

    All of them are evaluated, so the randomness of every position is spent, emitted or not: no later draw of
    the text may use it again.

    Args:
        method: of full efficiency.
        targets: of `block`, whose measures these are.
        laws, drafts, depth: as in `block`.
        randomness: of every position.
    """
    xp = namespace(laws[0])
    accepted = xp.zeros_like(drafts[0])
    settled = []
    for i, (target, law, x, numbers) in enumerate(zip(targets, laws, drafts, randomness, strict=True)):
        here = method.settles(target, law, x, numbers)
        settled.append(here)
        happened = here.accepted if depth is None else here.accepted & (i < depth)
        accepted = xp.where(happened, xp.full_like(accepted, i + 1), accepted)
    return BlockVerdict(accepted, settled)


def _with(values: Array, token: Array, new: Array) -> Array:
    """A copy of [..., n] with `new: [...]` at `token: [...]`."""
    xp = namespace(values)
    columns = xp.arange(values.shape[-1], device=device_of(values))
    return xp.where(columns == token[..., None], new[..., None], values)
