"""What the law of E at the emitted token is made of, by the way in which the token came out of a race.

Every part knows its moments, and its components with closed tails. Derivation: docs/theory/race-scores.md.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

import numpy as np

from tradeoff.decoders import scaled_score_moments, scaled_score_slopes, sum_score_moments
from tradeoff.detection.score_moments import (
    NOTHING,
    TINY,
    blocks,
    chebyshev,
    node_weights,
    powers_summed,
    score_of,
    shifted_moments,
    sum_cdf,
    sum_density,
    tail_weights,
    tiny_scaled_moments,
    tiny_shifted_sums,
)

__all__ = ["BothStreams", "Early", "JointReplacement", "LateReplacement", "Part", "Sums"]

#: Means closer than this, relatively, take the derivative where differences are added up, so that it is
#: their sum that must keep its digits.
_NEAR = 1e-3
#: Groups of rejected drafts by their acceptance probability, in distribution functions alone.
_GROUPS = 48
#: Components whose means and shift agree within this, relatively, are one in distribution functions, if there
#: are more than a few.
_ALIKE, _FEW = 0.07, 256
#: Means below are as good as this one.
_LEAST = 1e-12
#: Winning times beyond have probability below 1e-17.
_LONGEST_TIME = 40.0
_GAUSS = np.polynomial.legendre.leggauss

_Array = np.ndarray


def _alike(weight: _Array, *values: _Array) -> tuple[_Array, ...]:
    """Components with `values` that agree within _ALIKE, as one with their mean: weights and values."""
    if len(weight) <= _FEW:
        return weight, *values
    key = np.zeros(len(weight), np.int64)
    for each in values:
        key = 4096 * key + np.rint(np.log(np.maximum(each, _LEAST)) / _ALIKE).astype(np.int64)
    group = np.unique(key, return_inverse=True)[1]
    mass = np.bincount(group, weight)
    return mass, *(np.bincount(group, weight * each) / mass for each in values)


class Part(Protocol):
    """A part of a mixture, with its weight."""

    def moments(self, order: int) -> _Array:
        """Weight times E s^k for k = 1 .. order: [order]."""

    def spread(self) -> Sums | Early:
        """The same as components with closed distribution functions."""


class Sums(NamedTuple):
    """E = shift + first X + second Y, each [c] with its weight."""

    weight: _Array
    first: _Array
    second: _Array
    shift: _Array

    @classmethod
    def of(cls, weight: _Array, first: _Array, second: _Array | float = 0.0) -> Sums:
        """Without a shift, restricted to what has weight."""
        kept = weight > 0
        first, second = np.broadcast_arrays(first, second)
        return cls(weight[kept], first[kept], second[kept], np.zeros(np.count_nonzero(kept)))

    def moments(self, order: int) -> _Array:
        """See `Part.moments`; of sums that are not shifted."""
        return sum_score_moments(self.first, self.second, order) @ self.weight

    def spread(self) -> Sums:
        """See `Part.spread`."""
        return Sums(*_alike(*self))

    def cdf(self, e: _Array) -> _Array:
        """P(E <= e) of every component, [x, c]."""
        return sum_cdf(np.maximum(e[:, None] - self.shift, 0.0), self.first, self.second)

    def density(self, e: _Array) -> _Array:
        """Density of E of every component, [x, c]."""
        over = e[:, None] - self.shift
        return np.where(over >= 0, sum_density(np.maximum(over, 0.0), self.first, self.second), 0.0)


class Early(NamedTuple):
    """E = mean t with t ~ Exp(1), where t < until and nothing where it is not, each [c] with its weight."""

    weight: _Array
    mean: _Array
    until: _Array

    def moments(self, order: int) -> _Array:
        """See `Part.moments`: Gauss-Legendre in t = until v^4, which takes the logarithm at 0 away."""
        nodes, weights = _GAUSS(40)
        nodes, weights = (nodes + 1) / 2, weights / 2
        until = np.minimum(self.until, _LONGEST_TIME)
        total = np.zeros(order)
        for here in blocks(len(until), len(nodes)):
            time = until[here, None] * nodes**4
            score = score_of(np.maximum(self.mean[here, None] * time, NOTHING))
            mass = (self.weight * until)[here, None] * np.exp(-time) * (4 * nodes**3 * weights)
            total += powers_summed(mass, score, order)
        return total

    def spread(self) -> Early:
        """See `Part.spread`."""
        return Early(*_alike(*self))

    def cdf(self, e: _Array) -> _Array:
        """See `Sums.cdf`."""
        return -np.expm1(-np.minimum(e[:, None] / self.mean, self.until))

    def density(self, e: _Array) -> _Array:
        """See `Sums.density`."""
        time = e[:, None] / self.mean
        return np.where(time < self.until, np.exp(-time) / self.mean, 0.0)


class _Rejected(NamedTuple):
    """Rejected drafts j, and what may replace them, k.

    Attributes:
        drawn: Q_j of the over-drafted tokens, [j].
        rejected: 1 - a_j, their probability of rejection, [j].
        under: Q_k of the tokens with P_k > Q_k, [k].
        residual: r_k, [k].
    """

    drawn: _Array
    rejected: _Array
    under: _Array
    residual: _Array

    @classmethod
    def of(cls, p: _Array, q: _Array, emitted: _Array) -> Self | None:
        """Of replacements within `emitted`, [n]; None if there are none, as where P = Q."""
        over, under = p < q, p > q
        if not over.any() or not (under & emitted).any():
            return None
        mass = p[under] - q[under]
        kept, rest = emitted[under], mass / mass.sum()
        return cls(q[over], (q[over] - p[over]) / q[over], q[under][kept], rest[kept])

    def grouped(self) -> tuple[_Array, _Array]:
        """Weights of rejection and 1 - a: of every draft, or of groups with about the same weight each."""
        weight = self.drawn * self.rejected
        if len(weight) <= _GROUPS:
            return weight, self.rejected
        order = np.argsort(self.rejected)
        share = np.cumsum(weight[order])
        group = np.minimum((share - weight[order] / 2) / share[-1] * _GROUPS, _GROUPS - 1).astype(int)
        mass = np.bincount(group, weight[order], _GROUPS)
        rejected = np.bincount(group, (weight * self.rejected)[order], _GROUPS)
        return mass[mass > 0], rejected[mass > 0] / mass[mass > 0]


class JointReplacement(_Rejected):
    """Replacements of the joint race: E_k = M (a_j Q_k + (1 - a_j) r_k) + X Q_k."""

    def moments(self, order: int) -> _Array:
        """See `Part.moments`.

        The sum over k depends on a_j alone: with more drafts than nodes it is interpolated, times 1 - a.
        """
        if len(self.drawn) <= len(chebyshev().rejected):
            return self._inner(self.rejected, order) @ self.drawn
        weights = node_weights(self.drawn, self.rejected)
        return self._inner(chebyshev().rejected, order) @ weights

    def _inner(self, rejected: _Array, order: int) -> _Array:
        """(1 - a) sum_k r_k E s^i of means a Q_k + (1 - a) r_k and Q_k, for every a: [order, a]."""
        q, r = self.under, self.residual
        apart, most = r - q, np.maximum(r, q)
        near = np.abs(apart) <= _NEAR * most
        total = np.zeros((order, len(rejected)))
        points, weights = _GAUSS(2)
        for here in blocks(int(np.count_nonzero(near)), 2 * len(rejected)):
            q_here, r_here, apart_here = q[near][here], r[near][here], apart[near][here]
            way = rejected[:, None, None] * (points[:, None] + 1) / 2
            total += rejected * (
                scaled_score_slopes(q_here + way * apart_here, order) @ r_here @ (weights / 2)
            )
        few = ~near & (most >= TINY)
        share = r[few] / apart[few]
        moments = scaled_score_moments(q[few] + rejected[:, None] * apart[few], order)
        total += (moments - scaled_score_moments(q[few], order)[:, None]) @ share
        many = ~near & (most < TINY)
        q, apart, share = q[many], apart[many], r[many] / apart[many]
        least = tiny_scaled_moments(q, order) @ share
        for i, u in enumerate(rejected):
            total[:, i] += tiny_scaled_moments(q + u * apart, order) @ share - least
        return total

    def spread(self) -> Sums:
        """See `Part.spread`: an array of j, or groups of them, times k."""
        weight, rejected = self.grouped()
        mass, under, residual = _alike(self.residual, self.under, self.residual)
        u = rejected[:, None]
        first = (1 - u) * under + u * residual
        second = np.broadcast_to(under, first.shape)
        return Sums.of((weight[:, None] * mass).ravel(), first.ravel(), second.ravel()).spread()


class LateReplacement(_Rejected):
    """Replacements of one race: E_k = t Q_k + m r_k where t > tau_j = -log(1 - a_j)."""

    def moments(self, order: int) -> _Array:
        """See `Part.moments`.

        An integral over y = 1 - exp(-t) of P(rejected | y), a step function, times the mean over k given t,
        a smooth one, which is interpolated and integrated from each a_j to 1.
        """
        nodes = chebyshev()
        q, r = self.under, self.residual
        tiny = np.maximum(q, r) < TINY
        total = tiny_shifted_sums(q[tiny], r[tiny], order)
        for i, time in enumerate(-np.log(nodes.rejected)):
            total[:, i] += shifted_moments(time * q[~tiny], r[~tiny], order) @ r[~tiny]
        return total @ (tail_weights(self.drawn, self.rejected) * nodes.slope)

    def spread(self) -> Sums:
        """See `Part.spread`: as t - tau_j is Exp(1) again, a sum shifted by tau_j Q_k."""
        weight, rejected = self.grouped()
        mass, under, residual = _alike(self.residual, self.under, self.residual)
        shift = -np.log(rejected)[:, None] * under
        weights = (weight[:, None] * mass).ravel()
        first, second = (np.broadcast_to(mean, shift.shape).ravel() for mean in (under, residual))
        return Sums(weights, first, second, shift.ravel()).spread()


class BothStreams(NamedTuple):
    """The sum of the scores under DRAFT and TARGET, independent given which token was emitted and how."""

    draft: Sums
    target: Sums

    def moments(self, order: int) -> _Array:
        """See `Part.moments`."""
        draft = sum_score_moments(self.draft.first, self.draft.second, order)
        target = sum_score_moments(self.target.first, self.target.second, order)
        powers = [draft[0] + target[0]]
        if order == 2:
            powers.append(draft[1] + 2 * draft[0] * target[0] + target[1])
        return np.array(powers) @ self.draft.weight

    def alike(self) -> BothStreams:
        """With components put together as by `Part.spread`."""
        draft, target = self.draft, self.target
        mass, *means = _alike(draft.weight, draft.first, draft.second, target.first, target.second)
        return BothStreams(Sums.of(mass, means[0], means[1]), Sums.of(mass, means[2], means[3]))

    def spread(self) -> Sums:
        """See `Part.spread`."""
        raise ValueError(
            "the sum over both streams has no closed tail; pass stream=Stream.DRAFT or Stream.TARGET"
        )
