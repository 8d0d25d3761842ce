"""HeavyWater, Theorem 3: Gumbel-max is the optimal transport for Gumbel scores.

Statement: for iid Gumbel(0, 1) scores and k -> infinity the optimal coupling is X = argmax(f + log P), and
its gap is H(P).

Assumption: scores iid over tokens and side information, P fixed, k -> infinity.

Prediction: argmax(f + log P) has the law P, and the mean of its score exceeds the Gumbel mean by H(P). At
finite k the prices -log P are feasible in the dual programme: they bound the exact gap D_k of every table,
and their own mean is H(P). So E D_k <= H(P); what is missing falls as 1/k, so that 2 E D_2k - E D_k misses it
by less than a hundredth; and the exact plan comes to be the argmax.

Controls: argmax f without log P (a biased decoder); the prices log P; Gaussian scores of the same variance;
E D_k at k = 16 for H(P).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sims.tools.common import BAR, finish, generator, panels
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.curves import PAPER_P
from tradeoff.files import write_table
from tradeoff.laws import entropy
from tradeoff.optimal_transport import GUMBEL_DEVIATION, Exact, detection_gap
from tradeoff.plotting import (
    COLORS,
    labelled,
    legend_below,
)

__all__ = ["run"]

NAME = "HeavyWater: Theorem 3"
_SIZES = (16, 32, 64, 128, 256, 512)
_LAWS = {
    "(.9, .1)": np.array([0.9, 0.1]),
    "(.5, .25, .15, .07, .03)": np.array([0.5, 0.25, 0.15, 0.07, 0.03]),
    "paper's P": PAPER_P,
}
#: What 2 E D_2k - E D_k may still miss of H(P), as a share, at k = 256.
_LEFT = 0.01


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, transport_gumbel.csv and transport_gumbel.png."""
    rng = generator(seed, "transport gumbel")
    tables = min(max(size // 1_000, 100), 400)
    rows, parts = [], []
    for name, p in _LAWS.items():
        rows += _limit_rows(name, p, size, rng)
        part = pd.concat([_tables(p, k, tables, rng).assign(law=name, k=k) for k in _SIZES])
        rows += _finite_rows(name, p, part)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    rows += _control_rows(size, rng)
    smallest = table[(table["law"] == "paper's P") & (table["k"] == _SIZES[0])]["gap"].to_numpy()
    setting = f"paper's P: E D_k at k = {_SIZES[0]}"
    rows.append(compare(NAME, setting, float(entropy(PAPER_P)), *mean_and_error(smallest), control=True))
    _draw(_means(table), tables, out)
    return rows


def _limit_rows(name: str, p: np.ndarray, size: int, rng: np.random.Generator) -> list[Row]:
    scores = rng.gumbel(size=(size, len(p)))
    token = np.argmax(scores + np.log(p), axis=-1)
    counts = np.bincount(token, minlength=len(p))
    own = np.take_along_axis(scores, token[:, None], axis=-1)[:, 0] - np.euler_gamma
    return [
        goodness_of_fit(NAME, f"argmax(f + log P), {name}: token", counts, p),
        compare(NAME, f"argmax(f + log P), {name}: gap", float(entropy(p)), *mean_and_error(own)),
    ]


def _tables(p: np.ndarray, k: int, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Exact transport on random tables: its gap, the dual's value at both signs of log P, and agreement."""
    records = []
    for _ in range(count):
        scores = rng.gumbel(size=(len(p), k))
        plan = Exact()(p, scores)
        best = np.argmax(scores + np.log(p)[:, None], axis=0)
        own, other = (_dual(p, scores, sign * np.log(p)) for sign in (-1, 1))
        same = plan.laws[best, np.arange(k)].mean()
        records.append((detection_gap(p, scores, plan), own, other, same))
    return pd.DataFrame(records, columns=["gap", "dual", "other_dual", "agreement"])


def _dual(p: np.ndarray, scores: np.ndarray, prices: np.ndarray) -> float:
    """mean_s max_x (f - g) + sum P g - sum P mean f, which bounds the gap for every g."""
    return float((scores - prices[:, None]).max(axis=0).mean() + p @ (prices - scores.mean(axis=-1)))


def _finite_rows(name: str, p: np.ndarray, part: pd.DataFrame) -> list[Row]:
    target = float(entropy(p))
    at = {k: part[part["k"] == k] for k in _SIZES}
    missing = {k: mean_and_error((table["dual"] - table["gap"]).to_numpy()) for k, table in at.items()}
    apart = {k: mean_and_error(1 - at[k]["agreement"].to_numpy()) for k in (32, 512)}
    (half, half_error), (full, full_error) = missing[256], missing[512]
    least = float((part["dual"] - part["gap"]).min())
    dual, error = mean_and_error(at[512]["dual"].to_numpy())
    gap, gap_error = mean_and_error(at[64]["gap"].to_numpy())
    return [
        compare(NAME, f"{name}, all tables: least dual at -log P less D_k", 0.0, least, relation="≥"),
        compare(NAME, f"{name}, k = 512: dual at -log P", target, dual, error),
        compare(NAME, f"{name}, k = 64: E D_k", target, gap, gap_error, relation="≤"),
        # The dual's mean is H(P), so that D_k less the dual has the bias of D_k with little of its noise.
        compare(
            NAME,
            f"{name}: |H(P) - (2 E D_512 - E D_256)|",
            _LEFT * target,
            abs(2 * full - half),
            math.hypot(2 * full_error, half_error),
            relation="≤",
        ),
        compare(
            NAME,
            f"{name}: mass not on the argmax's token, k = 512 less half of k = 32",
            0.0,
            apart[512][0] - apart[32][0] / 2,
            math.hypot(apart[512][1], apart[32][1] / 2),
            relation="≤",
        ),
    ]


def _control_rows(size: int, rng: np.random.Generator) -> list[Row]:
    p, n = PAPER_P, len(PAPER_P)
    scores = rng.gumbel(size=(size, n))
    counts = np.bincount(np.argmax(scores, axis=-1), minlength=n)
    table = _tables(p, 64, 20, rng)
    normal = GUMBEL_DEVIATION * rng.normal(size=(20, n, 512))
    gaps = np.array([detection_gap(p, f, Exact()(p, f)) for f in normal])
    return [
        goodness_of_fit(NAME, "argmax f, paper's P: token", counts, p, control=True),
        compare(
            NAME,
            "dual at +log P, paper's P, k = 64",
            float(entropy(p)),
            *mean_and_error(table["other_dual"].to_numpy()),
            control=True,
        ),
        compare(
            NAME,
            "Gaussian scores, paper's P, k = 512: E D_k",
            float(entropy(p)),
            *mean_and_error(gaps),
            control=True,
        ),
    ]


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over tables of scores, with standard errors."""
    mean = table.groupby(["law", "k"], sort=False).agg(["mean", "sem"])
    mean.columns = ["_".join(column) for column in mean.columns]
    return mean.reset_index()


def _draw(means: pd.DataFrame, tables: int, out: Path) -> None:
    write_table(means, out / "transport_gumbel.csv")
    figure, axes = panels(2)
    for (name, p), color, marker in zip(_LAWS.items(), ("blue", "orange", "green"), "osD", strict=True):
        part, target = means[means["law"] == name], float(entropy(p))
        # Side by side.
        where = part["k"] * 2 ** (0.15 * (list(_LAWS).index(name) - 1))
        style: dict[str, Any] = {
            "fmt": marker,
            "ms": 4,
            "capsize": 2,
            "color": COLORS[color],
            "label": f"P = {name}",
        }
        axes[0].errorbar(where, part["gap_mean"] / target, BAR * part["gap_sem"] / target, **style)
        axes[1].errorbar(where, 1 - part["agreement_mean"], BAR * part["agreement_sem"], **style)
    axes[0].axhline(1, color=COLORS["black"], lw=1)
    axes[0].set(ylabel="E D_k / H(P)", title="Exact gap of Gumbel scores")
    axes[1].set(yscale="log", ylabel="mass not on argmax(f + log P)", title="Exact plan and Gumbel-max")
    for panel in axes:
        panel.set_xscale("log", base=2)
        panel.set_xticks(_SIZES, [f"{k}" for k in _SIZES])
        panel.set_xlabel("k")
    legend_below(figure, labelled(axes[0]), columns=3)
    finish(
        figure, out / "transport_gumbel.png", f"{tables} tables of scores a point, exact transport; 99% bars."
    )
