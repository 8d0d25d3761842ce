"""Anchored E-Watermarking, Theorem 4.1: no valid e-value grows faster than e* against the worst target.

Statement: over e(v, s) >= 0 with null mean at most 1, and targets q with ||q - p0||_1 <= delta, the largest
worst-case growth is J* = H(p0) + (1-eps) log(1-eps) + eps log(eps/(n-1)), eps = delta/2, reached by e*.

Assumption: min p0 > delta. Seeds of law p0, and tokens that are coupled with them maximally.

Prediction: the convex programme over all e-values finds J*, and e* reaches it, on random anchors of 2 to 4
tokens. e* perturbed in any way, and scaled to be valid again, does worse. Inside the ball e* does better
than J*. Text of this library's speculative sampling (the draft model is the anchor) is such a coupling,
for any pair of models: log e* of its tokens has mean H(p0) + (1-t) log(1-eps) + t log(eps/(n-1)) at
TV(q, p0) = t, and the hedged bet the mean of its own formula.

Controls: e-values that are not scaled to be valid; eps = delta in place of delta/2; an anchor with
min p0 < delta, where more than J* can be had; tokens drawn from q independently of their seeds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, dirichlet, finish, generator, panels
from sims.tools.kernel_laws import step
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.anchored import (
    anchored_growth,
    best_e_value,
    growth_at,
    hedged_growth,
    log_anchored,
    log_anchored_matrix,
    log_hedged,
    maximal_coupling,
    worst_case,
)
from tradeoff.curves import PAPER_P, PAPER_Q
from tradeoff.files import write_table
from tradeoff.kernels import KeepEfficiency
from tradeoff.laws import total_variation
from tradeoff.plotting import COLORS

__all__ = ["run"]

NAME = "Anchored: Theorem 4.1"
_DELTA = 0.1
_ANCHORS = 3
#: The programme's tolerance, which is the solver's.
_SOLVED = 1e-6
_SIZES = (0.01, 0.03, 0.1, 0.3, 1.0)
_EPS = 0.15


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, anchored_optimality.csv and anchored_optimality.png."""
    rng = generator(seed, "anchored optimality")
    anchors = [
        (1 - 1.2 * _DELTA * n) * p0 + 1.2 * _DELTA for n in (2, 3, 4) for p0 in dirichlet(rng, _ANCHORS, n)
    ]
    rows = _programme_rows(anchors)
    perturbed = _perturbed(anchors, min(max(size // 1_000, 20), 100), rng)
    gap = "largest growth less J*"
    rows.append(
        compare(NAME, f"{len(perturbed):,} perturbed valid e: {gap}", 0, perturbed["gap"].max(), relation="≤")
    )
    rows.append(
        compare(
            NAME,
            f"perturbed e, not scaled to be valid: {gap}",
            0,
            perturbed["unscaled"].max(),
            relation="≤",
            control=True,
        )
    )
    rows += _ball_rows(anchors, rng)
    growth, simulated = _simulated_rows(size, rng)
    _draw(perturbed, growth, size, out)
    return rows + simulated


def _programme_rows(anchors: list[np.ndarray]) -> list[Row]:
    j_star = np.array([float(anchored_growth(p0, _DELTA)) for p0 in anchors])
    solved = np.array([best_e_value(p0, _DELTA).value for p0 in anchors])
    reached = np.array(
        [worst_case(np.exp(log_anchored_matrix(p0, _DELTA / 2)), p0, _DELTA).valid_growth for p0 in anchors]
    )
    wrong = np.array([float(growth_at(p0, _DELTA, _DELTA)) for p0 in anchors])
    small = np.array([0.6, 0.3, 0.08, 0.02])
    many = f"{len(anchors)} random anchors, δ = {_DELTA:g}"
    return [
        compare(
            NAME,
            f"programme, {many}: largest |value - J*|",
            0.0,
            np.abs(solved - j_star).max(),
            tolerance=_SOLVED,
        ),
        compare(NAME, f"e*, {many}: largest |worst growth - J*|", 0.0, np.abs(reached - j_star).max()),
        compare(
            NAME,
            "ε = δ in place of δ/2: largest |programme - formula|",
            0.0,
            np.abs(solved - wrong).max(),
            tolerance=_SOLVED,
            control=True,
        ),
        compare(
            NAME,
            "min p0 = 0.02 below δ = 0.2: programme",
            float(anchored_growth(small, 0.2)),
            best_e_value(small, 0.2).value,
            tolerance=_SOLVED,
            control=True,
        ),
    ]


def _perturbed(anchors: list[np.ndarray], repeats: int, rng: np.random.Generator) -> pd.DataFrame:
    """Worst-case growth less J* of e* times exp(noise): columns noise, gap, unscaled (not made valid)."""
    records = []
    for p0 in anchors:
        best, n = np.exp(log_anchored_matrix(p0, _DELTA / 2)), len(p0)
        j_star = float(anchored_growth(p0, _DELTA))
        for noise in _SIZES:
            for _ in range(repeats):
                e = best * np.exp(noise * rng.normal(size=(n, n)))
                worst = worst_case(e, p0, _DELTA)
                records.append((noise, worst.valid_growth - j_star, worst.growth - j_star))
    return pd.DataFrame(records, columns=["noise", "gap", "unscaled"])


def _ball_rows(anchors: list[np.ndarray], rng: np.random.Generator) -> list[Row]:
    """Targets anywhere in the ball: the growth of e* is at least J*."""
    least = np.inf
    for p0 in anchors:
        q = dirichlet(rng, 200, len(p0))
        share = np.minimum(1.0, _DELTA / 2 / total_variation(q, p0)) * rng.random(200)
        inside = p0 + share[:, None] * (q - p0)
        log_e = log_anchored_matrix(p0, _DELTA / 2)
        growth = (maximal_coupling(inside, p0) * log_e).sum(axis=(-2, -1))
        least = min(least, float((growth - anchored_growth(p0, _DELTA)).min()))
    setting = f"200 targets in each of {len(anchors)} balls: least growth of e* less J*"
    return [compare(NAME, setting, 0.0, least, relation="≥")]


def _simulated_rows(size: int, rng: np.random.Generator) -> tuple[pd.DataFrame, list[Row]]:
    """The kernel's tokens for targets between the paper's Q (the anchor) and its P, TV = 0.3."""
    p0, n = PAPER_Q, len(PAPER_Q)
    rows, records = [], []
    for share in (0.0, 0.25, 0.5, 1.0):
        q = (1 - share) * p0 + share * PAPER_P
        tv = float(total_variation(q, p0))
        draws = step(KeepEfficiency(), q, p0, size, rng)
        match = draws.token == draws.draft
        bets = {
            "e*": (log_anchored(p0[draws.draft], match, n, _EPS), float(growth_at(p0, _EPS, tv))),
            "hedged": (log_hedged(p0[draws.draft], match, _EPS), float(hedged_growth(p0, q, _EPS))),
        }
        for name, (log_e, growth) in bets.items():
            mean, error = mean_and_error(log_e)
            setting = f"keep-efficiency kernel, n = {n}, TV = {tv:.3g}, ε = {_EPS:g}: mean log e, {name}"
            rows.append(compare(NAME, setting, growth, mean, error))
            records.append((name, tv, growth, mean, error))
    independent = rng.choice(n, p=PAPER_P, size=size)
    seeds = rng.choice(n, p=p0, size=size)
    mean, error = mean_and_error(log_anchored(p0[seeds], independent == seeds, n, _EPS))
    setting = f"tokens independent of their seeds, TV = 0.3, ε = {_EPS:g}: mean log e, e*"
    rows.append(compare(NAME, setting, float(growth_at(p0, _EPS, 0.3)), mean, error, control=True))
    return pd.DataFrame(records, columns=["bet", "tv", "growth", "mean", "error"]), rows


def _draw(perturbed: pd.DataFrame, growth: pd.DataFrame, size: int, out: Path) -> None:
    table = pd.concat([perturbed.assign(part="perturbed"), growth.assign(part="growth")])
    write_table(table, out / "anchored_optimality.csv")
    figure, axes = panels(2)
    jitter = perturbed["noise"] * np.linspace(0.85, 1.18, len(perturbed))
    axes[0].plot(jitter, perturbed["gap"], ".", ms=2.5, color=COLORS["blue"], label="perturbed and valid")
    axes[0].axhline(0, color=COLORS["vermilion"], ls="--", lw=1.5, label="J*")
    axes[0].set(xscale="log", xlabel="size of the perturbation of log e*", title="No valid e-value beats J*")
    axes[0].set_yscale("symlog", linthresh=1e-4)
    axes[0].set_ylabel("worst-case growth less J* (nats)")
    t = np.linspace(0, 0.3, 61)
    axes[1].plot(t, growth_at(PAPER_Q, _EPS, t), color=COLORS["blue"], label=f"e*, ε = {_EPS:g}")
    axes[1].plot(t, growth_at(PAPER_Q, t, t), color=COLORS["black"], lw=1, ls=":", label="e*, ε = TV")
    shares = t / 0.3
    hedged = [float(hedged_growth(PAPER_Q, (1 - s) * PAPER_Q + s * PAPER_P, _EPS)) for s in shares]
    axes[1].plot(t, hedged, color=COLORS["orange"], ls="--", label=f"hedged, ε = {_EPS:g}")
    for name, colour, marker in (("e*", "blue", "o"), ("hedged", "orange", "s")):
        part = growth[growth["bet"] == name]
        axes[1].errorbar(
            part["tv"], part["mean"], BAR * part["error"], fmt=marker, ms=5, capsize=3, color=COLORS[colour]
        )
    axes[1].set(
        xlabel="TV(target, anchor)",
        ylabel="growth (nats per token)",
        title="Growth of the kernel's tokens",
    )
    axes[0].legend(loc="upper right")
    axes[1].legend(loc="lower left")
    finish(
        figure,
        out / "anchored_optimality.png",
        f"Left: {len(perturbed):,} e-values, n = 2 to 4, δ = {_DELTA:g}. Right: anchor Q, target Q to P, "
        f"n = {len(PAPER_Q)}; "
        f"points: {size:,} tokens of speculative sampling, 99% bars; lines: formulas.",
    )
