"""Reference values of Figure 1, what this library computes for them, and the published figure's error.

The values marked "exact" were computed independently of this library, by summing over the race
coupling; the Monte Carlo ones by simulation with the standard error given.
"""

from __future__ import annotations

import math

import numpy as np
from rich.console import Console

from figures.reference import Reference, print_references
from tradeoff.curves import (
    DEFAULT_SEEDS,
    PAPER_P,
    PAPER_Q,
    Setting,
    curve,
    google_end_point_strength,
    hu_end_point_strength,
    linear_efficiency,
    most_efficient,
    simulate,
    spliced_law,
    watermark_strength,
)
from tradeoff.decoders import SynthID, race_coupling
from tradeoff.estimate import Estimate
from tradeoff.laws import acceptance_probability, entropy, overlap, plogp

__all__ = ["check_references", "published_curves", "references"]


def references(*, seeds: int = DEFAULT_SEEDS, seed: int = 0) -> list[Reference]:
    """Every reference value for the paper's P and Q."""
    p, q = PAPER_P, PAPER_Q
    gumbel = Setting(p, q)
    rows = [
        Reference("1 - TV(Q, P)", float(overlap(p, q)), 0.7, 1e-9),
        Reference("Ent(P)", float(entropy(p)), 2.1466205942281027, 1e-9),
        Reference("Gumbel-max both sides: SE = sum pi_ii", gumbel.agreement.value, 0.6257382074030019, 1e-9),
    ]
    for gamma, strength, efficiency, theta in (
        (0.4, 0.394353, 0.672828, 0.3727),
        (0.8, 1.331955, 0.641435, 0.7909),
    ):
        linear = curve("linear", gumbel, [gamma])
        rows += [
            Reference(f"linear, Gumbel-max, gamma = {gamma}: WS", linear.strength[0], strength, 5e-7),
            Reference(
                f"linear, Gumbel-max, gamma = {gamma}: best SE", linear.efficiency[0], efficiency, 5e-7
            ),
            Reference(f"linear, Gumbel-max, gamma = {gamma}: theta", linear.theta[0], theta, 5e-5),
        ]
        programme = linear_efficiency(gumbel).best_theta_lp(gamma)[1]
        point = most_efficient(gumbel, float(linear.strength[0]))
        rows += [
            Reference(
                f"  linear programme - direct search, gamma = {gamma}",
                programme - linear.efficiency[0],
                0,
                1e-8,
            ),
            Reference(f"  gamma* from the strength, gamma = {gamma}", point.gamma, gamma, 1e-9),
        ]
    for family, at_zero, at_half in (("hu", 1.448576, 1.563454), ("google", 1.921687, 1.777743)):
        c = curve(family, gumbel, [0, 0.5])
        title = {"hu": "Hu", "google": "Google"}[family]
        rows += [
            Reference(f"{title}, Gumbel-max, gamma = 0: WS", c.strength[0], at_zero, 5e-7),
            Reference(f"{title}, Gumbel-max, gamma = 0: SE", c.efficiency[0], 0.7, 1e-9),
            Reference(f"{title}, Gumbel-max, gamma = 0.5: WS", c.strength[1], at_half, 5e-7),
            Reference(f"{title}, Gumbel-max, gamma = 0.5: SE", c.efficiency[1], 0.662869, 5e-7),
        ]
    rows += [
        Reference("Hu, closed form at full efficiency", float(hu_end_point_strength(p, q)), 1.448576, 5e-7),
        Reference(
            "Google, closed form at full efficiency", float(google_end_point_strength(p, q)), 1.921687, 5e-7
        ),
    ]
    infinite = Setting(p, q, SynthID(math.inf), SynthID(math.inf), seeds, seed)
    rows.append(_sampled("SynthID m = ∞ both sides: SE", infinite.agreement, 0.5865, 0.001))
    finite = Setting(p, q, SynthID(30), SynthID(30), seeds, seed)
    finite_strength = watermark_strength(p, SynthID(30), seeds=seeds, rng=seed)
    rows += [
        _sampled("SynthID m = 30, gamma = 1: WS", finite_strength, 1.8807, 0.0006),
        _sampled("SynthID m = 30, gamma = 1: SE", finite.agreement, 0.5919, 0.0007),
    ]
    c = curve("google", finite, [0])
    rows += [
        _sampled("Google, SynthID m = 30, gamma = 0: WS", _at(c.strength, c.strength_error), 1.6557, 0.0007),
        _sampled("Google, SynthID m = 30, gamma = 0: SE", _at(c.efficiency, c.efficiency_error), 0.7, 1e-9),
    ]
    published = published_curves(np.zeros(1), seeds=seeds, seed=seed)
    rows += [
        Reference("as published (unnormalised): Hu, Gumbel-max", published["hu"][1][0], 1.73181, 5e-6),
        Reference(
            "as published (unnormalised): Google, SynthID m = 30", published["google"][1][0], 1.64, 5e-3
        ),
    ]
    return rows


def check_references(console: Console, *, seeds: int = DEFAULT_SEEDS, seed: int = 0) -> bool:
    """Print value, reference and difference of every reference; whether all of them hold."""
    with console.status("computing every reference value"):
        rows = references(seeds=seeds, seed=seed)
    return print_references(console, rows)


def published_curves(
    gamma: np.ndarray, *, seeds: int = DEFAULT_SEEDS, seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Hu's class (Gumbel-max) and Google's class (SynthID, m = 30) with the residual max(P-Q, 0) left
    unnormalised, as in the published figure: a mistake, reproduced for comparison only.

    Returns:
        {"hu": (efficiency, strength), "google": (efficiency, strength)}, arrays [points].
    """
    p, q = PAPER_P, PAPER_Q
    accept, deficient = acceptance_probability(p, q), np.maximum(p - q, 0)
    gumbel = Setting(p, q)
    hu_efficiency = (1 - gamma) * overlap(p, q) + gamma * gumbel.agreement.value
    hu = np.array([entropy(p) - _deficient_entropy(g, deficient, accept, race_coupling(p, q)) for g in gamma])

    tournament = SynthID(30)
    rest = np.random.default_rng((seed, 1))

    def functional(p_z: np.ndarray, q_z: np.ndarray, _: np.ndarray) -> np.ndarray:
        r_z = tournament(deficient, tournament.draw(rest, p_z.shape[:1], len(p)))
        spliced = spliced_law(q_z, accept, r_z)
        laws = [(1 - g) * spliced + g * p_z for g in gamma]
        columns = [overlap(law, q_z) for law in laws] + [entropy(p) - entropy(law) for law in laws]
        return np.stack(columns, axis=-1)

    google = simulate(functional, p, q, tournament, tournament, seeds=seeds, rng=seed).value
    return {"hu": (hu_efficiency, hu), "google": (google[: len(gamma)], google[len(gamma) :])}


def _deficient_entropy(gamma: float, deficient: np.ndarray, accept: np.ndarray, joint: np.ndarray) -> float:
    n = len(accept)
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    eye = np.eye(n)
    a = accept[j][..., None]
    laws = (1 - gamma) * (a * eye[j] + (1 - a) * deficient) + gamma * eye[i]
    return float((joint * -plogp(laws).sum(axis=-1)).sum())


def _sampled(name: str, estimate: Estimate, reference: float, error: float) -> Reference:
    tolerance = 4 * math.hypot(estimate.standard_error, error)
    return Reference(name, estimate.value, reference, tolerance, estimate.standard_error)


def _at(value: np.ndarray, error: np.ndarray) -> Estimate:
    return Estimate(float(value[0]), float(error[0]))
