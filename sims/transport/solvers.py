"""HeavyWater, solvers: what exact transport reaches, and what entropic regularisation gives up.

Statement: for any coupling pi of P and Unif[k], k pi(., s) is an unbiased decoder of strength at most H(P).
The exact plan has the largest gap. Sinkhorn's, at regularisation ε (of the range of the scores), is the best
of the regularised programme, and so loses at most ε range (Ent(pi_ε) - Ent(pi)) <= ε range min(H(P), log k).

Assumption: iterations have converged, for the bound; unbiasedness needs no convergence.

Prediction: mean laws equal P and strengths stay below H(P) for every plan, Sinkhorn's after one iteration
included. Losses keep to the bound. SimplexWater's gap (r = 6) is (1-λ)/deviation for both solvers. An
independent computation's values for one table of HeavyWater (log-normal, k = 1024) lie where single tables
do: tables differ, so much that Sinkhorn's strength has a deviation of a quarter of its mean, because its
regularisation is relative to the highest score of the table.

The strength of an exact plan of SimplexWater is not determined by P: optimal plans are many, and solvers stop
at different ones (.78 to .86 H(P) for .9 + .1 Zipf).

Controls: Sinkhorn for the exact gap; a plan stopped after one iteration and not made to fit; regularisation
1 against the bound of 0.05.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import finish, generator, panels
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.decoders import SimplexScores
from tradeoff.files import write_table
from tradeoff.laws import entropy
from tradeoff.optimal_transport import (
    Exact,
    Plan,
    RandomScores,
    Scores,
    Sinkhorn,
    Solver,
    detection_gap,
    plan_strength,
    seeded_table,
)
from tradeoff.plotting import (
    labelled,
    legend_below,
    watermark_look,
)

__all__ = ["LAWS", "measured", "run"]

NAME = "HeavyWater: solvers"
_ZIPF = 1 / np.arange(1, 16)
LAWS = {
    "(.9, .1)": np.array([0.9, 0.1]),
    "(.99, .01)": np.array([0.99, 0.01]),
    ".9 + .1 Zipf over 15": np.r_[0.9, 0.1 * _ZIPF / _ZIPF.sum()],
}
_SOLVERS: dict[str, Solver] = {"exact": Exact(), "sinkhorn": Sinkhorn()}
#: Gap in deviations and strength over H(P) of one table each, with half a unit of their last digit:
#: HeavyWater (log-normal, k = 1024), exact and Sinkhorn.
_SINGLE = {
    "(.9, .1)": {"exact": (0.247, 1.0), "sinkhorn": (0.185, 0.34)},
    "(.99, .01)": {"exact": (0.063, 0.99), "sinkhorn": (0.055, 0.62)},
    ".9 + .1 Zipf over 15": {"exact": (0.656, 0.99), "sinkhorn": (0.454, 0.39)},
}
_ROUNDING = {"gap": 5e-4, "strength": 5e-3}


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, transport_solvers.csv and transport_solvers.png."""
    rng = generator(seed, "transport solvers")
    tables = min(max(size // 1_000, 30), 100)
    simplex = measured(SimplexScores(6), [0])
    heavy = measured(RandomScores("lognormal", 1024), rng.integers(0, 1 << 62, size=tables).tolist())
    both = pd.concat(
        [simplex.assign(scores="SimplexWater"), heavy.assign(scores="HeavyWater")], ignore_index=True
    )
    many = f"{tables} tables, {len(LAWS)} laws"
    exact, entropic = (
        heavy[heavy["solver"] == name].reset_index(drop=True) for name in ("exact", "sinkhorn")
    )
    lost = exact["gap"] - entropic["gap"]
    rows = [
        compare(
            NAME, f"every plan, {many}: largest |mean law - P|, |sum of a law - 1|", 0.0, both["bias"].max()
        ),
        compare(
            NAME, f"every plan, {many}: largest strength/H(P)", 1.0, both["strength"].max(), relation="≤"
        ),
        compare(NAME, f"HeavyWater, {many}: least exact gap - Sinkhorn's", 0.0, lost.min(), relation="≥"),
        # Marginals are right to the tolerance of 1e-5, times the range of the scores, not to rounding.
        compare(
            NAME,
            f"HeavyWater, {many}: largest loss/(ε range min(H, log k))",
            1.0,
            (lost / entropic["bound"]).max(),
            relation="≤",
            tolerance=1e-3,
        ),
    ]
    deviation = math.sqrt(SimplexScores(6).mean * (1 - SimplexScores(6).mean))
    light = np.array([1 - LAWS[law].max() for law in simplex["law"]])
    off = (simplex["gap"] - light / deviation).abs()
    for name, tolerance in (("exact", 1e-9), ("sinkhorn", 1e-4)):
        largest = off[simplex["solver"] == name].max()
        setting = f"SimplexWater r = 6, {name}: largest |gap - (1-λ)/deviation|"
        rows.append(compare(NAME, setting, 0.0, largest, tolerance=tolerance))
    rows += _single_rows(heavy)
    rows += _control_rows(exact, entropic)
    _draw(both, tables, out)
    return rows


def measured(scores: Scores, seeds: list[int]) -> pd.DataFrame:
    """Every law, solver and table: columns law, solver, gap (deviations), strength (of H(P)), bias, bound.

    `bias` is the largest |mean law - P| or |sum of a law - 1| of the plan and of one stopped after one
    iteration; `bound` is what regularisation may cost in gap.
    """
    records = []
    for law, p in LAWS.items():
        for seed in seeds:
            table = scores.rows(np.arange(len(p)), seeded_table(seed))
            deviation = float(table.std(axis=-1).mean())
            spread = float(np.ptp(table)) / deviation
            bound = 0.05 * spread * min(float(entropy(p)), math.log(scores.k))
            stopped = _bias(p, Sinkhorn(max_iterations=1)(p, table))
            for name, solver in _SOLVERS.items():
                plan = solver(p, table)
                gap = detection_gap(p, table, plan) / deviation
                bias = max(_bias(p, plan), stopped)
                records.append((law, name, gap, plan_strength(p, plan) / float(entropy(p)), bias, bound))
    return pd.DataFrame(records, columns=["law", "solver", "gap", "strength", "bias", "bound"])


def _bias(p: np.ndarray, plan: Plan) -> float:
    """How far the laws are from being laws, and their mean from P."""
    return float(max(np.abs(plan.laws.mean(axis=-1) - p).max(), np.abs(plan.laws.sum(axis=0) - 1).max()))


def _single_rows(heavy: pd.DataFrame) -> list[Row]:
    """Single values against the spread of single tables: error of one table and of the mean, and rounding."""
    rows = []
    for law, solvers in _SINGLE.items():
        for solver, printed in solvers.items():
            part = heavy[(heavy["law"] == law) & (heavy["solver"] == solver)]
            for column, value in zip(("gap", "strength"), printed, strict=True):
                mean, error = mean_and_error(part[column].to_numpy())
                spread = math.hypot(error, float(part[column].std()), _ROUNDING[column])
                setting = f"HeavyWater, P = {law}, {solver}: {column} of one table"
                rows.append(compare(NAME, setting, value, mean, spread))
    return rows


def _control_rows(exact: pd.DataFrame, entropic: pd.DataFrame) -> list[Row]:
    target = exact.loc[exact["law"] == "(.9, .1)", "gap"].to_numpy()
    other = entropic.loc[entropic["law"] == "(.9, .1)", "gap"].to_numpy()
    p = LAWS[".9 + .1 Zipf over 15"]
    table = RandomScores("lognormal", 1024).rows(np.arange(len(p)), seeded_table(0))
    strong = detection_gap(p, table, Exact()(p, table)) - detection_gap(p, table, Sinkhorn(1.0)(p, table))
    bound = 0.05 * float(np.ptp(table)) * float(entropy(p))
    return [
        compare(
            NAME,
            "Sinkhorn's gap less the exact one, P = (.9, .1)",
            0.0,
            *mean_and_error(other - target),
            control=True,
        ),
        compare(
            NAME,
            "stopped after one iteration, not made to fit: marginal error",
            0.0,
            Sinkhorn(max_iterations=1)(p, table).marginal_error,
            control=True,
        ),
        compare(
            NAME,
            ".9 + .1 Zipf over 15, regularisation 1: loss/(0.05 range H(P))",
            1.0,
            strong / bound,
            relation="≤",
            control=True,
        ),
    ]


def _draw(table: pd.DataFrame, tables: int, out: Path) -> None:
    write_table(table, out / "transport_solvers.csv")
    figure, axes = panels(len(LAWS), height=3.2)
    kinds = itertools.product(("HeavyWater", "SimplexWater"), ("exact", "sinkhorn"))
    looks = {(scores, solver): watermark_look(f"{scores.lower()},{solver}") for scores, solver in kinds}
    for panel, law in zip(axes, LAWS, strict=True):
        for (scores, solver), look in looks.items():
            part = table[(table["law"] == law) & (table["scores"] == scores) & (table["solver"] == solver)]
            single = scores == "SimplexWater"
            panel.plot(
                part["strength"],
                part["gap"],
                ms=8 if single else 4,
                alpha=1 if single else 0.6,
                label=f"{scores}, {solver}",
                zorder=3 if single else 2,
                **look.points,
            )
        panel.set(xlabel="strength / H(P)", title=f"P = {law}", xlim=(0, 1.05), ylim=(0, None))
    axes[0].set_ylabel("gap (standard deviations)")
    legend_below(figure, labelled(axes[0]), columns=4)
    finish(
        figure,
        out / "transport_solvers.png",
        f"HeavyWater: log-normal, k = 1024, {tables} tables. SimplexWater: r = 6, one table. Sinkhorn: "
        "regularisation 0.05.",
    )
