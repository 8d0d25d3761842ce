"""What a detector with the key alone reads of Gumbel-max under a method: exact scores of the emitted token.

The score is s = -log(1 - U) with U = exp(-E), E the race's number at the emitted token. For every method of
one draft token E is a mixture of sums m_1 X + m_2 Y of independent Exp(1) variables; one race cuts some of
them off. With S(m) the mean score of m X, that of m_1 X + m_2 Y is
(m_1 S(m_1) - m_2 S(m_2)) / (m_1 - m_2). Derivation: docs/theory/race-scores.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft, interpolate

from tradeoff.decoders import sum_score_moments
from tradeoff.detection.race_parts import BothStreams, Early, JointReplacement, LateReplacement, Part, Sums
from tradeoff.detection.score_moments import blocks, score_of
from tradeoff.detection.tails import SCORE_POINTS, SCORE_RANGE, LatticeSum, score_lattice, score_middles
from tradeoff.keyed import Stream
from tradeoff.laws import distribution_pair

__all__ = [
    "RaceScoreLaw",
    "expected_race_score",
    "hypoexponential_score",
    "mixed_score_law",
    "race_score_law",
    "race_score_variance",
]

#: Length of the Fourier transform of the law of two scores.
_SIZE = fft.next_fast_len(2 * SCORE_POINTS - 1, real=True)
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
    method: str,
    p: _Array,
    q: _Array | None = None,
    stream: Stream | None = None,
    token: int | None = None,
) -> RaceScoreLaw:
    """The law of the score at the emitted token of one position.

    Args:
        method, stream: as of `expected_race_score`.
        p, q: target and draft law, [n].
        token: given that it is emitted; the law of whichever token is, if left out.

    Raises:
        ValueError: as `expected_race_score`, for more than one position, and for a token without probability.
        DistributionError: likewise.
    """
    make = _made_by(method, stream)
    p, q = _pair(method, p, q)
    if p.ndim != 1:
        raise ValueError(f"p has shape {p.shape}; pass the laws of one position, [n]")
    if token is None:
        return RaceScoreLaw(_Emitted(make(*_support(p, q))))
    if not 0 <= token < len(p) or not p[token] > 0:
        raise ValueError(f"token={token} has no probability under p; pass one that can be emitted")
    return RaceScoreLaw(_Emitted(make(*_support(p, q, token)), float(p[token])))


@dataclass(frozen=True)
class _Emitted:
    """The mixture of one position, with the sum of its weights."""

    parts: Sequence[Part]
    total: float = 1.0

    def moments(self, order: int) -> _Array:
        """E s^k for k = 1 .. order: [order]."""
        return np.sum([part.moments(order) for part in self.parts], axis=0) / self.total


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

        Exact to rounding with at most 48 tokens that Q drafts too often and 256 sums of exponentials in all;
        of more, those with about the same means are put together, which moves it by less than 2e-4.

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

    @cached_property
    def tail(self) -> _Array:
        """P(score >= x) at the few scores that tails are told by; a mixture asks for it at every length."""
        return self.sf(_few())

    @cached_property
    def spectrum(self) -> _Array:
        """The Fourier transform of the law of the sum over both streams, on the points of `score_middles`."""
        total = np.zeros(_SIZE // 2 + 1, complex)
        for part in self._emitted.parts:
            assert isinstance(part, BothStreams)
            draft, target = part.alike()
            for here in blocks(len(draft.weight), 8 * SCORE_POINTS):
                one, other = (Sums(*(values[here] for values in sums)) for sums in (draft, target))
                total += one.weight @ (_spectra(one) * _spectra(other))
        return total / self._emitted.total

    def _mixed(self, e: _Array, what: str) -> _Array:
        total = np.zeros(len(e))
        for part in self._spread:
            for here in blocks(len(part.weight), max(len(e), 1)):
                some = type(part)(*(values[here] for values in part))
                values = some.cdf(e) if what == "cdf" else some.density(e)
                total += values @ some.weight
        return total / self._emitted.total


def mixed_score_law(laws: Iterable[RaceScoreLaw]) -> tuple[LatticeSum, int]:
    """The law of the score of a position that is one of several, as `LatticeSum`, and its `scores`.

    Args:
        laws: one a position, all of one stream or all of both; taken one at a time.

    Raises:
        ValueError: for no laws, or laws of both kinds.
    """
    kinds: set[int] = set()
    moments: list[tuple[float, float]] = []
    total: _Array = np.zeros(1)
    for law in laws:
        kinds.add(law.scores)
        if len(kinds) > 1:
            break
        moments.append((law.mean, law.variance))
        total = total + (law.spectrum if law.scores == 2 else law.tail)
    if len(kinds) != 1:
        raise ValueError("laws must be those of at least one position, all of one stream or all of both")
    scores = kinds.pop()
    mass = _both_masses(total) if scores == 2 else _masses(total / len(moments))
    means, variances = np.array(moments).T
    return score_lattice(mass, means.mean(), variances.mean() + means.var()), scores


#: From P, Q and a mask of tokens: the parts in which one of those is emitted.
_Parts = Callable[[_Array, _Array, _Array], Sequence[Part]]


def _support(p: _Array, q: _Array, token: int | None = None) -> tuple[_Array, _Array, _Array]:
    """Without the tokens that neither law has; and the mask of `token`, or of all."""
    kept = (p > 0) | (q > 0)
    emitted = np.ones(len(p), bool) if token is None else np.arange(len(p)) == token
    return p[kept], q[kept], emitted[kept]


def _no_mark(p: _Array, q: _Array, emitted: _Array) -> list[Sums]:
    return [Sums.of(np.array([p @ emitted]), np.ones(1))]


def _target_race(p: _Array, q: _Array, emitted: _Array) -> list[Sums]:
    return [Sums.of(p * emitted, p)]


def _single_key(p: _Array, q: _Array, emitted: _Array) -> list[Sums]:
    left = np.maximum(p - q, 0.0)
    accepted = Sums.of(np.minimum(p, q) * emitted, q)
    return [accepted, Sums.of(left * emitted, q, left / (left.sum() or 1.0))]


def _one_race(p: _Array, q: _Array, emitted: _Array) -> list[Part]:
    surely = Sums.of(np.where(p >= q, q, 0.0) * emitted, q)
    # Where P has nothing nothing is accepted; if P and Q differ by rounding alone, nothing is rejected.
    over = (p < q) & (p > 0) & emitted & bool((p > q).any())
    until = np.log(q[over] / (q[over] - p[over]))
    rejected = LateReplacement.of(p, q, emitted)
    cut = [Early(q[over], q[over], until)] if over.any() else []
    return [surely, *cut, *([] if rejected is None else [rejected])]


def _joint_race(p: _Array, q: _Array, emitted: _Array) -> list[Part]:
    least = np.minimum(p, q)
    accepted, rejected = Sums.of(least * emitted, least), JointReplacement.of(p, q, emitted)
    return [accepted] if rejected is None else [accepted, rejected]


def _of_draft(p: _Array, q: _Array, emitted: _Array) -> list[Sums]:
    # A replacement is not the draft, so that it has lost the draft's race: E_k = t Q_k + Exp(1).
    return [Sums.of(np.minimum(p, q) * emitted, q), Sums.of(np.maximum(p - q, 0.0) * emitted, q, 1.0)]


def _of_target(p: _Array, q: _Array, emitted: _Array) -> list[Sums]:
    left = np.maximum(p - q, 0.0)
    accepted = Sums.of(np.minimum(p, q) * emitted, np.ones_like(p))
    return [accepted, Sums.of(left * emitted, left / (left.sum() or 1.0))]


def _of_both(p: _Array, q: _Array, emitted: _Array) -> list[BothStreams]:
    made = zip(_of_draft(p, q, emitted), _of_target(p, q, emitted), strict=True)
    return [BothStreams(*pair) for pair in made]


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
    "target-only": {None: _of_target, Stream.SHARED: _of_target},
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


def _few() -> _Array:
    """Scores at which tails are taken, close together at 0: log P(score >= x) is smooth between them."""
    return 0.05 * np.expm1(np.linspace(0.0, math.log1p(SCORE_RANGE / 0.05), 400))


def _masses(tail: _Array) -> _Array:
    """The mass of what is rounded to each point, from tails at `_few`: [SCORE_POINTS]."""
    smooth = interpolate.PchipInterpolator(_few(), np.log(np.maximum(tail, _LEAST)))
    return np.maximum(-np.diff(np.exp(smooth(score_middles())), prepend=1.0, append=0.0), 0.0)


def _spectra(sums: Sums) -> _Array:
    """Fourier transforms of scores that are rounded to the points, of every component: [components, size]."""
    sf = sums.cdf(score_of(score_middles())).T
    return fft.rfft(-np.diff(sf, prepend=1.0, append=0.0), _SIZE)


def _both_masses(spectrum: _Array) -> _Array:
    """Likewise from `RaceScoreLaw.spectrum`: [2 SCORE_POINTS - 1]."""
    return np.maximum(fft.irfft(spectrum, _SIZE)[: 2 * SCORE_POINTS - 1], 0.0)
