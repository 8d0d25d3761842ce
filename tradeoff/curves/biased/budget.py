"""Definition 3.2 with a budget of distortion: the most strength or efficiency of all schemes, as a convex
programme.

Let a scheme draft tokens of law T and emit tokens of law R, with whatever key, coins and dependence. It
accepts with probability at most sum min(R, T), and its strength is at most -sum R log P; the joint race
between T and R reaches both (docs/theory/biased.md). So Definition 3.2, with D(R, P) <= budget and D(T, Q) <=
draft budget for D either KL or TV, is the concave programme

    maximise   - sum_w R_w log P_w                (or the efficiency, under a bound on this)
    subject to sum_w min(R_w, T_w) >= efficiency,   D(R, P) <= budget,   D(T, Q) <= draft budget,

over laws R and T without tokens that P and Q rule out. Without budgets R = P and T = Q: strength Ent(P) at
every efficiency up to 1 - TV(Q, P), the optimum of unbiased schemes (Theorem 4.1).

Every answer comes with an upper bound by weak duality, in closed form from multipliers, of whatever quality
these are.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from tradeoff._arrays import to_numpy
from tradeoff.curves.biased.decomposition import MEASURES
from tradeoff.errors import SolverError
from tradeoff.laws import distribution_pair, kl_divergence, overlap, total_variation

__all__ = ["BudgetedPoint", "most_efficient_within", "strongest_within"]

#: Of the solver; it cannot always reach the first.
_TOLERANCES = (1e-10, 1e-9, 1e-8)
#: What value and bound may differ by, relative to 1 + the value.
_LARGEST_GAP = 1e-5
#: An efficiency or strength that is missed by less is met.
_MET = 1e-7


@dataclass(frozen=True, eq=False)
class BudgetedPoint:
    """The best scheme within budgets, and a certificate.

    Attributes:
        target: R, the law of what is emitted, [n].
        draft: T, the law of drafts, [n].
        efficiency: sum min(R, T).
        strength: -sum R log P, in nats.
        distortion, draft_distortion: D(R, P) and D(T, Q), which keep to the budgets to 1e-7.
        bound: what no scheme within the budgets exceeds: strength, or efficiency where that was asked for.
    """

    target: np.ndarray
    draft: np.ndarray
    efficiency: float
    strength: float
    distortion: float
    draft_distortion: float
    bound: float


class _Problem(NamedTuple):
    """P and Q [n] with their budgets."""

    p: np.ndarray
    q: np.ndarray
    budget: float
    draft_budget: float
    measure: str

    @property
    def surprise(self) -> np.ndarray:
        """-log P, 0 where P is 0: nothing is emitted there."""
        return -np.log(np.where(self.p > 0, self.p, 1.0))


def strongest_within(
    p: Any, q: Any, efficiency: float, budget: float, *, draft_budget: float = 0.0, measure: str = "kl"
) -> BudgetedPoint:
    """The largest strength of any scheme of some efficiency, within budgets of distortion.

    Args:
        p, q: target and draft [n], n up to some thousands.
        efficiency: the requirement, at least 0.
        budget: of KL(R || P) in nats, or of TV(R, P), where R is the law of emitted tokens in the mean.
        draft_budget: the same for drafts against Q; 0 for drafts of law Q in the mean.
        measure: "kl" or "tv".

    Raises:
        DistributionError: if p or q is not a distribution, or they differ in length.
        ValueError: for another measure, a budget below 0, or an efficiency that none reaches within the
            budgets.
        SolverError: if the solver fails, or its answer is not certified.
    """
    problem = _checked(p, q, budget, draft_budget, measure)
    if not efficiency >= 0:
        raise ValueError(f"efficiency={efficiency!r} must be at least 0")
    fastest = _solved(problem, "efficiency", 0.0)
    if efficiency > fastest.efficiency + _MET:
        raise ValueError(
            f"efficiency={efficiency:g} is more than any scheme reaches within these budgets, "
            f"{fastest.bound:.10g}; ask for less, or allow more distortion"
        )
    if problem.budget == 0:
        return _point(problem, problem.p, fastest.draft, float(problem.surprise @ problem.p))
    return _solved(problem, "strength", min(efficiency, fastest.efficiency))


def most_efficient_within(
    p: Any, q: Any, strength: float, budget: float, *, draft_budget: float = 0.0, measure: str = "kl"
) -> BudgetedPoint:
    """The largest efficiency of any scheme of some strength, within budgets of distortion.

    Args:
        p, q, budget, draft_budget, measure: as of `strongest_within`.
        strength: the requirement in nats, at least 0.

    Raises:
        As `strongest_within`, for a strength that none reaches.
    """
    problem = _checked(p, q, budget, draft_budget, measure)
    if not strength >= 0:
        raise ValueError(f"strength={strength!r} must be at least 0 nats")
    most = (
        float(problem.surprise @ problem.p)
        if problem.budget == 0
        else _solved(problem, "strength", 0.0).strength
    )
    if strength > most + _MET:
        raise ValueError(
            f"strength={strength:g} is more than any scheme reaches within these budgets, {most:.10g}; ask "
            "for less, or allow more distortion"
        )
    return _solved(problem, "efficiency", min(strength, most))


def _checked(p: Any, q: Any, budget: float, draft_budget: float, measure: str) -> _Problem:
    laws = distribution_pair(p, q)
    p, q = to_numpy(laws[0]), to_numpy(laws[1])
    if p.ndim != 1 or q.ndim != 1:
        raise ValueError(f"P and Q have shapes {p.shape} and {q.shape}; pass one pair of distributions [n]")
    if measure not in MEASURES:
        raise ValueError(f"measure={measure!r} is unknown; use one of {', '.join(MEASURES)}")
    for name, value in (("budget", budget), ("draft_budget", draft_budget)):
        if not 0 <= value < np.inf:
            raise ValueError(f"{name}={value!r} must be a finite number of at least 0")
    return _Problem(p, q, float(budget), float(draft_budget), measure)


def _distance(problem: _Problem, law: np.ndarray, base: np.ndarray) -> float:
    measure = kl_divergence if problem.measure == "kl" else total_variation
    return float(measure(law, base))


def _point(problem: _Problem, target: np.ndarray, draft: np.ndarray, bound: float) -> BudgetedPoint:
    return BudgetedPoint(
        target,
        draft,
        float(overlap(target, draft)),
        float(problem.surprise @ target),
        _distance(problem, target, problem.p),
        _distance(problem, draft, problem.q),
        bound,
    )


def _solved(problem: _Problem, objective: str, requirement: float) -> BudgetedPoint:
    """Maximise "strength" or "efficiency", the other of which is required."""
    if problem.budget == problem.draft_budget == 0:
        return _point(problem, problem.p, problem.q, float(overlap(problem.p, problem.q)))
    # CVXPY takes a second to import; the curves themselves do not need it.
    import cvxpy as cp

    target, target_rules, target_price = _law(problem, problem.p, problem.budget)
    draft, draft_rules, draft_price = _law(problem, problem.q, problem.draft_budget)
    both = cp.Variable(len(problem.p))
    under_target, under_draft = both <= target, both <= draft
    strength, efficiency = problem.surprise @ target, cp.sum(both)
    if objective == "strength":
        wanted, required = strength, efficiency >= requirement
    else:
        wanted, required = efficiency, strength >= requirement
    rules = [under_target, under_draft, *target_rules, *draft_rules]
    # A strength of 0 is always reached, and a constraint on constants has no multiplier.
    needed = objective == "strength" or (requirement > 0 and problem.budget > 0)
    program = cp.Problem(cp.Maximize(wanted), [*rules, required] if needed else rules)
    _run(program, f"the most {objective} within a budget of {problem.budget:g}")
    price = float(required.dual_value) if needed else 0.0
    shares = np.maximum([under_target.dual_value, under_draft.dual_value], 0.0)
    total = shares.sum(axis=0)
    share = np.where(total > 0, shares[0] / np.where(total > 0, total, 1.0), 0.5)
    of_strength, of_efficiency = (1.0, price) if objective == "strength" else (price, 1.0)
    bound = (
        _most(problem, of_strength * problem.surprise + of_efficiency * share, target_price, problem.p, True)
        + _most(problem, of_efficiency * (1 - share), draft_price, problem.q, False)
        - price * requirement
    )
    point = _point(problem, _value(target, problem.p), _value(draft, problem.q), bound)
    reached = point.strength if objective == "strength" else point.efficiency
    if abs(bound - reached) > _LARGEST_GAP * (1 + abs(reached)):
        raise SolverError(
            f"the most {objective} within a budget of {problem.budget:g}: {reached:.9g} was found, and the "
            f"bound is {bound:.9g}; another budget or requirement may do"
        )
    return point


def _law(problem: _Problem, base: np.ndarray, budget: float) -> tuple[Any, list[Any], Any]:
    """A law within a budget around `base`, its constraints, and the one whose multiplier is the budget's."""
    import cvxpy as cp

    if budget == 0:
        return base, [], None
    law, held = cp.Variable(len(base), nonneg=True), base > 0
    if problem.measure == "kl":
        distance = cp.sum(cp.rel_entr(law[held], base[held]))
    else:
        distance = cp.norm1(law - base) / 2
    within = distance <= budget
    rules = [cp.sum(law) == 1, within]
    if not held.all():
        rules.append(law[~held] == 0)
    return law, rules, within


def _value(law: Any, base: np.ndarray) -> np.ndarray:
    if isinstance(law, np.ndarray):
        return law
    value = np.where(base > 0, np.maximum(law.value, 0.0), 0.0)
    return np.asarray(value / value.sum())


def _most(problem: _Problem, gain: np.ndarray, within: Any, base: np.ndarray, of_target: bool) -> float:
    """max over laws R of sum R gain - m (D(R, base) - budget), m the multiplier of the budget: in closed
    form."""
    held = base > 0
    gain, law = gain[held], base[held]
    if within is None:
        return float(gain @ law)
    budget = problem.budget if of_target else problem.draft_budget
    price = max(float(within.dual_value), 0.0)
    top = float(gain.max())
    if problem.measure == "tv":
        # What moves goes to the token of the largest gain.
        return float(law @ np.maximum(gain, top - price)) + price * budget
    if price == 0:
        return top
    return price * float(logsumexp(gain / price, b=law)) + price * budget


def _run(program: Any, what: str) -> None:
    import cvxpy as cp

    for tolerance in _TOLERANCES:
        with warnings.catch_warnings():
            # An inaccurate solution is not used, so its warning would only confuse.
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            program.solve(
                solver=cp.CLARABEL, tol_gap_abs=tolerance, tol_gap_rel=tolerance, tol_feas=tolerance
            )
        if program.status == cp.OPTIMAL:
            return
    raise SolverError(f"{what}: CLARABEL stopped with status {program.status}")
