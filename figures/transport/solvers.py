"""Reference values of optimal transport as solved: SimplexWater and HeavyWater for three laws.

The printed values of HeavyWater are of one random table of scores each. All that can be asked of them is to
lie where single tables do; what the solvers compute is held to linear programmes, formulas and bounds table
by table.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

from figures.reference import Reference
from tradeoff.decoders import SimplexScores
from tradeoff.laws import entropy
from tradeoff.optimal_transport import (
    LAWS,
    SCORE_LAWS,
    Exact,
    RandomScores,
    Sinkhorn,
    detection_gap,
    gumbel_sampling_gap,
    plan_strength,
    seeded_table,
)

__all__ = ["MANY_TOKENS", "solver_rows"]

_ZIPF = 1 / np.arange(1, 16)
#: One probable token, and 15 others.
MANY_TOKENS = np.r_[0.9, 0.1 * _ZIPF / _ZIPF.sum()]
#: Three laws: the gap of Gumbel sampling; SimplexWater's gap and share of H(P), exact and under Sinkhorn; the
#: same of HeavyWater, for one table of scores.
_SOLVED = {
    "(.9, .1)": (np.array([0.9, 0.1]), 0.255, (0.200, 0.97, 0.200, 0.48), (0.247, 1.0, 0.185, 0.34)),
    "(.99, .01)": (np.array([0.99, 0.01]), 0.048, (0.020, 0.81, 0.020, 0.25), (0.063, 0.99, 0.055, 0.62)),
    ".9 + .1 Zipf over 15": (
        MANY_TOKENS,
        0.482,
        (0.200, 0.81, 0.200, 0.26),
        (0.656, 0.99, 0.454, 0.39),
    ),
}
_WORDS = ("exact gap", "exact WS/H", "Sinkhorn gap", "Sinkhorn WS/H")
_SIMPLEX = SimplexScores(6)
_HEAVY = RandomScores("lognormal", 1024)
_TABLES = 40
#: Values of side information where a general linear programme is solved as well, and how many tables.
_SMALL, _FEW = 64, 4
#: For more than two tokens SimplexWater's exact plans are many, of one gap but of different strength: in the
#: third law .78 to .86 H(P), depending on the solver and on the order of the tokens.
_OPTIMAL_PLANS = 0.05
#: Single tables differ by up to a third: more, as a share of the value, is never allowed.
_WIDEST = 1 / 3
#: What Sinkhorn's tolerance, an error of a marginal, leaves in the gap.
_STOPPED = 2e-4


def solver_rows(rng: np.random.Generator) -> list[Reference]:
    """Gaps and strengths of solved transport.

    Args:
        rng: draws the keys of HeavyWater's tables.
    """
    seeds = rng.integers(0, 1 << 62, size=_TABLES).tolist()
    rows = []
    for name, (p, sampling, simplex, heavy) in _SOLVED.items():
        rows.append(Reference(f"P = {name}: Gumbel sampling", float(gumbel_sampling_gap(p)), sampling, 5e-4))
        rows += _simplex_rows(p, simplex)
        tables = [_HEAVY.rows(np.arange(len(p)), seeded_table(seed)) for seed in seeds]
        values = np.array([_solved(p, table) for table in tables])
        rows += [*_printed_rows(values, heavy), *_bound_rows(p, values, seeds)]
        if len(p) == 2:
            rows += _two_token_rows(p, tables, values, seeds)
    return rows


def _simplex_rows(p: np.ndarray, printed: tuple[float, ...]) -> list[Reference]:
    values = _solved(p, _SIMPLEX.rows(np.arange(len(p)), seeded_table(0)))
    rows = []
    for what, value, reference in zip(_WORDS, values, printed, strict=True):
        rounding = _rounding(what)
        if len(p) > 2 and what == "exact WS/H":
            rounding = _OPTIMAL_PLANS
        rows.append(Reference(f"  SimplexWater, {what}", value, reference, rounding))
    return rows


def _printed_rows(values: np.ndarray, printed: tuple[float, ...]) -> list[Reference]:
    """One printed table against many: within 3 standard deviations of single tables."""
    rows = []
    for what, found, reference in zip(_WORDS, values.T, printed, strict=True):
        mean, spread = float(found.mean()), float(found.std(ddof=1))
        error = spread / math.sqrt(len(found))
        deviation, rounding = math.hypot(spread, error), _rounding(what)
        # What rounding explains is no deviation.
        off = math.copysign(max(0.0, abs(reference - mean) - rounding), reference - mean)
        z = round(off / deviation, 1) + 0.0
        title = f"  HeavyWater, {what}; one table against {len(found)}: z = {z:.1f}"
        tolerance = min(3 * deviation + rounding, _WIDEST * reference)
        rows.append(Reference(title, mean, reference, tolerance, error))
    return rows


def _bound_rows(p: np.ndarray, values: np.ndarray, seeds: list[int]) -> list[Reference]:
    """What holds for every table."""
    scores = RandomScores(_HEAVY.law, _SMALL)
    few = [scores.rows(np.arange(len(p)), seeded_table(seed)) for seed in seeds[:_FEW]]
    off = max(abs(detection_gap(p, f, Exact()(p, f)) - _programme(p, f)) for f in few)
    exact_gap, _, entropic_gap, _ = values.T
    strength = values[:, 1::2]
    beyond = max(0.0, float(-strength.min()), float(strength.max()) - 1)
    above = max(0.0, float((entropic_gap - exact_gap).max()))
    return [
        Reference(f"  HeavyWater, exact gap - HiGHS's, {_FEW} tables, k = {_SMALL}", off, 0, 1e-9),
        Reference(f"  HeavyWater, Sinkhorn gap above the exact one, {len(values)} tables", above, 0, 1e-9),
        Reference(f"  HeavyWater, WS/H outside 0 .. 1, {len(values)} tables", beyond, 0, 1e-9),
    ]


def _two_token_rows(
    p: np.ndarray, tables: list[np.ndarray], values: np.ndarray, seeds: list[int]
) -> list[Reference]:
    """Of two tokens all is known: the lighter one takes the largest differences, sharply or by a logistic.

    D_k, with scores as drawn, is at most D in the mean: it is the least of linear functions of the law of the
    scores. Scores standardised by the deviation of so few heavy-tailed draws may well exceed it.
    """
    sharp, soft = np.array([_two_tokens(p, table) for table in tables]).T
    raw = [
        SCORE_LAWS[_HEAVY.law](seeded_table(seed).score_uniforms(np.arange(2), _HEAVY.k)) for seed in seeds
    ]
    law = LAWS[_HEAVY.law]
    gaps = np.array([detection_gap(p, table, Exact()(p, table)) for table in raw]) / law.deviation
    error = float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    above = max(0.0, float(gaps.mean()) - law.gap(float(p.max())))
    many = f"{len(tables)} tables"
    return [
        Reference(
            f"  HeavyWater, exact gap - largest differences', {many}", _largest(values[:, 0] - sharp), 0, 1e-9
        ),
        Reference(
            f"  HeavyWater, Sinkhorn gap - logistic's, {many}", _largest(values[:, 2] - soft), 0, _STOPPED
        ),
        Reference(f"  HeavyWater, mean exact gap above D, unscaled, {many}", above, 0, 4 * error, error),
    ]


def _two_tokens(p: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Gaps in deviations, exact and entropic, of a law of two tokens, the first the heavier."""
    k, light = scores.shape[1], float(p[1])
    difference = scores[1] - scores[0]
    difference -= difference.mean()
    taken = np.clip(light * k - np.arange(k), 0, 1)
    sharp = float(taken @ np.sort(difference)[::-1]) / k
    width = Sinkhorn().regularisation * float(np.ptp(scores))

    def excess(price: float) -> float:
        return float(special.expit((difference - price) / width).mean()) - light

    price = optimize.brentq(excess, -100 * width, float(difference.max()) + 100 * width)
    soft = float(special.expit((difference - price) / width) @ difference) / k
    deviation = float(scores.std(axis=-1).mean())
    return sharp / deviation, soft / deviation


def _programme(p: np.ndarray, scores: np.ndarray) -> float:
    """The exact gap by a general linear programme, of the joint law of token and side information."""
    m, k = scores.shape
    marginals = np.concatenate([np.kron(np.eye(m), np.ones(k)), np.kron(np.ones(m), np.eye(k))])
    uniform = np.full(k, 1 / k)
    found = optimize.linprog(-scores.ravel(), A_eq=marginals, b_eq=np.r_[p, uniform], method="highs")
    return float(-found.fun - p @ scores @ uniform)


def _solved(p: np.ndarray, scores: np.ndarray) -> tuple[float, float, float, float]:
    """Gap in deviations and WS/H(P), exact and under Sinkhorn."""
    deviation, h = float(scores.std(axis=-1).mean()), float(entropy(p))
    exact, entropic = Exact()(p, scores), Sinkhorn()(p, scores)
    return (
        detection_gap(p, scores, exact) / deviation,
        plan_strength(p, exact) / h,
        detection_gap(p, scores, entropic) / deviation,
        plan_strength(p, entropic) / h,
    )


def _rounding(what: str) -> float:
    """Half a unit of the last printed digit."""
    return 5e-3 if "WS" in what else 5e-4


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())
