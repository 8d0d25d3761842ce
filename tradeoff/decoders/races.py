"""Exact joint law of two Gumbel-max draws from one race.

One race E ~ Exp(1)^n is shared by the target P and the draft Q. With i = argmin E/P and j = argmin E/Q,

    pi_ij = P(i, j) = P_i Q_j (F(r_i) - F(r_j))_+   for i != j,      pi_ii = P_i / M(r_i),

    r_k = P_k / Q_k,    M(u) = sum_k max(P_k, u Q_k),    F(u) = integral_0^u dv / M(v)^2.

The break points r_k are the same for every pair: one sort and one cumulative sum give all of pi. M is
piecewise linear, so F has a closed form on every piece. Derivation: docs/theory/coupling.md.
"""

from __future__ import annotations

import numpy as np

from tradeoff._arrays import Array, device_of, namespace

__all__ = ["race_coupling", "race_diagonal", "race_potential"]


def race_potential(p: Array, q: Array) -> tuple[Array, Array]:
    """The diagonal pi_ii and the potential F(r_k) of the race coupling, in O(n log n).

    Args:
        p, q: target and draft, [..., n] (validated by the caller).

    Returns:
        (diagonal, potential), each [..., n]. Tokens with P = Q = 0 never win and get 0 in both.
    """
    xp = namespace(p, q)
    p, q = xp.broadcast_arrays(p, q)
    zero, one = xp.zeros_like(p), xp.ones_like(p)
    drafted = q > 0
    # A token without draft mass changes sides at u = infinity; one without any mass never does.
    # So does one whose ratio overflows.
    with np.errstate(over="ignore"):
        ratio = p / xp.where(drafted, q, one)
    ratio = xp.where(drafted, ratio, xp.where(p > 0, xp.inf * one, zero))
    order = xp.argsort(ratio, axis=-1, stable=True)
    p_sorted = xp.take_along_axis(p, order, axis=-1)
    q_sorted = xp.take_along_axis(q, order, axis=-1)
    high = xp.take_along_axis(ratio, order, axis=-1)
    low = xp.concat([zero[..., :1], high[..., :-1]], axis=-1)
    # Just below break point k, M(u) = (P of tokens k and later) + u (Q of tokens before k). The reversed
    # cumulative sum keeps the P tail accurate where it is tiny.
    p_tail = xp.flip(xp.cumulative_sum(xp.flip(p_sorted, axis=-1), axis=-1), axis=-1)
    q_head = xp.concat([zero[..., :1], xp.cumulative_sum(q_sorted, axis=-1)[..., :-1]], axis=-1)
    bounded = xp.isfinite(high)
    finite_high, finite_low = xp.where(bounded, high, zero), xp.where(xp.isfinite(low), low, zero)
    m_low = p_tail + finite_low * q_head
    m_high = p_tail + finite_high * q_head
    # integral_l^h dv/(A + B v)^2 = (h-l) / ((A+Bl)(A+Bh)), and 1/(B (A+Bl)) for h = infinity.
    m_low_safe = xp.where(m_low > 0, m_low, one)
    length = xp.where(bounded, finite_high - finite_low, zero)
    within = length / xp.where(m_high > 0, m_high, one) / m_low_safe
    last = 1 / (xp.where(q_head > 0, q_head, one) * m_low_safe)
    piece = xp.where(bounded, within, xp.where(xp.isfinite(low), last, zero))
    potential_sorted = xp.cumulative_sum(piece, axis=-1)
    wins = bounded & (p_sorted > 0)
    diagonal_sorted = xp.where(wins, p_sorted / xp.where(wins, m_high, one), zero)
    back = xp.argsort(order, axis=-1)
    return (
        xp.take_along_axis(diagonal_sorted, back, axis=-1),
        xp.take_along_axis(potential_sorted, back, axis=-1),
    )


def race_diagonal(p: Array, q: Array) -> Array:
    """pi_ii = 1 / sum_k max(P_k/P_i, Q_k/Q_i) for all tokens, in O(n log n): `[..., n] -> [..., n]`.

    Its sum is the sampling efficiency of the keep-strength kernel with Gumbel-max on both sides.
    """
    return race_potential(p, q)[0]


def race_coupling(p: Array, q: Array) -> Array:
    """The full joint law pi: `[..., n] -> [..., n, n]`, rows i (target draw), columns j (draft draw).

    Row sums are P and column sums are Q. Memory is 8 n^2 bytes (a few times that while computing).
    """
    xp = namespace(p, q)
    p, q = xp.broadcast_arrays(p, q)
    diagonal, potential = race_potential(p, q)
    gap = potential[..., :, None] - potential[..., None, :]
    off = p[..., :, None] * q[..., None, :] * xp.where(gap > 0, gap, xp.zeros_like(gap))
    same = xp.eye(p.shape[-1], dtype=xp.bool, device=device_of(p))
    return xp.where(same, diagonal[..., :, None], off)
