"""Trees of candidates from one race: the k smallest E/Q, tested in order without any coin."""

from __future__ import annotations

from typing import NamedTuple

from tradeoff._arrays import Array, device_of, namespace, on_host
from tradeoff.decoders import GumbelMax
from tradeoff.kernels.clocks import joint_acceptance
from tradeoff.laws import at, draft_acceptance, residual, uniform_of

__all__ = ["TreeVerdict", "is_last", "one_race_candidates", "one_race_tree"]


class TreeVerdict(NamedTuple):
    """Which candidate was accepted (its rank from 0; the width of the tree if none), and the token, [...]."""

    rank: Array
    token: Array


def one_race_candidates(q: Array, race: Array, width: int) -> Array:
    """The `width` smallest E/Q in order: a sample from Q without replacement (Gumbel top-k).

    Args:
        q: draft laws [..., n].
        race: E ~ Exp(1)^n, [..., n].
        width: how many.

    Returns:
        [..., width] token ids; where Q has fewer tokens, the last of them stands in for the missing.
    """
    xp = namespace(q)
    left: Array = q
    chosen: list[Array] = []
    for rank in range(width):
        token = GumbelMax().token(left, race)
        if rank:
            token = xp.where(xp.sum(left, axis=-1) > 0, token, chosen[-1])
        chosen.append(token)
        left = _without(left, token)
    return xp.stack(chosen, axis=-1)


def one_race_tree(p: Array, q: Array, race: Array, width: int, *, joint: bool = False) -> TreeVerdict:
    """Test the `width` first candidates of one race in turn; if none is accepted, race for the residual.

    With P_1 = P, Q_1 = Q, candidate i has winning time t_i = min E_i/Q_i and is accepted if
    1 - exp(-t_i) < min(1, P_i/Q_i); else P_{i+1} = (P_i - Q_i)_+, Q_{i+1} is Q_i without the candidate,
    renormalised, and E_{i+1} = E_i - t_i Q_i. After `width` rejections the remainders race with P_{width+1}.
    Unbiased for every width: docs/theory/one-race.md; joint: docs/theory/joint-race.md.

    Args:
        p, q: target and draft laws [..., n].
        race: E ~ Exp(1)^n, [..., n].
        width: number of candidates.
        joint: whether the last candidate and the residual run the joint race (`joint_acceptance`). Of those
            before, the remainders must stay a race for the next one, whatever became of them.

    Returns:
        rank of the accepted candidate (`width` if none) and the token, each [...].
    """
    xp = namespace(p)
    p, q = xp.broadcast_arrays(p, q)
    one = xp.ones_like(p[..., :1])
    rank = xp.full_like(xp.astype(p[..., 0], xp.int64), width)
    token = xp.zeros_like(rank)
    last_candidate = token
    for level in range(width):
        mass = xp.sum(q, axis=-1, keepdims=True)
        # A row that has run out of draft tokens has no further candidate; its residual stays as it is.
        left = mass[..., 0] > 0
        q = q / xp.where(mass > 0, mass, one)
        candidate = GumbelMax().token(q, race)
        last_candidate = xp.where(left, candidate, last_candidate)
        time = at(race, candidate) / xp.where(left, at(q, candidate), one[..., 0])
        passes = uniform_of(time) < draft_acceptance(p, q, candidate)
        if joint:
            last = left & is_last(q, candidate, level, width)
            if not on_host(last) or bool(xp.any(last)):
                passes = xp.where(last, joint_acceptance(p, q, candidate, race), passes)
        accepted = left & passes & (rank == width)
        rank = xp.where(accepted, level, rank)
        token = xp.where(accepted, candidate, token)
        p, race, q = residual(p, q), race - time[..., None] * q, _without(q, candidate)
    winner = GumbelMax().token(p, race)
    # Where rounding left no residual, nothing replaces the last candidate.
    winner = xp.where(at(p, winner) > 0, winner, last_candidate)
    return TreeVerdict(rank, xp.where(rank == width, winner, token))


def is_last(q: Array, candidate: Array, level: int, width: int) -> Array:
    """Whether no other candidate follows: the level is the last, or Q has no other token. [...] booleans."""
    xp = namespace(q)
    if level == width - 1:
        return xp.ones_like(candidate, dtype=xp.bool)
    return ~(xp.sum(_without(q, candidate), axis=-1) > 0)


def _without(q: Array, token: Array) -> Array:
    """q with the entry of `token` set to 0."""
    xp = namespace(q)
    ids = xp.arange(q.shape[-1], device=device_of(q))
    return xp.where(ids == token[..., None], xp.zeros_like(q), q)
