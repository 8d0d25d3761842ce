"""Trade-off curves as constrained optimisation (Definition 3.2).

For the linear class (Eq. 9) the efficiency is

    SE(gamma, theta) = sum_k w_k min((1-gamma) p_k + gamma e_k, (1-theta) q_k + theta f_k),

a sum of minima of affine functions, hence jointly concave and piecewise linear. So three questions are
linear programmes: the best theta for a given gamma (Eq. 10), and, because strength increases with
gamma, Definition 3.2 itself: the largest gamma whose efficiency can meet a requirement. Derivation:
docs/theory/trade-off.md.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import brentq

from tradeoff.curves.pairs import ExactPairs
from tradeoff.curves.setting import Setting
from tradeoff.errors import SolverError
from tradeoff.laws import entropy, plogp

__all__ = [
    "LinearEfficiency",
    "OperatingPoint",
    "gamma_for_strength",
    "linear_efficiency",
    "linear_strength",
    "most_efficient",
    "strongest",
]

#: How far around the solver's gamma the exact search looks first.
_POLISHED = 1e-4
#: The largest problem that is worth an interior-point solution first.
_PROGRAMME_TERMS = 4_096
#: Solver tolerances, tightest first: CLARABEL cannot always reach 1e-9 on badly scaled distributions.
_TOLERANCES = (1e-9, 1e-8)


@dataclass(frozen=True, eq=False)
class LinearEfficiency:
    """SE(gamma, theta) = sum_k weight_k min((1-gamma) p_k + gamma e_k, (1-theta) q_k + theta f_k).

    Attributes:
        weight, p, e, q, f: [terms], weight >= 0. For sampled laws a term is one token of one seed; for
            degenerate decoders `of_pairs` needs only four terms per token.
    """

    weight: np.ndarray
    p: np.ndarray
    e: np.ndarray
    q: np.ndarray
    f: np.ndarray
    _lp: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of_pairs(
        cls,
        p: np.ndarray,
        q: np.ndarray,
        both: np.ndarray,
        chosen: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> LinearEfficiency:
        """The linear class of two degenerate decoders, from how often each token is chosen.

        A token is chosen by both decoders, by the target's only, by the draft's only or by none; each case
        is one term. Terms of no weight are dropped.

        Args:
            p, q: target and draft, [n].
            both: pi_ii, how often both decoders choose each token, [n].
            chosen: how often the target's and the draft's decoder choose each token; p and q unless
                sampled. Frequencies of one sample keep every weight non-negative, so that the sample
                average stays concave.
        """
        one, zero = np.ones_like(p), np.zeros_like(p)
        by_target, by_draft = (p, q) if chosen is None else chosen
        weight = np.concatenate([both, by_target - both, by_draft - both, 1 - by_target - by_draft + both])
        e = np.concatenate([one, one, zero, zero])
        f = np.concatenate([one, zero, one, zero])
        p4, q4 = np.tile(p, 4), np.tile(q, 4)
        keep = weight > 0
        return cls(weight[keep], p4[keep], e[keep], q4[keep], f[keep])

    @classmethod
    def of_laws(
        cls, p: np.ndarray, q: np.ndarray, p_zeta: np.ndarray, q_zeta: np.ndarray
    ) -> LinearEfficiency:
        """The sample average over seeds: p, q [n]; p_zeta, q_zeta [seeds, n]."""
        seeds, n = p_zeta.shape
        return cls(
            np.full(seeds * n, 1 / seeds),
            np.tile(p, seeds),
            p_zeta.ravel(),
            np.tile(q, seeds),
            q_zeta.ravel(),
        )

    @classmethod
    def average(cls, parts: list[LinearEfficiency]) -> LinearEfficiency:
        """The mean of several efficiencies at a common gamma and theta."""
        return cls(
            np.concatenate([part.weight for part in parts]) / len(parts),
            *[np.concatenate([getattr(part, name) for part in parts]) for name in ("p", "e", "q", "f")],
        )

    def __call__(self, gamma: float, theta: float) -> float:
        """SE(gamma, theta)."""
        target = (1 - gamma) * self.p + gamma * self.e
        draft = (1 - theta) * self.q + theta * self.f
        return float(self.weight @ np.minimum(target, draft))

    def best_theta(self, gamma: float) -> tuple[float, float]:
        """Exact direct search of the best theta for one gamma, in O(terms log terms).

        The derivative in theta only falls, and only at the break points where a minimum changes sides:
        theta* is the first one that brings it to zero.

        Returns:
            (theta, SE(gamma, theta)); the smallest maximiser if there are several.
        """
        target = (1 - gamma) * self.p + gamma * self.e
        slope = self.f - self.q
        moving = slope != 0
        slope, level = slope[moving], (target - self.q)[moving]
        weight = self.weight[moving]
        if not moving.any():
            return 0.0, self(gamma, 0.0)
        with np.errstate(over="ignore"):
            break_point = np.clip(level / slope, 0.0, 1.0)
        # At theta = 0- every rising term still follows its draft side and no falling term does yet.
        derivative = weight @ np.maximum(slope, 0.0)
        order = np.argsort(break_point, kind="stable")
        falling = np.cumsum((weight * np.abs(slope))[order])
        # The total fall is at least the derivative, but for the rounding of the two sums.
        k = min(int(np.searchsorted(falling, derivative * (1 - 1e-14))), len(order) - 1)
        theta = float(break_point[order[k]])
        return theta, self(gamma, theta)

    def best_thetas(self, gamma: np.ndarray) -> np.ndarray:
        """The best theta for every gamma, [points].

        At gamma = 0 it is 0, the plain draft (Lemma 3.1), whatever a sample average may prefer.
        """
        return np.array([0.0 if g == 0 else self.best_theta(g)[0] for g in gamma])

    def best_theta_lp(self, gamma: float) -> tuple[float, float]:
        """Eq. 10's inner maximisation over theta as a linear programme (CVXPY, CLARABEL).

        Returns:
            (theta, SE(gamma, theta)).

        Raises:
            SolverError: if the solver does not report an optimum.
        """
        problem = self._programme("theta", fixed=True)
        problem.param_dict["gamma"].value = gamma
        _solve(problem, f"max over theta at gamma = {gamma:g}")
        theta = float(np.clip(problem.var_dict["theta"].value, 0, 1))
        return theta, self(gamma, theta)

    def check_requirement(self, efficiency: float) -> float:
        """1 - TV(Q, P), the largest possible efficiency.

        Raises:
            ValueError: if `efficiency` is outside [0, 1 - TV(Q, P)] (Lemma 3.1).
        """
        most = self(0.0, 0.0)
        if not 0 <= efficiency <= most + 1e-12:
            raise ValueError(
                f"efficiency={efficiency:g} is outside [0, 1 - TV(Q, P)] = [0, {most:.10g}]; "
                "no kernel accepts more often (Lemma 3.1)"
            )
        return most

    def largest_gamma(self, efficiency: float) -> tuple[float, float]:
        """Definition 3.2: the largest gamma (hence strength) with max_theta SE(gamma, theta) >= efficiency.

        Args:
            efficiency: the requirement, in [0, 1 - TV(Q, P)].

        Returns:
            (gamma, theta).

        Raises:
            ValueError: if no scheme is that efficient (Lemma 3.1), naming the largest possible value.
            SolverError: if the solver does not report an optimum.
        """
        most = self.check_requirement(efficiency)
        problem = self._programme("gamma", fixed=False)
        problem.param_dict["efficiency"].value = min(efficiency, most)
        gamma = _solve(problem, f"max gamma with SE >= {efficiency:g}")
        return float(np.clip(gamma, 0, 1)), float(np.clip(problem.var_dict["theta"].value, 0, 1))

    def _programme(self, kind: str, *, fixed: bool) -> Any:
        """The parametrised programme of one kind, compiled once."""
        # CVXPY takes a second to import; the curves themselves do not need it.
        import cvxpy as cp

        if kind not in self._lp:
            theta = cp.Variable(name="theta")
            lower = cp.Variable(len(self.weight), name="minimum")
            gamma = cp.Parameter(name="gamma") if fixed else cp.Variable(name="gamma")
            constraints = [
                lower <= self.p + gamma * (self.e - self.p),
                lower <= self.q + theta * (self.f - self.q),
                theta >= 0,
                theta <= 1,
            ]
            if fixed:
                problem = cp.Problem(cp.Maximize(self.weight @ lower), constraints)
            else:
                efficiency = cp.Parameter(name="efficiency")
                constraints += [self.weight @ lower >= efficiency, gamma >= 0, gamma <= 1]
                problem = cp.Problem(cp.Maximize(gamma), constraints)
            self._lp[kind] = problem
        return self._lp[kind]


def _solve(problem: Any, what: str) -> float:
    import cvxpy as cp

    for tolerance in _TOLERANCES:
        with warnings.catch_warnings():
            # An inaccurate solution is not used, so its warning would only confuse.
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            value = problem.solve(
                solver=cp.CLARABEL, tol_gap_abs=tolerance, tol_gap_rel=tolerance, tol_feas=tolerance
            )
        if problem.status == cp.OPTIMAL:
            return float(value)
    raise SolverError(f"{what}: CLARABEL stopped with status {problem.status}")


def linear_strength(p: np.ndarray, gamma: Any) -> Any:
    """Strength of the linear class with a degenerate decoder, for any n in O(n).

    Ent(P) - sum_i P_i Ent((1-gamma) P + gamma delta_i), increasing and convex in gamma.

    Args:
        p: [n]; gamma: a number or an array.
    """
    gamma = np.asarray(gamma, dtype=float)[..., None]
    scaled = (1 - gamma) * p
    moved = p * (-plogp(scaled + gamma) + plogp(scaled))
    strength = entropy(p) + plogp(scaled).sum(axis=-1) - moved.sum(axis=-1)
    return np.maximum(strength, 0.0)


@dataclass(frozen=True)
class OperatingPoint:
    """A scheme of the linear class: its parameters, efficiency and strength (nats)."""

    gamma: float
    theta: float
    efficiency: float
    strength: float


def strongest(setting: Setting, efficiency: float) -> OperatingPoint:
    """Definition 3.2: the largest strength of the linear class under an efficiency requirement.

    SE(gamma, theta) is jointly concave and strength increases with gamma, so this non-convex looking
    problem is one linear programme: the largest gamma that some theta makes efficient enough.

    Args:
        setting: both decoders degenerate, with an exact or sampled pair law.
        efficiency: the requirement, in [0, 1 - TV(Q, P)].

    Raises:
        ValueError: if no scheme is that efficient, or a decoder is not degenerate.
    """
    search = linear_efficiency(setting)
    search.check_requirement(efficiency)
    low, high = 0.0, 1.0
    # Interior-point solutions stop at about 1e-9 a term, which adds up, and over a vocabulary they take a
    # minute. The best efficiency only falls with gamma, so bisection on the exact search, from the solver's
    # neighbourhood where there is one, gives every digit.
    if len(search.weight) <= _PROGRAMME_TERMS:
        with contextlib.suppress(SolverError):
            gamma, _ = search.largest_gamma(efficiency)
            low, high = max(gamma - _POLISHED, 0.0), min(gamma + _POLISHED, 1.0)
    required = min(efficiency, search(0.0, 0.0)) - 1e-13

    def feasible(gamma: float) -> bool:
        return search.best_theta(gamma)[1] >= required

    low = low if feasible(low) else 0.0
    high = 1.0 if feasible(high) else high
    if feasible(high):
        low = high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if feasible(middle) else (low, middle)
    theta, reached = search.best_theta(low)
    return OperatingPoint(low, theta, reached, float(linear_strength(setting.p, low)))


def most_efficient(setting: Setting, strength: float) -> OperatingPoint:
    """Eq. 10: the largest efficiency of the linear class under a strength requirement.

    The requirement fixes gamma*, the unique gamma of that strength; theta then solves a linear
    programme.

    Args:
        setting: both decoders degenerate, with an exact or sampled pair law.
        strength: the requirement in nats, in [0, Ent(P)].

    Raises:
        ValueError: if the requirement cannot be met, or a decoder is not degenerate.
        SolverError: if the solver fails.
    """
    search = linear_efficiency(setting)
    gamma = gamma_for_strength(lambda g: float(linear_strength(setting.p, g)), strength)
    theta, _ = search.best_theta_lp(gamma)
    return OperatingPoint(gamma, theta, search(gamma, theta), float(linear_strength(setting.p, gamma)))


def linear_efficiency(setting: Setting) -> LinearEfficiency:
    """SE(gamma, theta) of the linear class with degenerate decoders, as a concave function: exact, or the
    sample average where the joint law of the draws is sampled.

    Raises:
        ValueError: if a decoder is not degenerate.
    """
    p, q, pairs = setting.p, setting.q, setting.pairs
    if pairs is None:
        raise ValueError(
            f"{setting.decoders}: Definition 3.2 is solved for degenerate decoders; use gumbel or synthid:inf"
        )
    if isinstance(pairs, ExactPairs):
        return LinearEfficiency.of_pairs(p, q, pairs.diagonal)
    both, by_target, by_draft = pairs.frequencies(len(p))
    return LinearEfficiency.of_pairs(p, q, both, (by_target, by_draft))


def gamma_for_strength(strength: Callable[[float], float], requirement: float) -> float:
    """gamma*: the unique gamma with strength(gamma) = requirement (strength increases with gamma).

    Raises:
        ValueError: if the requirement is outside [strength(0), strength(1)].
    """
    low, high = strength(0.0), strength(1.0)
    if not low - 1e-12 <= requirement <= high + 1e-12:
        raise ValueError(
            f"strength={requirement:g} is outside [{low:g}, {high:g}], the range of this class; "
            "ask for less, or use a decoder of larger strength"
        )
    if requirement <= low:
        return 0.0
    if requirement >= high:
        return 1.0
    return float(brentq(lambda gamma: strength(gamma) - requirement, 0.0, 1.0, xtol=1e-14))
