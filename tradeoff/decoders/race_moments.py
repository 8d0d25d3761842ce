"""Moments of the score s(E) = -log(1 - exp(-E)) where E is m X or m_1 X + m_2 Y, with X and Y ~ Exp(1).

With S(m) the mean score of m X, that of m_1 X + m_2 Y is (m_1 S(m_1) - m_2 S(m_2)) / (m_1 - m_2). Derivation:
docs/theory/race-scores.md.
"""

from __future__ import annotations

import numpy as np
from scipy import special

__all__ = ["scaled_score_moments", "scaled_score_slopes", "sum_score_moments"]

#: Means below have the first terms of their asymptotic series, to 1e-14 of the score.
_SMALL = 1 / 32
#: Means of this size and below count as 0: m S(m) is 0 to every digit.
_NOTHING = 1e-300
#: Means closer than this, relatively, take the derivative of m S(m) in place of its difference.
_NEAR = 0.1
_GAUSS = np.polynomial.legendre.leggauss

_Array = np.ndarray


def scaled_score_moments(mean: _Array, order: int) -> _Array:
    """m E s(m X)^i for i = 1 .. order: [order, *mean.shape], 0 at 0.

    E s = digamma(1 + 1/m) + gamma, and the variance is pi^2/6 - trigamma(1 + 1/m).
    """
    m = np.maximum(mean, _NOTHING)
    square = m * m
    first = np.log(m)
    np.subtract(np.euler_gamma, first, out=first)
    first += m / 2 - square * (1 / 12 - square * (1 / 120 - square / 252))
    large = m >= _SMALL
    some = bool(large.any())
    if some:
        first[large] = special.psi(1 + 1 / m[large]) + np.euler_gamma
    if order == 1:
        return (m * first)[None]
    trigamma = m * (1 - m * (1 / 2 - m * (1 / 6 - square * (1 / 30 - square / 42))))
    if some:
        trigamma[large] = special.polygamma(1, 1 + 1 / m[large])
    return np.stack([m * first, m * (first**2 + np.pi**2 / 6 - trigamma)])


def scaled_score_slopes(mean: _Array, order: int) -> _Array:
    """The derivatives of `scaled_score_moments`: [order, *mean.shape]."""
    m = np.maximum(mean, _NOTHING)
    wins = 1 + 1 / m
    score, bend = special.psi(wins) + np.euler_gamma, special.polygamma(1, wins)
    first = score - bend / m
    if order == 1:
        return first[None]
    second = score**2 + np.pi**2 / 6 - bend - 2 * score * bend / m + special.polygamma(2, wins) / m
    return np.stack([first, second])


def sum_score_moments(first: _Array, second: _Array, order: int) -> _Array:
    """E s(first X + second Y)^i for i = 1 .. order: [order, ...], divided differences of m E s(m X)^i.

    The law of the sum is that divided difference of the laws of m X, each times m.
    """
    apart = first - second
    near = np.abs(apart) <= _NEAR * np.maximum(first, second)
    parts = scaled_score_moments(first, order) - scaled_score_moments(second, order)
    moments = parts / np.where(near, 1.0, apart)
    if near.any():
        points, weights = _GAUSS(6)
        between = second[near] + apart[near] * (points[:, None] + 1) / 2
        moments[:, near] = np.tensordot(scaled_score_slopes(between, order), weights / 2, (1, 0))
    return moments
