"""What a detector with the key alone reads of Gumbel-max under a method: exact scores of the emitted token.

The score is s = -log(1 - U) with U = exp(-E), E the race's number at the emitted token. For every method of
one draft token E is a mixture of sums m_1 X + m_2 Y of independent Exp(1) variables; one race cuts some of
them off. With S(m) the mean score of m X, that of m_1 X + m_2 Y is
(m_1 S(m_1) - m_2 S(m_2)) / (m_1 - m_2). Derivation: docs/theory/race-scores.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from scipy import fft, interpolate, special

from tradeoff.decoders import sum_score_moments
from tradeoff.detection.race_parts import BothStreams, Early, JointReplacement, LateReplacement, Part, Sums
from tradeoff.detection.score_moments import blocks, score_of
from tradeoff.detection.tails import LatticeSum
from tradeoff.keyed import Stream
from tradeoff.laws import distribution_pair

__all__ = [
    "RaceScoreLaw",
    "expected_race_score",
    "hypoexponential_score",
    "predicted_power",
    "race_score_law",
    "race_score_variance",
]

#: Of scores in the law of a sum: the highest, with probability below 1e-15 (means above 1e-9), and points.
_HIGHEST, _POINTS = 56.0, 2048
#: Tails below count as this one.
_LEAST = 1e-300

_Array = np.ndarray


def hypoexponential_score(first: _Array | float, second: _Array | float) -> _Array:
    """Mean of -log(1 - exp(-E)) for E = first X + second Y, X and Y independent Exp(1).

    S(m) = digamma(1 + 1/m) + gamma where one mean is 0, in general the divided difference of m S(m).

    Args:
        first, second: means in [0, 1] (of larger ones the score, then small, loses digits), broadcast.

    Returns:
        [...]; relative error below 1e-10.

    Raises:
        ValueError: for a negative mean, or where both are 0, which makes the score infinite.
    """
    first, second = np.broadcast_arrays(np.asarray(first, float), np.asarray(second, float))
    if not ((first >= 0) & (second >= 0) & (first + second > 0)).all():
        raise ValueError("first and second must be means >= 0, one of them above 0; pass probabilities")
    return sum_score_moments(first.ravel(), second.ravel(), 1)[0].reshape(first.shape)


def expected_race_score(
    method: str, p: _Array, q: _Array | None = None, stream: Stream | None = None
) -> _Array:
    """Mean score at the emitted token of a position with one draft token.

    Args:
        method: name of a method of Gumbel-max without a tree, such as "joint-race".
        p, q: target and draft laws [..., n]; `basic`, which drafts nothing, does without q.
        stream: whose number is read; None for what the default detector reads: the one stream that draws
            tokens, or the sum over both of `two-keys` and `algorithm-1`.

    Returns:
        [...] NumPy float64. Without a watermark it is 1, or 2 for the sum over both streams. Right to 1e-8.

    Raises:
        ValueError: for an unknown method, a stream that it does not read, or missing q.
        DistributionError: for what is no pair of laws.
    """
    return _of_rows(lambda emitted: emitted.moments(1)[0], method, p, q, stream)


def race_score_variance(
    method: str, p: _Array, q: _Array | None = None, stream: Stream | None = None
) -> _Array:
    """Variance of the score at the emitted token; arguments, shapes and errors as `expected_race_score`."""

    def variance(emitted: _Emitted) -> float:
        first, second = emitted.moments(2)
        return second - first**2

    return _of_rows(variance, method, p, q, stream)


def race_score_law(
    method: str, p: _Array, q: _Array | None = None, stream: Stream | None = None
) -> RaceScoreLaw:
    """The law of the score at the emitted token of one position.

    Args:
        method, stream: as of `expected_race_score`.
        p, q: target and draft law, [n].

    Raises:
        ValueError: as `expected_race_score`, and for more than one position.
        DistributionError: likewise.
    """
    make = _made_by(method, stream)
    p, q = _pair(method, p, q)
    if p.ndim != 1:
        raise ValueError(f"p has shape {p.shape}; pass the laws of one position, [n]")
    return RaceScoreLaw(_Emitted(make(*_support(p, q))))


@dataclass(frozen=True)
class _Emitted:
    """The mixture of one position."""

    parts: Sequence[Part]

    def moments(self, order: int) -> _Array:
        """E s^k for k = 1 .. order: [order]."""
        return np.sum([part.moments(order) for part in self.parts], axis=0)


class RaceScoreLaw:
    """The law of the score at the emitted token of one position; `race_score_law` makes it.

    Attributes:
        scores: how many scores it is the sum of: 2 where both streams are read, else 1.
    """

    def __init__(self, emitted: _Emitted):
        self._emitted = emitted
        self.scores = 2 if any(isinstance(part, BothStreams) for part in emitted.parts) else 1

    @cached_property
    def _moments(self) -> _Array:
        return self._emitted.moments(2)

    @property
    def mean(self) -> float:
        """As `expected_race_score`."""
        return float(self._moments[0])

    @property
    def variance(self) -> float:
        """As `race_score_variance`."""
        return float(self._moments[1] - self._moments[0] ** 2)

    @cached_property
    def _spread(self) -> list[Sums | Early]:
        return [part.spread() for part in self._emitted.parts]

    def sf(self, x: _Array | float) -> _Array:
        """P(score >= x): [...] as x.

        Exact to rounding with at most 48 tokens that Q drafts too often; with more, these are put in 48
        groups, which moves it by less than 1e-4.

        Raises:
            ValueError: for the sum over both streams, which has no closed tail.
        """
        x = np.asarray(x, float)
        e = score_of(np.where(x > 0, x, 1.0).ravel())
        return np.where(x > 0, np.minimum(self._mixed(e, "cdf").reshape(x.shape), 1.0), 1.0)

    def density(self, x: _Array | float) -> _Array:
        """Density of the score at x > 0 (without a watermark exp(-x)): [...] as x; see `sf`."""
        x = np.asarray(x, float)
        positive = np.where(x > 0, x, 1.0)
        # |dE/ds| = 1 / (exp(s) - 1), which must not overflow.
        of_race = self._mixed(score_of(positive.ravel()), "density").reshape(x.shape)
        return np.where(x > 0, of_race * np.exp(-positive) / -np.expm1(-positive), 0.0)

    def _mixed(self, e: _Array, what: str) -> _Array:
        total = np.zeros(len(e))
        for part in self._spread:
            for here in blocks(len(part.weight), max(len(e), 1)):
                some = type(part)(*(values[here] for values in part))
                values = some.cdf(e) if what == "cdf" else some.density(e)
                total += values @ some.weight
        return total


def predicted_power(laws: Sequence[RaceScoreLaw], tokens: int, fpr: float = 0.01) -> float:
    """The expected TPR of the default detector on texts of `tokens` scored tokens.

    That is Aaronson's sum, or the sum of both keys where the laws are of both. The positions of a text are
    drawn from `laws` with replacement; texts that differ in entropy want a prediction each, and their mean.

    Args:
        laws: one a position, all of one stream or all of both.
        tokens: at least 1.
        fpr: false-positive rate.

    Raises:
        ValueError: for no laws, laws of both kinds, less than one token, or a rate outside (0, 1).
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr={fpr} must be between 0 and 1; 0.01 is usual")
    if tokens < 1:
        raise ValueError(f"tokens={tokens} must be at least 1")
    kinds = {law.scores for law in laws}
    if len(kinds) != 1:
        raise ValueError("laws must be those of at least one position, all of one stream or all of both")
    scores = kinds.pop()
    mass = _both_masses(laws) if scores == 2 else _masses(laws)
    mean = float(np.mean([law.mean for law in laws]))
    variance = float(np.mean([law.variance + (law.mean - mean) ** 2 for law in laws]))
    threshold = float(special.gammainccinv(scores * tokens, fpr))
    return math.exp(_fitted(mass, mean, variance).log_sf(threshold, tokens))


_Parts = Callable[[_Array, _Array], Sequence[Part]]


def _support(p: _Array, q: _Array) -> tuple[_Array, _Array]:
    """Without the tokens that neither law has."""
    kept = (p > 0) | (q > 0)
    return p[kept], q[kept]


def _no_mark(p: _Array, q: _Array) -> list[Sums]:
    return [Sums.of(np.ones(1), np.ones(1))]


def _target_race(p: _Array, q: _Array) -> list[Sums]:
    return [Sums.of(p, p)]


def _single_key(p: _Array, q: _Array) -> list[Sums]:
    left = np.maximum(p - q, 0.0)
    accepted = Sums.of(np.minimum(p, q), q)
    return [accepted, Sums.of(left, q, left / (left.sum() or 1.0))]


def _one_race(p: _Array, q: _Array) -> list[Part]:
    rejected = LateReplacement.of(p, q)
    surely = np.where(p >= q, q, 0.0)
    if rejected is None:
        return [Sums.of(surely, q)]
    # Where P has nothing nothing is accepted.
    over = (p < q) & (p > 0)
    until = np.log(q[over] / (q[over] - p[over]))
    return [Sums.of(surely, q), Early(q[over], q[over], until), rejected]


def _joint_race(p: _Array, q: _Array) -> list[Part]:
    accepted = np.minimum(p, q)
    rejected = JointReplacement.of(p, q)
    atoms: list[Part] = [Sums.of(accepted, accepted)]
    return atoms if rejected is None else [*atoms, rejected]


def _of_draft(p: _Array, q: _Array) -> list[Sums]:
    # A replacement is not the draft, so that it has lost the draft's race: E_k = t Q_k + Exp(1).
    return [Sums.of(np.minimum(p, q), q), Sums.of(np.maximum(p - q, 0.0), q, 1.0)]


def _of_target(p: _Array, q: _Array) -> list[Sums]:
    left = np.maximum(p - q, 0.0)
    return [Sums.of(np.minimum(p, q), np.ones_like(p)), Sums.of(left, left / (left.sum() or 1.0))]


def _of_both(p: _Array, q: _Array) -> list[BothStreams]:
    return [BothStreams(*pair) for pair in zip(_of_draft(p, q), _of_target(p, q), strict=True)]


_TWO_STREAMS: dict[Stream | None, _Parts] = {
    None: _of_both,
    Stream.DRAFT: _of_draft,
    Stream.TARGET: _of_target,
}
#: By method and stream; None is what the default detector reads.
_MADE: dict[str, dict[Stream | None, _Parts]] = {
    "basic": {None: _target_race, Stream.SHARED: _target_race},
    "standard": {None: _no_mark},
    "keep-strength": {None: _target_race, Stream.SHARED: _target_race},
    "keep-efficiency": {None: _of_draft, Stream.DRAFT: _of_draft},
    "two-keys": _TWO_STREAMS,
    "algorithm-1": _TWO_STREAMS,
    "single-key": {None: _single_key, Stream.SHARED: _single_key},
    "one-race": {None: _one_race, Stream.SHARED: _one_race},
    "joint-race": {None: _joint_race, Stream.SHARED: _joint_race},
}
#: Without a draft law.
_UNDRAFTED = {"basic"}


def _made_by(method: str, stream: Stream | None) -> _Parts:
    if method not in _MADE:
        raise ValueError(f"method={method!r} has no known score law; use one of {', '.join(_MADE)}")
    if stream not in _MADE[method]:
        known = ", ".join(str(one) for one in _MADE[method] if one)
        raise ValueError(
            f"stream={stream!r} draws no token of {method}; use {known or 'none'}, or leave it out"
        )
    return _MADE[method][stream]


def _pair(method: str, p: _Array, q: _Array | None) -> tuple[_Array, _Array]:
    if q is None and method not in _UNDRAFTED:
        raise ValueError(f"q is missing; {method} drafts, so pass the draft laws [..., n]")
    p, q = distribution_pair(np.asarray(p, float), np.asarray(p if q is None else q, float))
    shape = np.broadcast_shapes(p.shape, q.shape)
    return np.broadcast_to(p, shape), np.broadcast_to(q, shape)


def _of_rows(
    take: Callable[[_Emitted], float], method: str, p: _Array, q: _Array | None, stream: Stream | None
) -> _Array:
    make = _made_by(method, stream)
    p, q = _pair(method, p, q)
    batch, n = p.shape[:-1], p.shape[-1]
    # A row each, as every one has a support of its own.
    rows = zip(p.reshape(-1, n), q.reshape(-1, n), strict=True)
    return np.array([take(_Emitted(make(*_support(*row)))) for row in rows], float).reshape(batch)


def _middles() -> _Array:
    """Of the points that scores are rounded to: [_POINTS - 1]."""
    return (np.arange(_POINTS - 1) + 0.5) * (_HIGHEST / (_POINTS - 1))


def _masses(laws: Sequence[RaceScoreLaw]) -> _Array:
    """The mass of what is rounded to each point, of a law drawn from `laws`: [_POINTS]."""
    # log P(score >= x) is smooth: fewer points do, close together at 0.
    few = 0.05 * np.expm1(np.linspace(0.0, math.log1p(_HIGHEST / 0.05), 400))
    tail = np.mean([law.sf(few) for law in laws], axis=0)
    sf = np.exp(interpolate.PchipInterpolator(few, np.log(np.maximum(tail, _LEAST)))(_middles()))
    return np.maximum(-np.diff(sf, prepend=1.0, append=0.0), 0.0)


def _both_masses(laws: Sequence[RaceScoreLaw]) -> _Array:
    """Likewise of the sum of two scores, convolved for every component: [2 _POINTS - 1]."""
    e = score_of(_middles())
    size = fft.next_fast_len(2 * _POINTS - 1, real=True)
    spectrum = np.zeros(size // 2 + 1, complex)

    def spectra(sums: Sums, here: slice) -> _Array:
        sf = Sums(*(values[here] for values in sums)).cdf(e).T
        return fft.rfft(-np.diff(sf, prepend=1.0, append=0.0), size)

    for law in laws:
        for part in cast("Sequence[BothStreams]", law._emitted.parts):
            for here in blocks(len(part.draft.weight), 8 * _POINTS):
                product = spectra(part.draft, here) * spectra(part.target, here)
                spectrum += part.draft.weight[here] @ product
    mass = fft.irfft(spectrum, size)[: 2 * _POINTS - 1]
    return np.maximum(mass, 0.0)


def _fitted(mass: _Array, mean: float, variance: float) -> LatticeSum:
    """A lattice law, shifted and shrunk to have its mean and variance as known in closed form."""
    mass = mass / mass.sum()
    lattice = np.arange(len(mass)) * (_HIGHEST / (_POINTS - 1))
    rounded = mass @ lattice
    scale = math.sqrt(variance / (mass @ (lattice - rounded) ** 2))
    return LatticeSum(mean + (lattice - rounded) * scale, mass, len(mass))
