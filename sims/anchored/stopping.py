"""Anchored E-Watermarking, Theorem 4.3: the expected stopping time is log(1/alpha) / J*, nearly.

Statement: with e*, E tau_alpha / log(1/alpha) tends to 1/J* as alpha tends to 0, against the worst target.

Assumption: independent tokens with one anchor and one target on the boundary of the ball.

Prediction: E tau = (log(1/alpha) + E R) / J* (Wald), with the overshoot R = S_tau - log(1/alpha) >= 0:
exactly, from the law of the walk, at moderate alpha; with the limit of E R from renewal theory at
alpha = 1e-120. So E tau is at least log(1/alpha) / J*. Text of the library's speculative sampling stops like
the walk of its formula, and targets inside the ball stop sooner than the worst.

Controls: log(1/alpha) / J* taken for E tau at alpha = 1e-2 (no overshoot); a target outside the ball.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, finish, generator, panels
from sims.tools.kernel_laws import step
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.anchored import Walk, first_crossing, growth_at, log_anchored
from tradeoff.curves import PAPER_P, PAPER_Q
from tradeoff.files import write_table
from tradeoff.kernels import KeepEfficiency
from tradeoff.laws import total_variation
from tradeoff.plotting import COLORS

__all__ = ["run"]

NAME = "Anchored: Theorem 4.3"
_EPS = 0.05
_ANCHORS = (0.5, 0.7, 0.9)
#: -log10 alpha; E tau is computed exactly up to 1e-10, and by Wald's identity with the limit beyond.
_DIGITS = np.array([2, 5, 10, 120])
_EXACT = 10
_KERNEL_TOKENS = 120


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, anchored_stopping.csv and anchored_stopping.png."""
    rng = generator(seed, "anchored stopping")
    paths = max(size // 20, 2_000)
    levels = _DIGITS * math.log(10)
    rows, records = [], []
    for p in _ANCHORS:
        walk = _walk(p, _EPS)
        limit = walk.limiting_overshoot
        tau = walk.passages(levels, paths, rng)
        for digits, level, times in zip(_DIGITS.tolist(), levels, tau.T, strict=True):
            exact = digits <= _EXACT
            predicted = walk.mean_passage(level) if exact else (level + limit) / walk.mean
            how = "exactly" if exact else "Wald, limit of the overshoot"
            setting = f"p = {p:g}, δ = {2 * _EPS:g}, α = 1e-{digits}: E τ ({how})"
            mean, error = mean_and_error(times)
            rows.append(compare(NAME, setting, predicted, mean, error))
            records.append((p, digits, level / walk.mean, predicted, mean, error, exact))
        least = f"p = {p:g}, α = 1e-120: E τ, log(1/α)/J* at least"
        rows.append(compare(NAME, least, levels[-1] / walk.mean, mean, error, relation="≥"))
    rows += _inside_rows(paths, rng)
    rows += _kernel_rows(max(size // 20, 2_000), rng)
    table = pd.DataFrame(
        records, columns=["p", "digits", "without_overshoot", "predicted", "mean", "error", "exact"]
    )
    rows += _controls(table, paths, rng)
    _draw(table, paths, out)
    return rows


def _walk(p: float, moved: float) -> Walk:
    """e* for eps = _EPS on anchor (p, 1-p), and a target that moves `moved` to the first token."""
    return Walk.anchored([p, 1 - p], [p + moved, 1 - p - moved], _EPS)


def _inside_rows(paths: int, rng: np.random.Generator) -> list[Row]:
    """Half of the radius: mismatches are rarer, and detection sooner."""
    level = 10 * math.log(10)
    inside = _walk(0.7, _EPS / 2)
    tau = inside.passages([level], paths, rng)[:, 0]
    mean, error = mean_and_error(tau)
    worst = _walk(0.7, _EPS).mean_passage(level)
    return [
        compare(NAME, "p = 0.7, TV = ε/2, α = 1e-10: E τ (exactly)", inside.mean_passage(level), mean, error),
        compare(
            NAME, "p = 0.7, TV = ε/2, α = 1e-10: E τ, the worst target's", worst, mean, error, relation="≤"
        ),
    ]


def _kernel_rows(texts: int, rng: np.random.Generator) -> list[Row]:
    """Speculative sampling with the paper's Q as draft and anchor; one text a row, _KERNEL_TOKENS tokens."""
    p0, q, n = PAPER_Q, PAPER_P, len(PAPER_Q)
    eps = float(total_variation(q, p0))
    level = 4 * math.log(10)
    draws = step(KeepEfficiency(), q, p0, texts * _KERNEL_TOKENS, rng)
    log_e = log_anchored(p0[draws.draft], draws.token == draws.draft, n, eps)
    tau = first_crossing(np.cumsum(log_e.reshape(texts, -1), axis=1), math.exp(-level))
    # A text that ends before it is detected counts as its length, in both.
    tau = np.minimum(tau, _KERNEL_TOKENS)
    reference = np.minimum(Walk.anchored(p0, q, eps).passages([level], 4 * texts, rng)[:, 0], _KERNEL_TOKENS)
    mean, error = mean_and_error(tau)
    expected, spread = mean_and_error(reference)
    setting = f"keep-efficiency kernel, paper's P, Q, ε = TV = {eps:g}, α = 1e-4: E min(τ, {_KERNEL_TOKENS})"
    growth = float(growth_at(p0, eps, eps))
    return [
        compare(NAME, setting, expected, mean, math.hypot(error, spread)),
        compare(NAME, f"{setting}, level/J at least", level / growth, mean, error, relation="≥"),
    ]


def _controls(table: pd.DataFrame, paths: int, rng: np.random.Generator) -> list[Row]:
    first = table[(table["p"] == 0.7) & (table["digits"] == 2)].iloc[0]
    rows = [
        compare(
            NAME,
            "p = 0.7, α = 1e-2: E τ, taken for log(1/α)/J*",
            first["without_overshoot"],
            first["mean"],
            first["error"],
            control=True,
        )
    ]
    level = 10 * math.log(10)
    mean, error = mean_and_error(_walk(0.7, 1.2 * _EPS).passages([level], 4 * paths, rng)[:, 0])
    name = "p = 0.7, target outside the ball, TV = 1.2 ε, α = 1e-10: E τ, the worst target's"
    worst = _walk(0.7, _EPS).mean_passage(level)
    return [*rows, compare(NAME, name, worst, mean, error, relation="≤", control=True)]


def _draw(table: pd.DataFrame, paths: int, out: Path) -> None:
    write_table(table, out / "anchored_stopping.csv")
    figure, (axes,) = panels()
    # A little apart, so that no bar hides another.
    styles = (("blue", "o", 0.95), ("orange", "s", 1.0), ("green", "^", 1.05))
    for (p, part), (colour, marker, aside) in zip(table.groupby("p"), styles, strict=True):
        excess = part["mean"] - part["without_overshoot"]
        axes.errorbar(
            aside * part["digits"],
            excess,
            BAR * part["error"],
            fmt=marker,
            ms=6,
            capsize=3,
            color=COLORS[colour],
            label=f"p = {p:g}",
        )
        axes.plot(part["digits"], part["predicted"] - part["without_overshoot"], color=COLORS[colour], lw=1.2)
    axes.axhline(0, color=COLORS["vermilion"], ls="--", lw=1.2, label="log(1/α)/J*")
    axes.set(
        xscale="log",
        xlabel="log₁₀(1/α)",
        ylabel="E τ − log(1/α)/J*  (tokens)",
        title="What the overshoot costs",
    )
    axes.legend(loc="upper left")
    finish(
        figure,
        out / "anchored_stopping.png",
        f"n = 2 tokens, δ = {2 * _EPS:g}, worst target, {paths:,} texts, 99% bars. Lines: exact E τ; at "
        "1e-120 Wald's, limit of the overshoot.",
    )
