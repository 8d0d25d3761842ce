"""Optimal transport from a next-token law to uniform side information, and what it makes detectable.

Tsur, Long, Verdun, Hsu, Chen, Permuter, Vithana and Calmon, "HeavyWater and SimplexWater". Side information s
is uniform on k values; the generator couples X ~ P with it so that the score E_pi f(X, s) is as high as it
can be, and draws X from k pi(., s). Whatever the coupling, the mean of that law over s is P: both solvers
give laws with the right marginals to rounding, and report the error before (docs/theory/transport.md).

Choosing a solver: `Exact` has the highest gap, and a strength close to the entropy; on one core it takes
about as long as a small language model. `Sinkhorn` at the regularisation that its authors use, 0.05, is
several times faster, and gives up a third of the gap and more than half of the strength. Below 0.02, in the
log domain, it is slower than `Exact`.

Given more than the key, side information is no longer uniform: a solver couples with any law of it
(docs/theory/joint-transport.md).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from tradeoff.laws import entropy

__all__ = ["Exact", "Plan", "Sinkhorn", "Solver", "detection_gap", "plan_strength"]

#: Below this regularisation exp(-cost / regularisation) leaves the range in which scaling is safe.
_SMALLEST_SCALING = 0.02
#: Below this mass its inverse may overflow.
_SMALLEST_MASS = 1e-290


class Plan(NamedTuple):
    """An unbiased family of laws.

    Attributes:
        laws: pi(x, s) / w(s), [m, k], w the law of s, usually uniform: column s is the law of the token given
            s. Columns sum to 1, and their mean under w is P, to rounding.
        marginal_error: of pi before it was made to fit: sum over x of |pi(x, .) - P| plus sum over s of
            |pi(., s) - w(s)|.
        iterations: that the solver took; 0 if it does not iterate.
        converged: whether it stopped because it was done.
    """

    laws: np.ndarray
    marginal_error: float
    iterations: int
    converged: bool


class Solver(Hashable, Protocol):
    """Couples a law with side information."""

    @property
    def name(self) -> str:
        """As in names of decoders."""

    @property
    def spelling(self) -> str:
        """The setting of names on the command line, "sinkhorn=0.05"; "" for the usual solver.

        Raises:
            ValueError: if names cannot tell it.
        """

    def __call__(self, p: np.ndarray, scores: np.ndarray, side: np.ndarray | None = None) -> Plan:
        """The coupling of the law p: [m] with the law side: [k], all positive, Unif[k] if None, under scores
        [m, k]. Trusts its caller."""


@dataclass(frozen=True)
class Exact:
    """Maximises E_pi f by network simplex.

    Raises:
        RuntimeError: if it does not come to an end within 10 million pivots.
    """

    @property
    def name(self) -> str:
        """As in names of decoders."""
        return "exact"

    @property
    def spelling(self) -> str:
        """The usual one."""
        return ""

    def __call__(self, p: np.ndarray, scores: np.ndarray, side: np.ndarray | None = None) -> Plan:
        """See `Solver`."""
        # POT imports every array library that it finds; who never transports need not wait for that.
        import ot

        k = scores.shape[-1]
        law = _uniform(k) if side is None else side
        pi, log = ot.emd(p, law, _cost(scores), numItermax=10_000_000, log=True)
        if log["warning"] is not None:
            raise RuntimeError(
                f"transport of {len(p)} tokens to {k} values was not solved ({log['warning']}); use fewer "
                "of either, or Sinkhorn()"
            )
        return _fitted(p, pi, side, 0, True)


@dataclass(frozen=True)
class Sinkhorn:
    """Maximises E_pi f + regularisation (range of f) Ent(pi), by alternate scaling.

    In the log domain where the regularisation asks for it. Scores are turned into costs from 0 to 1; their
    range is that over tokens with mass, so that those without change nothing.

    Args:
        regularisation: > 0; the authors use 0.05.
        tolerance: > 0, l2 error of a marginal at which iterations stop.
        max_iterations: at least 1.

    Raises:
        ValueError: for values out of range.
    """

    regularisation: float = 0.05
    tolerance: float = 1e-5
    max_iterations: int = 2000

    def __post_init__(self) -> None:
        for name in ("regularisation", "tolerance"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)} must be a positive number; see Sinkhorn")
        if not isinstance(self.max_iterations, int) or self.max_iterations < 1:
            raise ValueError(
                f"max_iterations={self.max_iterations} must be a whole number >= 1; 2000 is usual"
            )

    @property
    def name(self) -> str:
        """As in names of decoders."""
        return f"sinkhorn-{self.regularisation:g}"

    @property
    def spelling(self) -> str:
        """ "sinkhorn=0.05"; names do not tell when it stops."""
        if self != Sinkhorn(self.regularisation):
            raise ValueError(f"solver={self.name!r} that stops so has no name on the command line")
        return f"sinkhorn={written(self.regularisation)}"

    def __call__(self, p: np.ndarray, scores: np.ndarray, side: np.ndarray | None = None) -> Plan:
        """See `Solver`."""
        import ot

        # Scaling divides by the masses.
        held = p > _SMALLEST_MASS
        pi = np.zeros_like(scores)
        # In the log domain POT also returns the scalings themselves, which may overflow and are not used.
        with np.errstate(over="ignore"):
            pi[held], log = ot.sinkhorn(
                p[held],
                _uniform(scores.shape[-1]) if side is None else side,
                _cost(scores[held]),
                self.regularisation,
                method="sinkhorn" if self.regularisation >= _SMALLEST_SCALING else "sinkhorn_log",
                numItermax=self.max_iterations,
                stopThr=self.tolerance,
                warn=False,
                log=True,
            )
        converged = bool(log["err"] and log["err"][-1] <= self.tolerance)
        return _fitted(p, pi, side, int(log["niter"]) + 1, converged)


def detection_gap(p: np.ndarray, scores: np.ndarray, plan: Plan) -> float:
    """D = E_pi f - E_{P x Unif} f, in units of the score.

    Args:
        p: [m]; scores: [m, k].
        plan: a coupling of the two.
    """
    mean = scores.mean(axis=-1)
    return float((plan.laws * (scores - mean[:, None])).sum() / scores.shape[-1])


def plan_strength(p: np.ndarray, plan: Plan) -> float:
    """WS = I(X; S) = H(P) - mean_s H(k pi(., s)) of a plan for the law p: [m], nats."""
    return float(entropy(p) - entropy(plan.laws.T).mean())


def _uniform(k: int) -> np.ndarray:
    return np.full(k, 1 / k)


def _cost(scores: np.ndarray) -> np.ndarray:
    """From 0, for the highest score, to 1."""
    cost = scores.max() - scores
    return cost / (cost.max() or 1.0)


def _fitted(p: np.ndarray, pi: np.ndarray, side: np.ndarray | None, iterations: int, converged: bool) -> Plan:
    """The plan next to `pi` whose marginals are right."""
    k = pi.shape[-1]
    laws = pi * k
    # What columns sum to: for uniform side information exactly 1, whatever k rounds to.
    whole = np.ones(k) if side is None else side * k
    error = float(np.abs(laws.mean(axis=-1) - p).sum() + np.abs(laws.sum(axis=0) - whole).mean())
    # Nowhere too much, first; then what is missing everywhere, in proportion.
    rows = laws.mean(axis=-1)
    laws *= np.minimum(np.divide(p, rows, out=np.ones_like(p), where=rows > 0), 1.0)[:, None]
    columns = laws.sum(axis=0)
    laws *= np.minimum(whole / np.maximum(columns, 1e-300), 1.0)
    lacking, open_share = p - laws.mean(axis=-1), whole - laws.sum(axis=0)
    total = float(np.maximum(lacking, 0.0).sum())
    if total > 0:
        laws += np.outer(np.maximum(lacking, 0.0) / total, np.maximum(open_share, 0.0))
    if side is not None:
        # Rounding errors of the plan are large beside a small mass of s, and are nothing once weighed by it.
        columns = laws.sum(axis=0)
        laws = np.where(columns > 0, laws / np.where(columns > 0, columns, 1.0), p[:, None])
    return Plan(laws, error, iterations, converged)


def written(number: float) -> str:
    """All digits, and no ".0"."""
    return repr(float(number)).removesuffix(".0")
