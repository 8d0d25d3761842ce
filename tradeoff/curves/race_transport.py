"""The transport problem behind the limit of races: what is known of it exactly, and potentials for its dual.

Potentials come from L-BFGS on the dual, which quadrature makes smooth. Given the winning time t of the
draft's race, the remainders of the other tokens are independent. With C = exp(c) and V = 1 - exp(-E) the best
replacement maximises c - log V, so that it minimises V / C, and

    P(min over w of V_w / C_w > x | t) = product over w of min(1, exp(t Q_w) (1 - C_w x)).

The dual is a sum over drafts j of an integral of that over t and x, up to X_j(t) = (1 - exp(-t Q_j)) / (C_j
exp(price)), below which the draft loses (docs/theory/race-limit.md). Nothing here has to be accurate: a bound
is valid for any potentials, and certified elsewhere.

Tokens of little mass and of one P / Q are one token to the dual, up to terms of the square of their masses:
their races are those of one token with their sums for P and Q, in which V = E.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize

from tradeoff.decoders import race_diagonal, scaled_score_moments, sum_score_moments
from tradeoff.laws import acceptance_probability, excess, overlap

__all__ = ["RacePair", "race_potentials"]

#: Nodes of the interpolation in log(1 - a), and the least 1 - a that it tells from 0.
_NODES, _CLOSEST = 128, 1e-12
#: Tokens that are told apart; those behind them are told apart by P / Q alone.
_HEAD, _HEAD_MASS, _RATIOS = 96, 5e-3, 64
#: Nodes over t, and over v = log x, and the range of v; below it, 1 - product is linear in x, above it is 1.
_TIMES, _LEVELS, _LOWEST, _HIGHEST = 32, 192, -12.0, 4.0
#: How far a potential may move at one price.
_REACH = 6.0
#: Stands for the C of a token that is never emitted, where arithmetic needs a number.
_LEAST_C = 1e-30
#: Least 1 - C x of which a logarithm has a derivative.
_LEAST = 1e-9


@dataclass(frozen=True)
class RacePair:
    """P and Q on the tokens that either can draw, [n], and what is known exactly of them."""

    p: np.ndarray
    q: np.ndarray

    @cached_property
    def over(self) -> np.ndarray:
        """Indices of over-drafted tokens, which may be rejected."""
        return np.flatnonzero(self.p < self.q)

    @cached_property
    def under(self) -> np.ndarray:
        """Indices of tokens that replace them."""
        return np.flatnonzero(self.p > self.q)

    @property
    def rejects(self) -> bool:
        """Whether any draft is ever rejected; if P and Q differ by rounding alone, none is."""
        return bool(len(self.over) and len(self.under))

    @cached_property
    def accept(self) -> np.ndarray:
        return acceptance_probability(self.p, self.q)

    @cached_property
    def rest(self) -> np.ndarray:
        """The residual law r on `under`."""
        return excess(self.p, self.q, empty="zero")[self.under]

    @cached_property
    def overlap(self) -> float:
        return float(overlap(self.p, self.q))

    @cached_property
    def under_score(self) -> float:
        """What drafts add that every rule at full efficiency accepts: sum of Q_i S(Q_i) over P_i >= Q_i."""
        return float(scaled_score_moments(self.q[self.p >= self.q], 1).sum())

    @cached_property
    def joint_score(self) -> float:
        """E s of the joint race: its formula in docs/theory/race-limit.md, exact."""
        p, q = self.p[self.over], self.q[self.over]
        return self.under_score + float(scaled_score_moments(p, 1).sum() + (q - p) @ self.replaced_score)

    @cached_property
    def replaced_score(self) -> np.ndarray:
        """Mean score of a replacement, for every over-drafted token: [over].

        It depends on the token by 1 - a alone, and smoothly on the logarithm of that.
        """
        distance = np.maximum(1 - self.accept[self.over], _CLOSEST)
        if len(distance) <= _NODES:
            return self.replaced_score_at(distance)
        low, high = np.log(distance.min()), np.log(distance.max())
        nodes = np.polynomial.chebyshev.chebpts1(_NODES)
        values = self.replaced_score_at(np.exp((low + high) / 2 + (high - low) / 2 * nodes))
        series = np.polynomial.Chebyshev.fit(nodes, values, _NODES - 1, domain=[-1, 1])
        return series((2 * np.log(distance) - low - high) / max(high - low, _CLOSEST))

    def replaced_score_at(self, distance: np.ndarray) -> np.ndarray:
        rates, rest = self.q[self.under], self.rest
        return np.array([sum_score_moments((1 - d) * rates + d * rest, rates, 1)[0] @ rest for d in distance])

    @cached_property
    def gumbel_score(self) -> float:
        """E s of Gumbel-max without speculation: sum of P_i S(P_i)."""
        return float(scaled_score_moments(self.p, 1).sum())

    @cached_property
    def agreement(self) -> float:
        """How often Gumbel-max without speculation emits the race's winner: sum of pi_ii."""
        return float(race_diagonal(self.p, self.q).sum())


@dataclass(frozen=True)
class _Cells:
    """Tokens, or groups of them: [cells].

    Attributes:
        q: mass of the draft.
        mass: probability with which the rule has to emit them, of the races that the dual looks at.
        drafted: whether races are looked at in which they are the draft.
        candidate: whether they may replace a draft.
        linear: whether V = E, as for groups.
    """

    q: np.ndarray
    mass: np.ndarray
    drafted: np.ndarray
    candidate: np.ndarray
    linear: np.ndarray


def race_potentials(
    p: np.ndarray,
    q: np.ndarray,
    mass: np.ndarray,
    drafted: np.ndarray,
    candidate: np.ndarray,
    start: np.ndarray,
    prices: Sequence[float],
    iterations: int,
) -> np.ndarray:
    """Potentials that make the dual small, for each price.

    Args:
        p, q: target and draft, [n]; every token has mass in one of them.
        mass: with what probability the rule has to emit a token, within the races that `drafted` names, [n].
        drafted: drafts whose races are looked at, [n].
        candidate: tokens that may replace a draft, [n].
        start: first guess, [n]; minus infinity where `mass` is 0.
        prices: of a rejection; each begins with the potentials of the one before.
        iterations: of L-BFGS for each price, at most.

    Returns:
        [prices, n]; minus infinity where `mass` is 0.
    """
    cell = _cells_of(p, q)
    sums = np.zeros((3, cell.max() + 1))
    for row, values in zip(sums, (q, mass, np.exp(start)), strict=True):
        np.add.at(row, cell, values)
    flags = np.zeros((2, sums.shape[1]), dtype=bool)
    for row, values in zip(flags, (drafted, candidate), strict=True):
        np.logical_or.at(row, cell, values)
    cells = _Cells(sums[0], sums[1], flags[0], flags[1], np.bincount(cell) > 1)
    log_c = np.log(np.maximum(sums[2], _LEAST_C))
    share = start - log_c[cell]
    # Probabilities of rare tokens move little with their potentials: in units of these all move alike.
    unit = 1 / np.sqrt(np.maximum(cells.mass, 1e-7))
    # Adding one number to all potentials changes nothing: bounds keep them within the quadrature's range.
    reach = np.where(cells.mass > 0, _REACH, 0.0)
    found = []
    for price in prices:
        dual = _Dual(cells, price)
        if iterations > 0:
            answer = minimize(
                lambda z, dual=dual: _scaled(dual, z, unit),
                log_c / unit,
                jac=True,
                method="L-BFGS-B",
                bounds=np.stack([log_c - reach, log_c + reach], axis=-1) / unit[:, None],
                options={"maxiter": iterations, "maxcor": 20, "ftol": 1e-10, "gtol": 1e-7},
            )
            log_c = answer.x * unit
        found.append(log_c[cell] + share)
    return np.array(found)


def _scaled(dual: _Dual, z: np.ndarray, unit: np.ndarray) -> tuple[float, np.ndarray]:
    value, gradient = dual(z * unit)
    return value, gradient * unit


def _cells_of(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The cell of every token, [n]: large tokens have one of their own."""
    larger = np.maximum(p, q)
    alone = larger >= _HEAD_MASS
    alone[np.argsort(-larger, kind="stable")[:_HEAD]] = True
    # Over- and under-drafted tokens, and those with P = Q, never share a cell.
    ratio = np.floor(p / (p + q) * _RATIOS).astype(int) + (np.sign(p - q).astype(int) + 1) * (_RATIOS + 1)
    key = np.where(alone, -1 - np.arange(len(p)), ratio)
    return np.unique(key, return_inverse=True)[1]


class _Dual:
    """U(c, price) and its gradient, less what no potential changes, by quadrature."""

    def __init__(self, cells: _Cells, price: float) -> None:
        self._cells, self._price = cells, price
        u, weight = np.polynomial.legendre.leggauss(_TIMES)
        self._weight = weight / 2
        t = -np.log1p(-(u + 1) / 2)
        self._v = np.linspace(_LOWEST, _HIGHEST, _LEVELS)
        self._step = self._v[1] - self._v[0]
        rate = cells.q[:, None] * t
        self._growth = np.exp(rate[cells.candidate])
        own, linear = rate[cells.drafted], cells.linear[cells.drafted]
        # log V at the draft.
        self._log_own = np.log(np.where(linear[:, None], own, -np.expm1(-own)))
        self._draft = cells.q[cells.drafted]

    def __call__(self, log_c: np.ndarray) -> tuple[float, np.ndarray]:
        cells, h = self._cells, self._step
        gradient = -cells.mass.copy()
        value = float(gradient @ log_c)

        # Replacements: g = 1 - product, [times, levels], and d(-log product)/dc for each candidate.
        x = np.exp(log_c[cells.candidate, None] + self._v)
        linear = cells.linear[cells.candidate, None]
        left = np.where(linear, np.exp(-np.minimum(x, 30.0)), np.maximum(1 - x, _LEAST))
        slope = np.where(linear, x, np.where(left > _LEAST, x / left, 0.0))
        product, active = np.empty((_TIMES, _LEVELS)), np.empty((_TIMES, *left.shape), dtype=bool)
        # One time after another: what a step reads and writes stays in the processor's cache.
        for k, growth in enumerate(self._growth.T):
            factor = growth[:, None] * left
            np.less(factor, 1.0, out=active[k])
            np.multiply.reduce(np.minimum(factor, 1.0, out=factor), axis=0, out=product[k])
        g = 1 - product

        # Drafts: H_t(X_j) is the integral of g over v up to log X_j; g is linear between nodes.
        steps = np.concatenate([g[:, :1], (g[:, 1:] + g[:, :-1]) * (h / 2)], axis=1)
        total = np.cumsum(steps, axis=1)
        end = self._log_own - log_c[cells.drafted, None] - self._price
        at = np.floor((end - _LOWEST) / h).astype(int)
        below, above = end < _LOWEST, at >= _LEVELS - 1
        at = np.clip(at, 0, _LEVELS - 2)
        d = np.clip(end - self._v[at], 0.0, h)
        times = np.broadcast_to(np.arange(_TIMES), at.shape)
        low, high = g[times, at], g[times, at + 1]
        second = d**2 / (2 * h)
        integral = total[times, at] + low * (d - second) + high * second
        tail = np.exp(np.minimum(end - _LOWEST, 0.0))
        integral = np.where(below, g[times, 0] * tail, integral + np.maximum(end - _HIGHEST, 0.0))
        slope_at_end = np.where(below, g[times, 0] * tail, np.where(above, 1.0, low + (high - low) * (d / h)))
        weight = self._draft[:, None] * self._weight
        value += float(self._draft @ log_c[cells.drafted] + np.sum(weight * integral))
        gradient[cells.drafted] += self._draft - np.sum(weight * slope_at_end, axis=1)

        # What d(value)/dg is at every node: whole steps below the end, the broken one, the tail.
        inside = weight * ~below
        beyond = np.cumsum(_sums(at, inside)[:, ::-1], axis=1)[:, ::-1]
        nodes = _sums(at, inside * (d - second)) + _sums(at + 1, inside * second)
        nodes[:, :-1] += beyond[:, 1:] * (h / 2)
        nodes[:, 1:] += beyond[:, 1:] * (h / 2)
        nodes[:, 0] += np.sum(weight * np.where(below, tail, 1.0), axis=0)
        moved = np.zeros_like(left)
        for some, row in zip(active, nodes * product, strict=True):
            moved += some * row
        gradient[cells.candidate] += np.sum(slope * moved, axis=1)
        return value, gradient


def _sums(at: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums of weights [drafts, times] by level: [times, levels]."""
    size = _TIMES * _LEVELS
    sums = np.bincount((np.arange(_TIMES) * _LEVELS + at).ravel(), weights.ravel(), size)
    return sums.reshape(_TIMES, _LEVELS)
