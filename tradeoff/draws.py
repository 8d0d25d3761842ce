"""Small steps that all kernels share: drawing a token, the acceptance probability at it, the residual."""

from __future__ import annotations

from tradeoff._arrays import Array, namespace
from tradeoff.simplex import acceptance_probability, excess

__all__ = ["at", "categorical", "draft_acceptance", "residual", "uniform_of"]


def categorical(p: Array, u: Array) -> Array:
    """A token of law p by the inverse of its distribution function, with uniform u in (0, 1).

    Args:
        p: [..., n].
        u: [...].

    Returns:
        [...] token ids; never one of probability 0.
    """
    xp = namespace(p)
    cdf = xp.cumulative_sum(p, axis=-1)
    total = cdf[..., -1:]
    # Where u * total rounds to total, the token that completes the total is the last one with mass.
    below = (cdf <= u[..., None] * total) & (cdf < total)
    return xp.sum(xp.astype(below, xp.int64), axis=-1)


def at(values: Array, token: Array) -> Array:
    """values[..., token]: `[..., n], [...] -> [...]`."""
    xp = namespace(values)
    return xp.take_along_axis(values, token[..., None], axis=-1)[..., 0]


def draft_acceptance(p: Array, q: Array, draft: Array) -> Array:
    """a = min(1, P/Q) at the draft token alone: `[...]`, in O(1) a row."""
    return acceptance_probability(at(p, draft), at(q, draft))


def residual(p: Array, q: Array) -> Array:
    """(P-Q)_+, normalised; a row of zeros where P = Q, since nothing is rejected there: [..., n]."""
    return excess(p, q, empty="zero")


def uniform_of(time: Array) -> Array:
    """1 - exp(-t): a uniform coin from a winning time t ~ Exp(1)."""
    return -namespace(time).expm1(-time)
