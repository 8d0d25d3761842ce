"""The best e-value against the worst target, as a convex programme (CVXPY, CLARABEL).

The game of "Anchored E-Watermarking" (Theorem 4.1) for a small vocabulary: over all e(v, s) >= 0,

    maximise  min_q  E_w(q) log e(v, S)    subject to  q' e p0 <= 1 for every q,

q over the vertices of {q: TV(q, p0) <= eps = delta/2}, w(q) the maximal coupling of q and p0. Its value is J*
where min p0 >= eps, and more where the simplex cuts the ball off. What the solver calls optimal is believed
with a proof only: its multipliers l of the growths give W = sum_q l_q w(q), and no valid e grows faster than
I(V; S) under W. Proofs: docs/theory/e-values.md.
"""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from tradeoff.anchored.coupling import maximal_coupling
from tradeoff.anchored.e_values import log_anchored_matrix, worst_case_eps
from tradeoff.errors import DistributionError, SolverError
from tradeoff.laws import distribution

__all__ = ["MaxMin", "WorstCase", "ball_vertices", "best_e_value", "worst_case"]

#: Tokens of the largest programme: the number of vertices doubles with each.
_MOST_TOKENS = 8
#: The least probability of an anchor.
_LEAST = 1e-100
#: Solver tolerances, tightest first: badly scaled anchors may not allow the first.
_TOLERANCES = (1e-9, 1e-8)
#: Nats that may lie between an e-value's growth and the proof that no other grows faster: where they do not,
#: there is another attempt, and at the end the result is refused.
_NEAR, _NEAR_ENOUGH = 1e-7, 1e-6


@dataclass(frozen=True)
class MaxMin:
    """What was reached.

    Attributes:
        value: the growth of e against the worst target, nats a token; with `max_iter` the objective.
        e: [n, n] the e-value, rows v, columns s; valid but with `max_iter`.
        status: "optimal" where it is proved that no other grows faster by 1e-6 nats; with `max_iter` perhaps
            "user_limit" or "optimal_inaccurate", as CVXPY has them.
        iterations: interior-point iterations.
    """

    value: float
    e: np.ndarray
    status: str
    iterations: int


class WorstCase(NamedTuple):
    """min_q E_w(q) log e, nats, and max_q q' e p0; e is valid if the latter is at most 1."""

    growth: float
    null_mean: float

    @property
    def valid_growth(self) -> float:
        """The growth of e scaled down to be valid, if it is not."""
        return self.growth - math.log(max(1.0, self.null_mean))


def best_e_value(p0: Any, delta: float, *, max_iter: int | None = None) -> MaxMin:
    """Solve the max-min programme.

    Args:
        p0: the anchor [n], 2 to 8 tokens, all of positive probability.
        delta: the l1 distance of targets from p0 that e must survive, in (0, 2 (1 - 1/n)).
        max_iter: stop after that many interior-point iterations, with what was reached by then.

    Raises:
        DistributionError, ValueError: for a bad p0, delta or max_iter.
        SolverError: if the solver reaches no optimum, or with `max_iter` not even a value.
    """
    p0, eps = _small_anchor(p0, delta)
    if max_iter is not None and max_iter < 1:
        raise ValueError(
            f"max_iter={max_iter} must be at least 1 iteration; leave it out to solve to the end"
        )
    if p0.min() < _LEAST:
        raise SolverError(
            f"max-min programme for n = {len(p0)}, delta = {delta:g}: p0[{int(p0.argmin())}] = {p0.min():g} "
            f"is below {_LEAST:g}, where no solver keeps its digits; use an anchor with less extreme "
            "probabilities"
        )
    constant, anchored = np.ones((len(p0), len(p0))), np.exp(log_anchored_matrix(p0, eps))
    # Both are valid, and where probabilities are extreme the solver's own may grow less.
    best = max(((worst_case(e, p0, delta).growth, e) for e in (constant, anchored)), key=itemgetter(0))
    # One target alone may leave nothing to win.
    bound = min(_information(w) for w in maximal_coupling(ball_vertices(p0, eps), p0))
    iterations, status = 0, ""
    # None stands for the best so far.
    units = (anchored, constant, None) if max_iter is None else (constant,)
    for tolerance, unit in itertools.product(_TOLERANCES, units):
        tried = _solve(p0, eps, best[1] if unit is None else unit, tolerance, max_iter)
        status, iterations = tried.status, iterations + tried.iterations
        if tried.e is None:
            continue
        if max_iter is not None:
            sure = status != "optimal" or abs(tried.bound - tried.value) <= _NEAR_ENOUGH
            return MaxMin(tried.value, tried.e, status if sure else "optimal_inaccurate", iterations)
        bound = min(bound, tried.bound)
        reached = worst_case(tried.e, p0, delta)
        if reached.growth > -math.inf:
            # Constraints are met to the tolerance: scaled, it is valid, and has nothing to spare.
            valid = reached.growth - math.log(reached.null_mean), tried.e / reached.null_mean
            best = max(best, valid, key=itemgetter(0))
        if bound - best[0] <= _NEAR:
            break
    if max_iter is None and bound - best[0] <= _NEAR_ENOUGH:
        return MaxMin(*best, "optimal", iterations)
    raise SolverError(
        f"max-min programme for n = {len(p0)}, delta = {delta:g}: CLARABEL stopped with status {status}, "
        f"{bound - best[0]:.1e} nats from a proof; use an anchor with less extreme probabilities, or another "
        "delta"
    )


class _Attempt(NamedTuple):
    """What one run of the solver says; `bound` is the growth that its multipliers prove to be the most."""

    status: str
    iterations: int
    value: float = -math.inf
    e: np.ndarray | None = None
    bound: float = math.inf


def _solve(p0: np.ndarray, eps: float, unit: np.ndarray, tolerance: float, max_iter: int | None) -> _Attempt:
    """Solve for e / unit: near 1 where `unit` [n, n] is near the optimum, however large e is there."""
    # CVXPY takes a second to import, and nothing else here needs it.
    import cvxpy as cp

    vertices = ball_vertices(p0, eps)
    couplings = maximal_coupling(vertices, p0)
    known = np.array([(w[w > 0] * np.log(unit[w > 0])).sum() for w in couplings])
    ratio = cp.Variable(unit.shape, nonneg=True, name="ratio")
    gain = cp.Variable(name="gain")
    growths, null_means = [], []
    for q, w, growth in zip(vertices, couplings, known - known.min(), strict=True):
        rows, columns = np.nonzero(w)
        null_means.append(cp.sum(cp.multiply(q[:, None] * unit * p0, ratio)) <= 1)
        # The logarithms of the coupling's support only: 0 log e would still hold e away from 0.
        growths.append(gain <= growth + w[rows, columns] @ cp.log(ratio[rows, columns]))
    problem = cp.Problem(cp.Maximize(gain), growths + null_means)
    limits: dict[str, Any] = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
    usable = [cp.OPTIMAL, cp.OPTIMAL_INACCURATE]
    if max_iter is not None:
        limits["max_iter"] = max_iter
        usable.append(cp.USER_LIMIT)
    try:
        with warnings.catch_warnings():
            # Whoever limits the iterations knows, and everybody else gets a proof or an error.
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            problem.solve(solver=cp.CLARABEL, **limits)
    except cp.SolverError:
        return _Attempt("solver_error", 0)
    iterations = int(problem.solver_stats.num_iters or 0)
    if problem.status not in usable or problem.value is None or not np.isfinite(problem.value):
        return _Attempt(str(problem.status), iterations)
    shares = np.array([max(float(c.dual_value), 0.0) for c in growths])
    return _Attempt(
        str(problem.status),
        iterations,
        float(problem.value + known.min()),
        unit * np.maximum(np.asarray(ratio.value), 0.0),
        _information(np.tensordot(shares / shares.sum(), couplings, 1)) if shares.any() else math.inf,
    )


def _information(w: np.ndarray) -> float:
    """I(V; S) of a joint law [n, n], nats."""
    rows, columns = np.nonzero(w)
    # Products of marginals may vanish where their logarithms do not.
    apart = np.log(w.sum(axis=1)[rows]) + np.log(w.sum(axis=0)[columns])
    return float((w[rows, columns] * (np.log(w[rows, columns]) - apart)).sum())


def ball_vertices(p0: Any, eps: float) -> np.ndarray:
    """The vertices of {q : TV(q, p0) <= eps} in the simplex, other than p0: [vertices, n].

    Args:
        p0: [n], positive, validated.
        eps: the radius, in (0, 1).
    """
    p0 = np.asarray(p0, dtype=float)
    found: dict[tuple[float, ...], np.ndarray] = {}
    for i in range(len(p0)):
        # Nothing more can be taken than there is elsewhere: q is then the point mass on i.
        moved = min(eps, 1 - p0[i])
        others = [j for j in range(len(p0)) if j != i]
        for last in others:
            rest = [j for j in others if j != last]
            for size in range(len(rest) + 1):
                for emptied in itertools.combinations(rest, size):
                    left = moved - p0[list(emptied)].sum()
                    if not -1e-15 <= left <= p0[last] + 1e-15:
                        continue
                    q = p0.copy()
                    q[i] += moved
                    q[list(emptied)] = 0.0
                    q[last] = max(p0[last] - left, 0.0)
                    found.setdefault(tuple(np.round(q, 14)), q)
    return np.array(list(found.values()))


def worst_case(e: Any, p0: Any, delta: float) -> WorstCase:
    """How a given e [n, n] fares against all vertices of the ball.

    Args:
        e: e(v, s) >= 0, rows v, columns s.
        p0, delta: as for `best_e_value`.

    Raises:
        DistributionError, ValueError: for a bad e, p0 or delta.
    """
    p0, eps = _small_anchor(p0, delta)
    e = np.asarray(e, dtype=float)
    if e.shape != (len(p0), len(p0)) or not bool(np.all(e >= 0)):
        raise ValueError(f"e of shape {e.shape} must be [n, n] = {(len(p0),) * 2} numbers >= 0")
    vertices = ball_vertices(p0, eps)
    w = maximal_coupling(vertices, p0)
    with np.errstate(divide="ignore"):
        growth = (w * np.where(w > 0, np.log(e), 0.0)).sum(axis=(-2, -1))
    return WorstCase(float(growth.min()), float((vertices @ e @ p0).max()))


def _small_anchor(p0: Any, delta: float) -> tuple[np.ndarray, float]:
    p0 = np.asarray(distribution(np.asarray(p0), "p0"))
    if p0.ndim != 1 or not 2 <= len(p0) <= _MOST_TOKENS:
        raise DistributionError(
            f"p0 has shape {p0.shape}; the programme takes one anchor of 2 to {_MOST_TOKENS} tokens "
            "(`anchored_growth` has the value in closed form for any n)"
        )
    if not bool(np.all(p0 > 0)):
        raise DistributionError(
            f"p0[{int(np.argmin(p0))}] = 0: such a seed is never drawn; drop tokens of probability 0"
        )
    return p0, worst_case_eps(delta, len(p0))
