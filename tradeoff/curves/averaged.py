"""Figure 1's curves averaged over many next-token pairs (P, Q), and their per-position values.

For Gumbel-max everything is exact over the full vocabulary. SynthID is simulated with a few seeds a
position, on the tokens that hold all but 1e-4 of the mass of P and of Q (which lowers entropies
by about 1e-3, inside the Monte Carlo error); its standard errors are those of the mean over
positions.

In the linear class draft and target use one (gamma, theta) for all positions, as a deployment must, since
the draft does not see P when it applies theta: theta maximises the mean efficiency.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tradeoff.curves.families import Setting, curve, linear_parts
from tradeoff.curves.frontier import Curve
from tradeoff.curves.linear import LinearEfficiency, linear_strength
from tradeoff.curves.measures import google_end_point_strength, hu_end_point_strength
from tradeoff.curves.pairs import ExactPairs, SampledPairs, sample_pairs
from tradeoff.curves.planes import Planes
from tradeoff.curves.splicing import GoogleEntropy, HuEntropy, spliced_law
from tradeoff.decoders import SynthID, draw_antithetic
from tradeoff.laws import acceptance_probability, entropy, excess, kl_divergence, overlap

__all__ = ["GAMMA", "AveragedPlane", "average_plane", "check_paired_seeds"]

GAMMA = np.array([0, 0.1, 0.25, 0.4, 0.6, 0.8, 0.9, 1])
_SETTLED = SynthID(math.inf)
_FINITE = SynthID(30)
_SPLICED = {"hu": HuEntropy, "google": GoogleEntropy}
_AT_FULL_EFFICIENCY = {"hu": hu_end_point_strength, "google": google_end_point_strength}
#: Tokens that the search for the common theta looks at; the curve is then evaluated on all of them.
_HEAD = 1e-4
#: Keeps the seeds of positions apart from the seed that sampled the texts.
_STREAM = 1
#: Mass that the simulation of SynthID leaves out.
_DROPPED = 1e-4

Pair = tuple[np.ndarray, np.ndarray]
#: (class, decoder) and its efficiency and strength, [pairs of seeds, points]; one row where exact.
Values = Iterator[tuple[tuple[str, str], np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class AveragedPlane:
    """The averaged curves of one temperature, and every position's exact values.

    Attributes:
        planes: the curves; `sse` and `most` are means over positions.
        positions: one row a position: sse (1 - TV), agreement (sum_i pi_ii), entropy, and hu and google
            (strength at full efficiency).
    """

    planes: Planes
    positions: pd.DataFrame


@dataclass(frozen=True)
class _Reduced:
    """The tokens that hold all but _DROPPED of the mass of P and of Q, and P and Q on them."""

    ids: np.ndarray
    p: np.ndarray
    q: np.ndarray


@dataclass(frozen=True)
class _FirstPass:
    """What one position adds, before the common theta is known."""

    row: dict[str, float]
    values: list[tuple[tuple[str, str], np.ndarray, np.ndarray]]
    heads: dict[str, LinearEfficiency]
    settled: SampledPairs


class _Mean:
    """Mean over positions, with the Monte Carlo error of every position's value."""

    def __init__(self) -> None:
        self._values: list[np.ndarray] = []
        self._variances: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        """One position: independent rows [pairs of seeds, points], or one exact row."""
        self._values.append(rows.mean(axis=0))
        spread = rows.var(axis=0, ddof=1) / len(rows) if len(rows) > 1 else np.zeros_like(rows[0])
        self._variances.append(spread)

    @property
    def value(self) -> np.ndarray:
        return np.mean(self._values, axis=0)

    @property
    def error(self) -> np.ndarray:
        return np.sqrt(np.sum(self._variances, axis=0)) / len(self._values)


def check_paired_seeds(seeds: int) -> None:
    """Raise ValueError unless `seeds` is even and at least 4: whole antithetic pairs, two of them."""
    if seeds < 4 or seeds % 2:
        raise ValueError(f"seeds={seeds} must be an even number of at least 4")


def average_plane(
    count: int,
    pairs: Callable[[], Iterable[Pair]],
    *,
    seeds: int = 8,
    seed: int = 0,
    executor: Executor | None = None,
    advance: Callable[[], None] = lambda: None,
) -> AveragedPlane:
    """Average Figure 1's curves over positions.

    Args:
        count: number of positions.
        pairs: gives (P, Q) of every position in turn, [n] each; called twice, so that full rows of all
            positions need never be in memory at once.
        seeds: Monte Carlo seeds a position for SynthID, an even number of at least 4.
        seed: of their generators, one a position, so that the result does not depend on the executor.
        executor: spreads positions over processes; None computes here.
        advance: called twice a position.

    Raises:
        ValueError: if seeds is odd or below 4.
    """
    check_paired_seeds(seeds)
    run = map if executor is None else executor.map
    rows: list[dict[str, float]] = []
    means: dict[tuple[str, str], tuple[_Mean, _Mean]] = {}
    heads: dict[str, list[LinearEfficiency]] = {"gumbel": [], "synthid-inf": []}
    settled: list[SampledPairs] = []
    for first in run(_first_pass, pairs(), [seeds] * count, [(seed, k, _STREAM) for k in range(count)]):
        rows.append(first.row)
        settled.append(first.settled)
        for key, efficiency, strength in first.values:
            sums = means.setdefault(key, (_Mean(), _Mean()))
            sums[0].add(efficiency)
            sums[1].add(strength)
        for decoder, head in first.heads.items():
            heads[decoder].append(head)
        advance()

    theta = {}
    for decoder, parts in heads.items():
        theta[decoder] = LinearEfficiency.average(parts).best_thetas(GAMMA)
        means["linear", decoder] = (_Mean(), _Mean())
    for second in run(_second_pass, pairs(), settled, [theta] * count):
        for decoder, efficiency, strength in second:
            means["linear", decoder][0].add(efficiency)
            means["linear", decoder][1].add(strength)
        advance()

    positions = pd.DataFrame(rows)
    sse, most = float(positions["sse"].mean()), float(positions["entropy"].mean())
    curves = {("time-sharing", decoder): _chord(sse, most, means["linear", decoder][0]) for decoder in heads}
    for (family, decoder), (x, y) in means.items():
        parameter = theta[decoder] if family == "linear" else np.ones_like(GAMMA)
        curves[family, decoder] = Curve(family, GAMMA, parameter, x.value, y.value, x.error, y.error)
    return AveragedPlane(Planes(curves, sse, most), positions)


def _first_pass(pair: Pair, seeds: int, seed: tuple[int, ...]) -> _FirstPass:
    setting, rng = Setting(*pair), np.random.default_rng(seed)
    reduced = _reduce(setting)
    settled = _settled_pairs(reduced, seeds, rng)
    head = np.maximum(setting.p, setting.q) >= _HEAD
    p, q = setting.p[head], setting.q[head]
    both, *chosen = (frequency[head] for frequency in settled.frequencies(len(setting.p)))
    heads = {
        "gumbel": LinearEfficiency.of_pairs(p, q, _race(setting)[head]),
        "synthid-inf": LinearEfficiency.of_pairs(p, q, both, (chosen[0], chosen[1])),
    }
    values = [*_exact(setting), *_settled(setting, settled), *_finite(reduced, seeds, rng)]
    return _FirstPass(_position(setting), values, heads, settled)


def _second_pass(
    pair: Pair, settled: SampledPairs, theta: dict[str, np.ndarray]
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The linear class at the common theta: decoder, efficiency and strength."""
    setting = Setting(*pair)
    strength = linear_strength(setting.p, GAMMA)[None]
    known, gain = linear_parts(setting.p, setting.q, GAMMA, theta["gumbel"])
    exact = (known + gain @ _race(setting))[None]
    known, gain = linear_parts(setting.p, setting.q, GAMMA, theta["synthid-inf"])
    i, j = settled.target, settled.draft
    sampled = known + (gain[:, i] * (i == j)).mean(axis=-1).T
    return [("gumbel", exact, strength), ("synthid-inf", sampled, strength)]


def _position(setting: Setting) -> dict[str, float]:
    p, q = setting.p, setting.q
    return {
        "sse": float(overlap(p, q)),
        "agreement": float(_race(setting).sum()),
        "entropy": float(entropy(p)),
        "hu": float(hu_end_point_strength(p, q)),
        "google": float(google_end_point_strength(p, q)),
    }


def _exact(setting: Setting) -> Values:
    """Hu's and Google's class with Gumbel-max."""
    for family in _SPLICED:
        c = curve(family, setting, GAMMA)
        yield (family, "gumbel"), c.efficiency[None], c.strength[None]


def _settled_pairs(reduced: _Reduced, seeds: int, rng: np.random.Generator) -> SampledPairs:
    """Pairs of tokens on which the tournaments of P and Q settle."""
    pairs = sample_pairs(reduced.p, reduced.q, _SETTLED, _SETTLED, seeds=seeds, rng=rng)
    return SampledPairs(reduced.ids[pairs.target], reduced.ids[pairs.draft])


def _settled(setting: Setting, pairs: SampledPairs) -> Values:
    """Hu's and Google's class with SynthID, m = infinity."""
    i, j = pairs.target, pairs.draft
    same = (i == j)[None]
    sse = overlap(setting.p, setting.q)
    efficiency = ((1 - GAMMA[:, None, None]) * sse + GAMMA[:, None, None] * same).mean(axis=-1).T
    for family, kind in _SPLICED.items():
        kernel = kind(GAMMA[:, None, None], setting.residual)
        a, r = setting.accept[j], setting.residual[i]
        left = np.where(same, kernel.same(a), kernel.apart(a, r))
        # At gamma = 0 only j matters, and its mean is known: a control variate that fades with gamma.
        known = entropy(setting.p) - _AT_FULL_EFFICIENCY[family](setting.p, setting.q)
        left = left - (1 - GAMMA[:, None, None]) * (left[0] - known)
        yield (family, "synthid-inf"), efficiency, entropy(setting.p) - left.mean(axis=-1).T


def _finite(reduced: _Reduced, seeds: int, rng: np.random.Generator) -> Values:
    """Hu's and Google's class with SynthID, m = 30."""
    p, q = reduced.p, reduced.q
    accept, rest = acceptance_probability(p, q), excess(p, q, empty="zero")
    values: dict[str, list[np.ndarray]] = {family: [] for family in _SPLICED}
    zetas, rest_zetas = (draw_antithetic(_FINITE, rng, (seeds // 2,), len(p)) for _ in range(2))
    for zeta, rest_zeta in zip(zetas, rest_zetas, strict=True):
        p_z, q_z = _FINITE(p, zeta), _FINITE(q, zeta)
        r_z = _FINITE(rest, rest_zeta) if rest.any() else rest
        for family, tail in (("hu", rest), ("google", r_z)):
            spliced = spliced_law(q_z, accept, tail)
            laws = [(1 - g) * spliced + g * p_z for g in GAMMA]
            # Accepted draft mass has the known mean 1 - TV: a control variate that fades with gamma.
            off = q_z @ accept - overlap(p, q)
            efficiency = [overlap(law, q_z) - (1 - g) * off for g, law in zip(GAMMA, laws, strict=True)]
            values[family].append(np.stack([efficiency, [kl_divergence(law, p) for law in laws]]))
    for family, (first, second) in values.items():
        efficiency, strength = (first + second) / 2
        yield (family, "synthid-30"), efficiency.T, strength.T


def _reduce(setting: Setting) -> _Reduced:
    keep = np.zeros(len(setting.p), dtype=bool)
    for side in (setting.p, setting.q):
        order = np.argsort(side)
        keep[order[np.searchsorted(np.cumsum(side[order]), _DROPPED) :]] = True
    ids = np.flatnonzero(keep)
    return _Reduced(ids, *(side[ids] / side[ids].sum() for side in (setting.p, setting.q)))


def _race(setting: Setting) -> np.ndarray:
    """pi_ii of Gumbel-max on both sides."""
    assert isinstance(setting.pairs, ExactPairs)
    return setting.pairs.diagonal


def _chord(sse: float, most: float, full: _Mean) -> Curve:
    efficiency = (1 - GAMMA) * sse + GAMMA * full.value[-1]
    return Curve(
        "time sharing", GAMMA, GAMMA, efficiency, GAMMA * most, GAMMA * full.error[-1], np.zeros_like(GAMMA)
    )
