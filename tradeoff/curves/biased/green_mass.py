"""Red and green lists exactly: all of them for few tokens, and integrals of one variable for any number.

With a = e^delta - 1, M the green mass and Z = 1 + a M, the law P_zeta has P(w) e^(delta g(w)) / Z. Where
tokens are green independently, E e^(-u M) = prod_w (1 - gamma + gamma e^(-u P_w)) =: Phi(u), and 1/Z = int
e^(-t - a t M) dt and log Z = int (e^-t - e^(-t Z)) / t dt make means of 1/Z and log Z integrals of Phi. In
log t the integrands are analytic and vanish doubly exponentially, so that the trapezoidal rule has all
digits. Derivation: docs/theory/biased.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from functools import singledispatch
from typing import NamedTuple

import numpy as np

from tradeoff._arrays import Array, to_numpy
from tradeoff.decoders import KGW, Decoder, GreenLists

__all__ = ["Lists", "MeanOfLists", "draw_lists", "every_list", "kgw_of", "lists_of", "mean_over_lists"]

#: Tokens up to which all lists are gone through.
MOST_TOKENS = 16
#: Of the trapezoidal rule in log t; error exp(-pi^2 / step) at most.
_STEP = 0.25
#: In log t: below the first, integrals hold less than 1e-16; beyond the second, e^-t is below it.
_LOW, _HIGH = -38.0, math.log(40.0)
#: Largest delta that is integrated: e^delta is far from overflow.
_LARGEST = 300.0
#: Numbers of an array [nodes, tokens] that are worked on together.
_BLOCK = 1 << 22


class Lists(StrEnum):
    """How the green tokens of a position are chosen."""

    #: Each token with probability gamma, as this package does.
    INDEPENDENT = "independent"
    #: A uniform set of floor(gamma n) of the n tokens, as Kirchenbauer et al. and Transformers do.
    FIXED = "fixed"


class MeanOfLists(NamedTuple):
    """Means over all lists: E KL(P_zeta || P) and E P_zeta, [settings] and [settings, n]."""

    strength: np.ndarray
    mean: np.ndarray


@singledispatch
def kgw_of(decoder: Decoder) -> KGW | None:
    """The decoder of lists that it is; None for others."""
    return None


@kgw_of.register
def _(decoder: KGW) -> KGW:
    return decoder


def every_list(gamma: float, support: np.ndarray, lists: Lists) -> tuple[np.ndarray, np.ndarray] | None:
    """All lists on the tokens of `support`, booleans [n], with their probabilities: [lists, n] and [lists].

    Tokens outside, of no mass anywhere, are told to be red. None if there are too many lists.
    """
    n, held = len(support), np.flatnonzero(support)
    if len(held) > MOST_TOKENS:
        return None
    number = np.arange(1 << len(held))
    chosen = (number[:, None] >> np.arange(len(held)) & 1).astype(bool)
    count = chosen.sum(axis=-1)
    if lists is Lists.INDEPENDENT:
        weight = gamma**count * (1 - gamma) ** (len(held) - count)
    else:
        size, others = int(gamma * n), n - len(held)
        # Of all sets, those that go on outside the support.
        ways = [math.comb(others, size - c) if c <= size else 0 for c in range(len(held) + 1)]
        weight = np.array([way / math.comb(n, size) for way in ways])[count]
    green = np.zeros((len(number), n), dtype=bool)
    green[:, held] = chosen
    possible = weight > 0
    return green[possible], weight[possible]


def lists_of(green: np.ndarray) -> GreenLists:
    """As decoders read them: booleans [batch, n]."""

    def look(tokens: Array | None, rows: Array | None) -> np.ndarray:
        some = green if rows is None else green[to_numpy(rows)]
        if tokens is None:
            return some
        ids = to_numpy(tokens)
        return np.take_along_axis(some, np.broadcast_to(ids, (len(some), ids.shape[-1])), axis=-1)

    return GreenLists(look)


def draw_lists(gamma: float, rng: np.random.Generator, batch: int, n: int, lists: Lists) -> np.ndarray:
    """Random lists: booleans [batch, n]."""
    uniform = rng.random((batch, n))
    if lists is Lists.INDEPENDENT:
        return np.asarray(uniform < gamma)
    size, green = int(gamma * n), np.zeros((batch, n), dtype=bool)
    if size:
        np.put_along_axis(green, np.argpartition(uniform, size - 1, axis=-1)[:, :size], True, axis=-1)
    return green


def mean_over_lists(
    p: np.ndarray, gamma: float, deltas: Sequence[float], most: int | None
) -> MeanOfLists | None:
    """Strength and mean law for several deltas, lists independent, by the integrals above.

    Args:
        p: [n], n as large as a vocabulary.
        gamma: share of green tokens.
        deltas: [settings], finite.
        most: how many of the most probable tokens may be green; None for all.

    Returns:
        None for a delta beyond reach: hard lists have none.
    """
    delta = np.asarray(deltas, float)
    if not (delta <= _LARGEST).all():
        return None
    a = np.expm1(delta)
    first = min(0.0, float(np.log(a.min()))) + _LOW
    u = np.exp(np.arange(first, math.log(float(a.max())) + _HIGH + _STEP, _STEP))
    may = np.argsort(-p, kind="stable")[:most]
    may = may[p[may] > 0]
    sure, step = p[may], max(1, _BLOCK // len(u))
    log_phi = np.zeros_like(u)
    for start in range(0, len(sure), step):
        log_phi += np.log1p(gamma * np.expm1(-np.outer(u, sure[start : start + step]))).sum(axis=-1)
    # e^-t at t = u/a, of every setting: [settings, nodes].
    decay = np.exp(-u / a[:, None])
    inverse = _STEP * decay * (u / a[:, None]) * np.exp(log_phi)
    log_z = _STEP * (decay * -np.expm1(log_phi)).sum(axis=-1)
    # E 1/Z of lists with and without a token, the others as they come.
    ratio = np.repeat(inverse.sum(axis=-1)[:, None], len(p), axis=-1)
    green_mass = np.zeros_like(delta)
    for start in range(0, len(sure), step):
        here = slice(start, start + step)
        falling = np.exp(-np.outer(u, sure[here]))
        others = 1 / (1 - gamma + gamma * falling)
        without, with_it = inverse @ others, inverse @ (falling * others)
        ratio[:, may[here]] = (1 - gamma) * without + gamma * np.exp(delta)[:, None] * with_it
        green_mass += gamma * with_it @ sure[here]
    return MeanOfLists(np.maximum(delta * np.exp(delta) * green_mass - log_z, 0.0), p * ratio)
