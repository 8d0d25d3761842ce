"""Moments of the score s(E) = -log(1 - exp(-E)) of exponential variables E, their sums, and cut ones.

The law of first X + second Y, X and Y independent Exp(1), is the divided difference of the laws of m X, each
times m, between the two means: so is every moment, tail and density of it. Derivation:
docs/theory/race-scores.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

__all__ = [
    "NOTHING",
    "TINY",
    "blocks",
    "chebyshev",
    "node_weights",
    "powers_summed",
    "score_of",
    "shifted_moments",
    "sum_cdf",
    "sum_density",
    "tail_weights",
    "tiny_scaled_moments",
    "tiny_shifted_sums",
]

#: Means below have the first three terms of s(y) = -log y + y/2 - y^2/24 + ..., to 1e-10 of the score.
TINY = 1 / 256
#: Means of this size and below count as 0: m S(m) is 0 to every digit.
NOTHING = 1e-300
#: Chebyshev nodes in the acceptance probability; sums over rejected drafts are then right to 5e-9.
_NODES = 48
#: The grid of log Q/r: outside it the one or the other of the two does not count. Cubics are right to 1e-9.
_GRID_LOW, _GRID_HIGH, _GRID_STEP = -34.0, 26.0, 0.015
#: Numbers held at a time: 8 MiB.
_BLOCK = 1 << 20

_Array = np.ndarray


def blocks(length: int, width: int) -> list[slice]:
    """Slices of `length` things with `width` numbers each, so that little is held at a time."""
    step = max(1, _BLOCK // width)
    return [slice(first, first + step) for first in range(0, length, step)]


def score_of(e: _Array) -> _Array:
    """-log(1 - exp(-e)), its own inverse: infinite at 0."""
    with np.errstate(divide="ignore"):
        return -np.log(-np.expm1(-e))


def tiny_scaled_moments(mean: _Array, order: int) -> _Array:
    """`scaled_score_moments` of means below TINY, [k], in few passes over them."""
    m = np.maximum(mean, NOTHING)
    first = np.log(m)
    np.subtract(np.euler_gamma, first, out=first)
    rest = m / 12
    np.subtract(0.5, rest, out=rest)
    rest *= m
    first += rest
    if order == 1:
        first *= m
        return first[None]
    trigamma = m * (1 - m * (1 / 2 - m / 6))
    return np.stack([m * first, m * (first**2 + np.pi**2 / 6 - trigamma)])


def sum_cdf(e: _Array, first: _Array, second: _Array) -> _Array:
    """P(first X + second Y <= e), broadcast; first, second >= 0, not both 0."""

    def scaled(mean: _Array) -> _Array:
        return mean * -np.expm1(-e / np.maximum(mean, NOTHING))

    apart = first - second
    near = np.abs(apart) <= 1e-4 * np.maximum(first, second)
    time = e / np.where(near, (first + second) / 2, 1.0)
    equal = 1 - np.exp(-time) * (1 + time)
    return np.where(near, equal, (scaled(first) - scaled(second)) / np.where(near, 1.0, apart))


def sum_density(e: _Array, first: _Array, second: _Array) -> _Array:
    """Density of first X + second Y at e, broadcast; first, second >= 0, not both 0."""

    def survives(mean: _Array) -> _Array:
        return np.where(mean > 0, np.exp(-e / np.maximum(mean, NOTHING)), 0.0)

    apart = first - second
    near = np.abs(apart) <= 1e-4 * np.maximum(first, second)
    middle = np.where(near, (first + second) / 2, 1.0)
    equal = e / middle**2 * np.exp(-e / middle)
    return np.where(near, equal, (survives(first) - survives(second)) / np.where(near, 1.0, apart))


def powers_summed(mass: _Array, score: _Array, order: int) -> _Array:
    """sum mass score^i for i = 1 .. order: [order]."""
    weighted = mass * score
    return np.array([weighted.sum(), (weighted * score).sum()][:order])


@lru_cache(maxsize=1)
def _exponential_rule() -> tuple[_Array, _Array]:
    """Nodes and weights of E f(X), X ~ Exp(1), for f with a logarithm at 0: trapezoids in log X, to 1e-12."""
    logs = np.arange(-32.0, 3.9, 0.3)
    nodes = np.exp(logs)
    return nodes, 0.3 * nodes * np.exp(-nodes)


def shifted_moments(shift: _Array, mean: _Array, order: int) -> _Array:
    """E s(shift + mean X)^i for i = 1 .. order: [order, k]."""
    nodes, weights = _exponential_rule()
    score = score_of(shift[:, None] + mean[:, None] * nodes)
    return np.stack([score @ weights, score**2 @ weights][:order])


class _TinyTables(NamedTuple):
    """E s(t Q + X r)^i of small Q and r at the times of the nodes, for x = t Q/r.

    By s(y) = -log y + y/2 - y^2/24 + ... it is a sum of products of r^a (log r)^b and a function of x.

    Attributes:
        powers: (a, b) of every term.
        functions: those of x for every order, [terms, nodes, grid], with Q/r on a grid in its logarithm.
    """

    powers: list[list[tuple[int, int]]]
    functions: list[_Array]


@lru_cache(maxsize=1)
def _tiny_tables() -> _TinyTables:
    nodes, weights = _exponential_rule()
    grid = np.exp(np.arange(_GRID_LOW, _GRID_HIGH + _GRID_STEP, _GRID_STEP))
    x = -np.log(chebyshev().rejected)[:, None] * grid
    log_0, square_0 = np.empty_like(x), np.empty_like(x)
    for i, row in enumerate(x):
        logs = np.log(row[:, None] + nodes)
        log_0[i], square_0[i] = logs @ weights, logs**2 @ weights
    # Means of powers of x + X, and of their products with its logarithm, by parts.
    one, log_x = np.ones_like(x), np.log(x)
    power_1, power_2 = 1 + x, x**2 + 2 * (1 + x)
    power_3 = x**3 + 3 * power_2
    log_1 = x * log_x + log_0 + 1
    log_2 = x**2 * log_x + 2 * log_1 + power_1
    first = {(0, 0): -log_0, (0, 1): -one, (1, 0): power_1 / 2, (2, 0): -power_2 / 24}
    second = {
        (0, 0): square_0,
        (0, 1): 2 * log_0,
        (0, 2): one,
        (1, 0): -log_1,
        (1, 1): -power_1,
        (2, 0): log_2 / 12 + power_2 / 4,
        (2, 1): power_2 / 12,
        (3, 0): -power_3 / 24,
    }
    return _TinyTables([list(first), list(second)], [np.stack(list(f.values())) for f in (first, second)])


def tiny_shifted_sums(shift: _Array, mean: _Array, order: int) -> _Array:
    """sum_k r_k E s(t Q_k + r_k X)^i at the times of the nodes: [order, nodes], with Q = `shift`, r = `mean`.

    Whatever weighs the functions of Q/r is shared between the four points of the grid around it.
    """
    tables = _tiny_tables()
    size, logs = tables.functions[0].shape[-1], np.log(mean)
    place = np.clip(np.log(np.maximum(shift, NOTHING)) - logs, _GRID_LOW, _GRID_HIGH)
    place = (place - _GRID_LOW) / _GRID_STEP
    left = np.clip(place.astype(int), 1, size - 3)
    u = place - left
    up, down = (u + 1) * u, (u - 1) * (u - 2)
    cubic = -u * down / 6, (u + 1) * down / 2, -up * (u - 2) / 2, up * (u - 1) / 6
    total = np.zeros((order, _NODES))
    for i in range(order):
        for (a, b), function in zip(tables.powers[i], tables.functions[i], strict=True):
            weight = mean ** (a + 1) * logs**b
            shared = sum(np.bincount(left + k - 1, weight * part, size) for k, part in enumerate(cubic))
            total[i] += function @ shared
    return total


class _Nodes(NamedTuple):
    """Chebyshev nodes x of functions of a, with a/(1 - a) = (t/(1 - t))^3 and t = (1 + x)/2.

    Sums over k are smooth but for x log x at both ends, which this makes smooth enough.

    Attributes:
        rejected: 1 - a at the nodes, [_NODES].
        slope: da/dx there.
        transform: from values at the nodes to coefficients of Chebyshev polynomials.
    """

    rejected: _Array
    slope: _Array
    transform: _Array


@lru_cache(maxsize=1)
def chebyshev() -> _Nodes:
    """The nodes; the same at every call."""
    angle = (np.arange(_NODES) + 0.5) * np.pi / _NODES
    t, u = np.cos(angle / 2) ** 2, np.sin(angle / 2) ** 2
    total = t**3 + u**3
    transform = 2 / _NODES * np.cos(np.arange(_NODES)[:, None] * angle)
    transform[0] /= 2
    return _Nodes(u**3 / total, 1.5 * (t * u) ** 2 / total**2, transform)


def _polynomials(rejected: _Array, degree: int) -> _Array:
    """Chebyshev polynomials 0 .. degree at every a, given 1 - a: [degree + 1, j]."""
    odds = np.cbrt(rejected), np.cbrt(1 - rejected)
    x = (odds[1] - odds[0]) / (odds[1] + odds[0])
    values = np.empty((degree + 1, len(x)))
    values[0], values[1] = 1.0, x
    for k in range(2, degree + 1):
        values[k] = 2 * x * values[k - 1] - values[k - 2]
    return values


def node_weights(drawn: _Array, rejected: _Array) -> _Array:
    """Weights of values at the nodes in sum_j Q_j f(a_j): [_NODES]."""
    return (_polynomials(rejected, _NODES - 1) @ drawn) @ chebyshev().transform


def tail_weights(drawn: _Array, rejected: _Array) -> _Array:
    """Weights of values at the nodes in sum_j Q_j of the integral of f from x_j to 1: [_NODES]."""
    values = _polynomials(rejected, _NODES) @ drawn
    k = np.arange(2, _NODES)
    antiderivative = np.empty(_NODES)
    antiderivative[0], antiderivative[1] = values[1], (values[2] + values[0]) / 4
    antiderivative[2:] = values[3 : _NODES + 1] / (2 * (k + 1)) - values[1 : _NODES - 1] / (2 * (k - 1))
    ends = np.empty(_NODES)
    ends[0], ends[1] = 1.0, 0.5
    ends[2:] = 1 / (2 * (k + 1)) - 1 / (2 * (k - 1))
    return (ends * drawn.sum() - antiderivative) @ chebyshev().transform
