"""HeavyWater, Theorem 4: the gap of random scores is a tail integral of their difference.

Statement: for iid scores of unit variance, two atoms (λ, 1-λ) and k -> infinity, D = E[Δ; Δ > q], where Δ is
the difference of two scores and P(Δ > q) = 1-λ. Scores with heavy tails have a larger gap than Gumbel scores
from λ = .8915 (gamma(.2)) and .9206 (log-normal) on.

Assumption: k -> infinity, scores standardised by the law's own mean and deviation. Gumbel sampling, detected
by -log(1-U) of the token's own uniform, is no transport: its gap is the mean of that statistic less 1.

Prediction: exact transport, which for two tokens is a partial sort, has that gap at very many values of side
information, for Gaussian, Gumbel, log-normal and gamma scores drawn by NumPy's own generators; simplex codes
of growing r approach the gap of fair bits as 1/k; simulated Gumbel sampling has its closed form. At the
crossings the simulated gaps are equal. At finite k, E D_k is at most D: prices are dual.

Controls: a decoder that gives the light token 4% too often; the tail beyond the quantile of one score; the
wrong law's integral; log-normal scores at k = 16 for the limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, finish, generator, panels
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.decoders import SimplexScores
from tradeoff.files import write_table
from tradeoff.optimal_transport import (
    LAWS,
    binary_gap,
    crossing,
    estimated_gap,
    gumbel_sampling_gap,
    seeded_table,
    simplex_gap,
    sorted_gap,
)
from tradeoff.plotting import (
    COLORS,
    Look,
    labelled,
    legend_below,
    watermark_look,
)

__all__ = ["run"]

NAME = "HeavyWater: Theorem 4"
_LAMBDAS = (0.75, 0.9, 0.95, 0.99)
#: Values of side information for each seed of the run.
_VALUES = 8
_SIZES = (16, 64, 256, 1024, 4096)
_DRAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "gaussian": lambda rng, k: rng.normal(size=k),
    "gumbel": lambda rng, k: rng.gumbel(size=k),
    "lognormal": lambda rng, k: rng.lognormal(size=k),
    "gamma": lambda rng, k: rng.standard_gamma(0.2, size=k),
}


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, transport_tails.csv and transport_tails.png."""
    rng = generator(seed, "transport tails")
    k = _VALUES * size
    records = []
    rows, deltas = _simplex_rows(), {}
    for name, law in LAWS.items():
        deltas[name] = _draw_scores(name, rng, k) - _draw_scores(name, rng, k)
        for lam in _LAMBDAS:
            gap, error = _simulated(lam, deltas[name])
            records.append((law.name, lam, law.gap(lam), gap, error))
    for lam in _LAMBDAS:
        statistic = _sampled_statistic(lam, size, rng)
        found = mean_and_error(statistic)
        records.append(("Gumbel sampling", lam, float(gumbel_sampling_gap([lam, 1 - lam])), *found))
    rows += [
        compare(NAME, f"{name}, λ = {lam:g}: gap", predicted, gap, error)
        for name, lam, predicted, gap, error in records
    ]
    for name in ("lognormal", "gamma"):
        at = crossing(LAWS[name].gap, LAWS["gumbel"].gap, 0.7, 0.99)
        (heavy, error), (gumbel, other) = (_simulated(at, deltas[law]) for law in (name, "gumbel"))
        setting = f"{LAWS[name].name} less Gumbel at λ = {at:.4f}"
        rows.append(compare(NAME, setting, 0.0, heavy - gumbel, math.hypot(error, other)))
    finite = _finite(min(max(size // 25, 5_000), 16_000), rng)
    rows += _finite_rows(finite)
    rows += _control_rows(deltas, finite)
    _draw(pd.DataFrame(records, columns=["score", "lambda", "predicted", "gap", "error"]), finite, k, out)
    return rows


def _draw_scores(name: str, rng: np.random.Generator, k: int) -> np.ndarray:
    return (_DRAWS[name](rng, k) - LAWS[name].mean) / LAWS[name].deviation


def _simulated(lam: float, delta: np.ndarray) -> tuple[float, float]:
    """The exact gap of scores that differ by delta [k], and its standard error."""
    estimate = estimated_gap(lam, np.zeros_like(delta), delta)
    return estimate.value, estimate.standard_error


def _sampled_statistic(lam: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """-log(1 - U) - 1 of the winners of Gumbel sampling from (λ, 1-λ)."""
    # As 1 - U is as uniform as U, 1 - u is the uniform that races and u the one behind the statistic.
    u = rng.random((size, 2))
    winner = np.argmin(-np.log1p(-u) / np.array([lam, 1 - lam]), axis=-1)
    return -np.log(np.take_along_axis(u, winner[:, None], axis=-1)[:, 0]) - 1


def _simplex_rows() -> list[Row]:
    """Fair bits: transport over simplex codes, which involves no random numbers."""
    worst, scaled = 0.0, 0.0
    for r in (4, 6, 8, 10):
        scores = SimplexScores(r)
        heavy, light = scores.rows(np.arange(2), seeded_table(0))
        deviation = math.sqrt(scores.mean * (1 - scores.mean))
        for lam in _LAMBDAS:
            gap = sorted_gap(lam, heavy, light)
            worst = max(worst, abs(gap - float(simplex_gap(lam, scores.k))))
            scaled = max(scaled, scores.k * abs(gap / deviation - float(binary_gap(lam))))
    setting = "simplex codes r = 4 to 10, λ = .75 to .99"
    return [
        compare(NAME, f"{setting}: largest |sorted gap - min(1-λ, (k+1)/4k)|", 0.0, worst),
        compare(
            NAME, f"{setting}: largest k |gap - that of fair bits|, deviations", 1.0, scaled, relation="≤"
        ),
    ]


def _finite(tables: int, rng: np.random.Generator) -> pd.DataFrame:
    """Mean gaps at finite k and λ = .9: columns score, k, gap, error."""
    records = []
    for name in LAWS:
        for k in _SIZES:
            count = max(tables * _SIZES[0] // k, 50)
            gaps = [sorted_gap(0.9, *np.split(_draw_scores(name, rng, 2 * k), 2)) for _ in range(count)]
            records.append((name, k, *mean_and_error(np.array(gaps))))
    return pd.DataFrame(records, columns=["score", "k", "gap", "error"])


def _finite_rows(finite: pd.DataFrame) -> list[Row]:
    rows = []
    for name, law in LAWS.items():
        part = finite[(finite["score"] == name) & (finite["k"] == 64)].iloc[0]
        setting = f"{law.name}, λ = 0.9, k = 64: E D_k"
        rows.append(compare(NAME, setting, law.gap(0.9), part["gap"], part["error"], relation="≤"))
    return rows


def _control_rows(deltas: dict[str, np.ndarray], finite: pd.DataFrame) -> list[Row]:
    law = LAWS["lognormal"]
    honest = _simulated(0.9, deltas["lognormal"])
    single = float((law.quantile(np.array(0.9)) - law.mean) / law.deviation)
    few = finite[(finite["score"] == "lognormal") & (finite["k"] == _SIZES[0])].iloc[0]
    what = "log-normal(0, 1), λ = 0.9"
    return [
        compare(
            NAME,
            f"{what}, light token 4% too often: gap",
            law.gap(0.9),
            *_simulated(0.86, deltas["lognormal"]),
            control=True,
        ),
        compare(
            NAME,
            f"{what}: gap, beyond the quantile of one score",
            float(law.tail_integral(single)),
            *honest,
            control=True,
        ),
        compare(
            NAME,
            "log-normal(0, 1), λ = 0.99: gap, the Gumbel integral",
            LAWS["gumbel"].gap(0.99),
            *_simulated(0.99, deltas["lognormal"]),
            control=True,
        ),
        compare(
            NAME, f"{what}: E D_k at k = {_SIZES[0]}", law.gap(0.9), few["gap"], few["error"], control=True
        ),
    ]


def _draw(table: pd.DataFrame, finite: pd.DataFrame, k: int, out: Path) -> None:
    written = pd.concat([table.assign(k=k), finite.assign(**{"lambda": 0.9})], ignore_index=True)
    write_table(written, out / "transport_tails.csv")
    figure, axes = panels(2)
    looks = dict(
        zip(
            table["score"].unique(),
            [
                Look(COLORS["sky"], marker="v"),
                watermark_look("gumbel").mixed("white", 0.5),
                watermark_look("heavywater"),
                watermark_look("heavywater:gamma"),
                watermark_look("gumbel"),
            ],
            strict=True,
        )
    )
    for name, part in table.groupby("score", sort=False):
        ratio = part["gap"] / part["predicted"]
        axes[0].errorbar(
            np.arange(len(part)) + 0.12 * (list(looks).index(name) - 2),
            ratio,
            BAR * part["error"] / part["predicted"],
            ms=4,
            capsize=2,
            label=name,
            **looks[name].points,
        )
    axes[0].axhline(1, color=COLORS["black"], lw=1)
    axes[0].set_xticks(range(len(_LAMBDAS)), [f"{lam:g}" for lam in _LAMBDAS])
    axes[0].set(xlabel="λ", ylabel="simulated / tail integral", title="Many values of side information")
    axes[0].margins(y=0.15)
    for place, (name, part) in enumerate(finite.groupby("score", sort=False)):
        law = LAWS[name]
        axes[1].errorbar(
            # Side by side.
            part["k"] * 2 ** (0.25 * (place - 1.5)),
            part["gap"] / law.gap(0.9),
            BAR * part["error"] / law.gap(0.9),
            ms=4,
            capsize=2,
            label=law.name,
            **looks[law.name].points,
        )
    axes[1].axhline(1, color=COLORS["black"], lw=1)
    axes[1].set_xscale("log", base=2)
    axes[1].set_xticks(_SIZES, [f"{k:,}" for k in _SIZES])
    axes[1].set(xlabel="k", ylabel="E D_k / D", title="Few values, λ = 0.9")
    legend_below(figure, labelled(axes[0]), columns=3)
    finish(
        figure,
        out / "transport_tails.png",
        f"Left: k = {k:,}; Gumbel sampling: {k // _VALUES:,} tokens. Right: random tables. 99% bars.",
    )
