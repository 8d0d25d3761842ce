"""Probability distributions on a finite vocabulary, batched: `[..., n]`, tokens on the last axis.

`distribution` validates once, at the public boundary; every other function trusts its caller, accepts
NumPy arrays or PyTorch tensors (float64), and treats exact zeros by their limits (0 log 0 = 0).
Everything is in nats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import is_torch_array

from tradeoff._arrays import Array, as_float64, namespace, to_numpy
from tradeoff.errors import DistributionError

__all__ = [
    "SUM_TOLERANCE",
    "NoExcessError",
    "acceptance_probability",
    "at",
    "binary_entropy",
    "categorical",
    "distribution",
    "distribution_pair",
    "draft_acceptance",
    "entropy",
    "excess",
    "kl_divergence",
    "overlap",
    "plogp",
    "residual",
    "total_variation",
    "uniform_of",
    "without_rare",
]

#: How far a distribution may be from summing to one before it is refused.
SUM_TOLERANCE = 1e-6


class NoExcessError(ValueError):
    """The excess (P-Q)_+ was asked for where P = Q: there is no mass to normalise."""


def distribution(values: Any, name: str = "P") -> Array:
    """Validate `values: [..., n]` as probability distributions and renormalise them in float64.

    Raises DistributionError (naming `name`, the offending value and the remedy) for anything that is
    not numeric, has no token axis or no tokens, is not finite, is negative, or whose sum over the last
    axis is further than `SUM_TOLERANCE` from one.
    """
    try:
        p = as_float64(values)
    except (TypeError, ValueError) as error:
        raise DistributionError(
            f"{name} cannot be read as an array of numbers ({error}); pass a rectangular array [..., n]"
        ) from error
    xp = namespace(p)
    if p.ndim == 0:
        raise DistributionError(f"{name} is a single number ({float(p)}); pass an array of n of them")
    if 0 in p.shape:
        raise DistributionError(
            f"{name} is empty (shape {tuple(p.shape)}); pass at least one token probability"
        )
    finite = xp.isfinite(p)
    if not bool(xp.all(finite)):
        raise DistributionError(f"{_first(name, p, ~finite)} is not finite; remove NaN and infinities")
    negative = p < 0
    if bool(xp.any(negative)):
        raise DistributionError(
            f"{_first(name, p, negative)} is negative; probabilities must be >= 0 "
            "(take softmax of logits first)"
        )
    total = xp.sum(p, axis=-1, keepdims=True)
    off = xp.abs(total - 1) > SUM_TOLERANCE
    if bool(xp.any(off)):
        where = tuple(int(k) for k in np.argwhere(to_numpy(off)[..., 0])[0])
        row = f"{name}[{', '.join(map(str, where))}]" if where else name
        raise DistributionError(
            f"{row} sums to {float(total[(*where, 0)]):.9g}, further than {SUM_TOLERANCE:g} from 1; "
            "divide it by its sum if that is what you mean (a float32 softmax of many tokens needs it; "
            "`tradeoff curve --normalise` does it)"
        )
    return p / total


def distribution_pair(p: Any, q: Any, names: tuple[str, str] = ("P", "Q")) -> tuple[Array, Array]:
    """Validate a target and a draft distribution over one vocabulary (DistributionError otherwise)."""
    p, q = distribution(p, names[0]), distribution(q, names[1])
    if is_torch_array(p) != is_torch_array(q):
        raise DistributionError(
            f"{names[0]} and {names[1]} are of different libraries ({type(p).__name__}, {type(q).__name__}); "
            "convert one of them"
        )
    if p.shape[-1] != q.shape[-1]:
        raise DistributionError(
            f"{names[0]} has {p.shape[-1]} tokens and {names[1]} has {q.shape[-1]}; "
            "both must be over the same vocabulary (pad the shorter one with zeros if ids agree)"
        )
    try:
        np.broadcast_shapes(tuple(p.shape), tuple(q.shape))
    except ValueError as error:
        raise DistributionError(
            f"{names[0]} of shape {tuple(p.shape)} and {names[1]} of shape {tuple(q.shape)} "
            "have different batch shapes; make them equal or broadcastable"
        ) from error
    return p, q


def plogp(p: Array) -> Array:
    """Elementwise p log p with 0 log 0 = 0, for any p >= 0."""
    xp = namespace(p)
    return p * xp.log(xp.where(p > 0, p, xp.ones_like(p)))


def entropy(p: Array) -> Array:
    """Shannon entropy Ent(P) = -sum P log P in nats: `[..., n] -> [...]`."""
    xp = namespace(p)
    # Adding 0 turns the -0.0 of a point mass into 0.0.
    return -xp.sum(plogp(p), axis=-1) + 0.0


def binary_entropy(a: Array) -> Array:
    """h(a) = -a log a - (1-a) log(1-a), elementwise for a in [0, 1]; h(0) = h(1) = 0."""
    return -plogp(a) - plogp(1 - a)


def kl_divergence(p: Array, q: Array) -> Array:
    """KL(P || Q) = sum P log(P/Q) in nats; infinite where P has mass and Q has none."""
    xp = namespace(p, q)
    p, q = xp.broadcast_arrays(p, q)
    support = p > 0
    log_q = xp.where(q > 0, xp.log(xp.where(q > 0, q, xp.ones_like(q))), -xp.inf)
    terms = plogp(p) - xp.where(support, p, xp.ones_like(p)) * log_q
    divergence = xp.sum(xp.where(support, terms, xp.zeros_like(p)), axis=-1)
    # Rounding may leave -1e-17 where the two are equal; a divergence is never negative.
    return xp.where(divergence > 0, divergence, xp.zeros_like(divergence))


def overlap(p: Array, q: Array) -> Array:
    """sum min(P, Q) = 1 - TV(P, Q): the acceptance rate of speculative sampling (Lemma 3.1)."""
    xp = namespace(p, q)
    return xp.sum(xp.minimum(p, q), axis=-1)


def total_variation(p: Array, q: Array) -> Array:
    """TV(P, Q) = 1/2 sum |P - Q|, in [0, 1]."""
    xp = namespace(p, q)
    return xp.sum(xp.abs(p - q), axis=-1) / 2


def acceptance_probability(p: Array, q: Array) -> Array:
    """a = min(1, P/Q): the probability that speculative sampling accepts each draft token (Eq. 5).

    Tokens that are never drafted (Q = 0) get 1, whatever their P.
    """
    xp = namespace(p, q)
    p, q = xp.broadcast_arrays(p, q)
    rejectable = p < q
    return xp.where(rejectable, p / xp.where(rejectable, q, xp.ones_like(q)), xp.ones_like(q))


def excess(p: Array, q: Array, *, empty: str = "raise") -> Array:
    """The residual distribution (P-Q)_+ = max(P-Q, 0), normalised to sum one: `[..., n]`.

    It does not exist where P = Q. Then `empty="raise"` raises NoExcessError, and `empty="zero"` returns
    a row of zeros (an empty measure, never drawn from because nothing is rejected there).
    """
    if empty not in ("raise", "zero"):
        raise ValueError(f'empty={empty!r} is unknown; choose "raise" or "zero"')
    xp = namespace(p, q)
    positive = xp.maximum(p - q, xp.zeros_like(p - q))
    total = xp.sum(positive, axis=-1, keepdims=True)
    exists = total > 0
    if empty == "raise" and not bool(xp.all(exists)):
        raise NoExcessError(
            "(P-Q)_+ is empty because P = Q: every draft token is accepted and no residual is ever "
            'drawn; pass empty="zero" for an explicit row of zeros'
        )
    return positive / xp.where(exists, total, xp.ones_like(total))


def _first(name: str, p: Array, bad: Array) -> str:
    """`name[index] = value` of the first bad entry."""
    where = tuple(int(k) for k in np.argwhere(to_numpy(bad))[0])
    return f"{name}[{', '.join(map(str, where))}] = {float(p[where]):g}"


def without_rare(p: Array, q: Array, least: float) -> tuple[Array, Array, float]:
    """Two laws [n] on the tokens that at least one of them gives `least` or more, normalised.

    Returns:
        P and Q, [m], and the larger of the masses that P and Q lost.

    Raises:
        ValueError: for a `least` outside [0, 1), or one that leaves no token of P or of Q.
    """
    if not 0 <= least < 1:
        raise ValueError(f"least={least} must be from 0 to below 1")
    larger = namespace(p).maximum(p, q)
    kept = (larger > 0) & (larger >= least)
    p, q = p[kept], q[kept]
    masses = float(p.sum()), float(q.sum())
    if not min(masses) > 0:
        raise ValueError(f"least={least} leaves no token of P or of Q; make it smaller")
    return p / masses[0], q / masses[1], 1 - min(masses)


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
