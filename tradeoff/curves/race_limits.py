"""The most that a detector with the key alone can expect to read, when the draft is the race's winner.

One race E ~ Exp(1)^n draws the draft j = argmin E/Q; a rule then emits some token w, however it likes, so
that w has the law P. A detector reads s(E_w) = -log(1 - exp(-E_w)). How large its mean can be, given how
often the draft must be accepted, is a semi-discrete transport problem, and every vector of potentials bounds
it from above (docs/theory/race-limit.md). Here

* potentials come from L-BFGS on the dual, which is a smooth function of two dimensions: given the winning
  time t the remainders are independent, so that the law of the best replacement is a product;
* the certificate does not ask how they were found: the dual is estimated on races of its own, as an excess
  over a rule whose score is known exactly, which no race makes negative.

Everything is in nats, over token axes that come last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from tradeoff.curves.race_transport import RacePair, race_potentials
from tradeoff.estimate import Estimate
from tradeoff.laws import distribution_pair, without_rare

__all__ = ["PRICES", "RaceLimit", "RaceLimitCurve", "race_limit", "race_limit_curve", "threshold_rule_score"]

#: Prices of a rejection, in nats of score, whose duals make up a curve.
PRICES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.4, 2.0, 3.0, 4.5)
#: Numbers in one array of races.
_BATCH = 1 << 16
#: Part of the races that chooses between two known rules; the rest estimates.
_PILOT = 0.1
#: Efficiencies that agree up to this are the same.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class RaceLimit:
    """A bound on the expected score of every rule that accepts as often as any can.

    Attributes:
        dual: the dual's value at the potentials found, estimated on races that the solver did not see.
        joint_race: the expected score of the joint race, exact: the bound is not below it.
        level: at which `limit` holds.
    """

    dual: Estimate
    joint_race: float
    level: float

    @property
    def limit(self) -> float:
        """Upper confidence limit of the dual (one-sided, normal): no rule's expected score is above it."""
        return float(self.dual.value + norm.ppf(self.level) * self.dual.standard_error)


@dataclass(frozen=True)
class RaceLimitCurve:
    """Bounds on the expected score of every rule whose efficiency is at least a given one.

    Attributes:
        efficiency: expected acceptance rates, [points].
        dual: the dual's values there, estimated; arrays [points].
        limit: upper confidence limits, [points]: all of them hold together at `level`.
        level: see `limit`.
    """

    efficiency: np.ndarray
    dual: Estimate
    limit: np.ndarray
    level: float


def race_limit(
    p: np.ndarray,
    q: np.ndarray,
    *,
    least: float = 0.0,
    races: int = 20_000,
    iterations: int = 60,
    level: float = 0.999,
    seed: int = 0,
    executor: Executor | None = None,
) -> RaceLimit:
    """The most that E s(E_w) can be, for unbiased rules that accept 1 - TV of the race's winners.

    Args:
        p, q: target and draft, [..., n]; over several positions all values are means.
        least: tokens with less than this in P and in Q are left out, and the rest is normalised.
        races: a position, for the certificate.
        iterations: of the solver, at most; with fewer the bound is weaker, and no less valid.
        level: of the upper confidence limit.
        seed: of the races; every position has a generator of its own.
        executor: spreads positions over processes; None computes here.

    Raises:
        DistributionError: if p or q is no distribution.
        ValueError: if an argument is out of its range, or `least` leaves no token of P or Q.
    """
    pairs = _pairs(p, q, least)
    _check(races, iterations, level)
    run = map if executor is None else executor.map
    count = len(pairs)
    seeds = [(seed, k) for k in range(count)]
    found = run(_full_efficiency, pairs, [races] * count, [iterations] * count, seeds)
    duals, joint = zip(*found, strict=True)
    return RaceLimit(_mean(duals), float(np.mean(joint)), level)


def race_limit_curve(
    p: np.ndarray,
    q: np.ndarray,
    efficiencies: Sequence[float] | np.ndarray,
    *,
    prices: Sequence[float] = PRICES,
    least: float = 0.0,
    races: int = 20_000,
    iterations: int = 60,
    level: float = 0.999,
    seed: int = 0,
    executor: Executor | None = None,
) -> RaceLimitCurve:
    """The most that E s(E_w) can be, for unbiased rules whose draft survives with a given probability.

    A price lambda of a rejection turns the constraint on the (mean) efficiency into the objective; each price
    gives a line that no rule is above, at any efficiency, and the curve is the lowest of them. At full
    efficiency `race_limit` belongs to them. Where the constraint does not bind, at low efficiencies, the
    bound is the largest expected score of all unbiased rules.

    Args:
        p, q: target and draft, [..., n]; over several positions all values are means, and a price is one for
            all of them.
        efficiencies: expected acceptance rates, [points], from 0 to 1 - TV.
        prices: of rejections, at least 0; more of them make the curve tighter.
        least, races, iterations, seed, executor: as for `race_limit`.
        level: of the upper confidence limits, jointly (Bonferroni over the prices).

    Raises:
        DistributionError: if p or q is no distribution.
        ValueError: if an argument is out of its range, or an efficiency above 1 - TV, which no rule reaches.
    """
    pairs = _pairs(p, q, least)
    _check(races, iterations, level)
    at, most = np.asarray(efficiencies, dtype=float), float(np.mean([pair.overlap for pair in pairs]))
    if at.ndim != 1 or not np.all((at >= 0) & (at <= most + _ROUNDING)):
        raise ValueError(
            f"efficiencies={efficiencies} must be a list of numbers from 0 to 1 - TV = {most:.9g}"
        )
    grid = np.unique(np.asarray(prices, dtype=float))
    if len(grid) == 0 or not np.all((grid >= 0) & np.isfinite(grid)):
        raise ValueError(f"prices={prices} must be numbers of at least 0, one or more")
    run = map if executor is None else executor.map
    count = len(pairs)
    work = ([grid] * count, [races] * count, [iterations] * count, [(seed, k) for k in range(count)])
    lines, ends = zip(*run(_all_prices, pairs, *work), strict=True)
    line, end = _mean(lines), _mean(ends)
    z = norm.isf((1 - level) / (len(grid) + 1))
    # One line for each price, and at full efficiency the bound that is none's: [prices + 1, points].
    full = np.where(at >= most - _ROUNDING, 0.0, np.inf)
    value = np.vstack([line.value[:, None] - grid[:, None] * at, end.value + full])
    error = np.append(line.standard_error, end.standard_error)
    limits = value + z * error[:, None]
    best, columns = np.argmin(limits, axis=0), np.arange(len(at))
    return RaceLimitCurve(at, Estimate(value[best, columns], error[best]), limits[best, columns], level)


def threshold_rule_score(p: np.ndarray, q: np.ndarray, *, nodes: int = 400) -> float:
    """The expected score of the best rule that replaces as the joint race does, by quadrature.

    It accepts an over-drafted j if s(t Q_j) - sum_k r_k s(t Q_k + m r_k) is above a threshold, chosen so that
    this has probability a_j; else it emits the winner k of the residual's race, at time m. That k ~ r is
    independent of t and m makes it unbiased. In use it would need a double integral a token. It attains the
    bound where one token alone is under-drafted (docs/theory/race-limit.md).

    Args:
        p, q: target and draft, [n].
        nodes: of the quadrature in each of t and m; the error falls with their square.

    Raises:
        DistributionError: if p or q is no distribution [n].
    """
    (pair,) = _pairs(p, q, 0.0)
    # u = z^2 takes the logarithm out of s at 0.
    z = (np.arange(nodes) + 0.5) / nodes
    time, weight = -np.log1p(-(z**2)), 2 * z / nodes
    t, m = time[:, None], time[None]
    replaced = sum(
        r * _score(t * rate + m * r) for r, rate in zip(pair.rest, pair.q[pair.under], strict=True)
    )
    mass = (weight[:, None] * weight).ravel()
    total = pair.under_score
    for draft, a in zip(pair.q[pair.over], pair.accept[pair.over], strict=True):
        gain = (_score(t * draft) - replaced).ravel()
        order = np.argsort(-gain)
        taken = np.diff(np.minimum(np.cumsum(mass[order]), a), prepend=0.0)
        total += draft * (float(np.sum(mass * np.ravel(replaced))) + float(taken @ gain[order]))
    return total


# --- One position -------------------------------------------------------------------------------------------


def _pairs(p: np.ndarray, q: np.ndarray, least: float) -> list[RacePair]:
    p, q = np.broadcast_arrays(*distribution_pair(p, q))
    rows = zip(p.reshape(-1, p.shape[-1]), q.reshape(-1, p.shape[-1]), strict=True)
    return [RacePair(*without_rare(*row, least)[:2]) for row in rows]


def _check(races: int, iterations: int, level: float) -> None:
    if races < 100:
        raise ValueError(f"races={races} must be at least 100")
    if iterations < 0:
        raise ValueError(f"iterations={iterations} must be at least 0")
    if not 0.5 < level < 1:
        raise ValueError(f"level={level} must be above 0.5 and below 1")


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over positions of independent estimates of theirs."""
    value = np.mean([e.value for e in estimates], axis=0)
    variance = np.sum([e.standard_error**2 for e in estimates], axis=0)
    return Estimate(value, np.sqrt(variance) / len(estimates))


def _score(e: np.ndarray) -> np.ndarray:
    """s(E) = -log(1 - exp(-E))."""
    return -np.log(-np.expm1(-e))


# --- Certificates -------------------------------------------------------------------------------------------


def _full_efficiency(
    pair: RacePair, races: int, iterations: int, seed: tuple[int, ...]
) -> tuple[Estimate, float]:
    """The dual at acceptance 1 - TV, and the joint race's score, above which it is what that race leaves."""
    if not pair.rejects:
        return Estimate(pair.joint_score, 0.0), pair.joint_score
    mass = np.maximum(pair.p - pair.q, 0.0)
    mass[pair.over] = pair.p[pair.over]
    drafted = pair.p < pair.q
    start = _log(np.where(drafted, pair.p / np.maximum(1 - pair.accept, 1e-6), mass / mass[pair.under].sum()))
    c = race_potentials(pair.p, pair.q, mass, drafted, pair.p > pair.q, start, [0.0], iterations)[0]

    cost = np.exp(-c)
    rng = np.random.default_rng(seed)
    draft = pair.q[pair.over]
    # One draft in each of `races` slices of equal probability: no more variance than independent ones have.
    j = pair.over[_stratified(draft, races, rng)]
    gaps = []
    for some in _batches(j, len(pair.under)):
        t = rng.standard_exponential(len(some))
        e = rng.standard_exponential((len(some), len(pair.under)))
        times = e / pair.rest
        rows, k = np.arange(len(some)), np.argmin(times, axis=1)
        a = pair.accept[some]
        accepted = t * (1 - a) < times[rows, k] * a
        # exp(-(s(E) + c)), of which the least is looked for.
        values = -np.expm1(-(t[:, None] * pair.q[pair.under] + e)) * cost[pair.under]
        own = -np.expm1(-t * pair.q[some]) * cost[some]
        chosen = np.where(accepted, own, values[rows, k])
        gaps.append(np.log(chosen / np.minimum(own, values.min(axis=1))))
    gap = Estimate.of_mean(np.concatenate(gaps))
    share = float(draft.sum())
    return Estimate(pair.joint_score + share * gap.value, share * gap.standard_error), pair.joint_score


def _all_prices(
    pair: RacePair, prices: np.ndarray, races: int, iterations: int, seed: tuple[int, ...]
) -> tuple[Estimate, Estimate]:
    """The dual at efficiency 0 for every price, and the dual at full efficiency."""
    every = np.ones(len(pair.p), dtype=bool)
    potentials = race_potentials(
        pair.p, pair.q, pair.p, pair.q > 0, every, _log(pair.p), prices.tolist(), iterations
    )

    # A stream apart from that of full efficiency.
    rng = np.random.default_rng((*seed, 1))
    j = _stratified(pair.q, races, rng)
    gaps = [_price_gaps(pair, prices, potentials, some, rng) for some in _batches(j, len(pair.p))]
    gap = np.concatenate(gaps, axis=1)
    # Both rules keep the dual's value; the mixture of them that the pilot likes best has less variance.
    known = np.stack(
        [pair.gumbel_score + prices * pair.agreement, pair.joint_score + prices * pair.overlap], axis=-1
    )
    pilot = max(2, int(_PILOT * races))
    values, errors = [], []
    for row, exact in zip(gap, known, strict=True):
        first, second = row[:pilot].T
        change = first - second
        spread = change.var()
        joint = float(np.clip(np.cov(first, change, bias=True)[0, 1] / spread, 0, 1)) if spread > 0 else 0.0
        weights = np.array([1 - joint, joint])
        estimate = Estimate.of_mean(row[pilot:] @ weights)
        values.append(float(exact @ weights) + estimate.value)
        errors.append(estimate.standard_error)
    end, _ = _full_efficiency(pair, races, iterations, seed)
    return Estimate(np.array(values), np.array(errors)), end


def _price_gaps(
    pair: RacePair, prices: np.ndarray, potentials: np.ndarray, j: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What Gumbel-max and the joint race leave below the maximum, on common races: [prices, races, 2]."""
    rows = np.arange(len(j))
    t, e = rng.standard_exponential(len(j)), rng.standard_exponential((len(j), len(pair.p)))
    e[rows, j] = 0.0
    gumbel = np.argmin(_quotient(t[:, None] * pair.q + e, pair.p), axis=1)
    joint = j
    if pair.rejects:
        times = e[:, pair.under] / pair.rest
        k = np.argmin(times, axis=1)
        a = pair.accept[j]
        joint = np.where((a >= 1) | (t * (1 - a) < times[rows, k] * a), j, pair.under[k])
    v = -np.expm1(-(t[:, None] * pair.q + e))
    gaps = np.empty((len(prices), len(j), 2))
    for gap, price, c in zip(gaps, prices, potentials, strict=True):
        # exp(-(s(E) + c)), of which the least is looked for.
        values = v * np.exp(-c)
        values[rows, j] *= np.exp(-price)
        least = values.min(axis=1)
        gap[:, 0], gap[:, 1] = np.log(values[rows, gumbel] / least), np.log(values[rows, joint] / least)
    return gaps


def _stratified(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices drawn by weights, one from each of `count` slices of equal probability, in random order."""
    cdf = np.cumsum(weights)
    u = (np.arange(count) + rng.random(count)) / count
    drawn = np.minimum(np.searchsorted(cdf, u * cdf[-1], side="right"), np.flatnonzero(weights)[-1])
    return rng.permutation(drawn)


def _batches(j: np.ndarray, n: int) -> list[np.ndarray]:
    return np.array_split(j, max(1, math.ceil(len(j) * n / _BATCH)))


def _log(x: np.ndarray) -> np.ndarray:
    """log x, and minus infinity of 0."""
    with np.errstate(divide="ignore"):
        return np.log(x)


def _quotient(e: np.ndarray, law: np.ndarray) -> np.ndarray:
    return np.divide(e, law, out=np.full(e.shape, np.inf), where=law > 0)
