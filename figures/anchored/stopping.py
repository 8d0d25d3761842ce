"""Figure 2 of "Anchored E-Watermarking": tokens to detect, E[tau] / log(1/alpha), against alpha.

    python -m figures anchored_figure_2           pdf, png and csv in figures/results
    python -m figures anchored_figure_2 --check   every reference value, beside what is computed

Two tokens with anchor (p, 1-p), e* for delta = 0.1, and the worst target: eps = delta/2 of the mass moved to
the first token, so that (token, seed) is (0, 0), (1, 1) or (0, 1) with probability p, 1-p-eps and eps. Each
simulated path serves all levels, which makes neighbouring points dependent. Full lines are Wald's identity
with the limiting overshoot, computed from the law of the walk and not fitted
(`tradeoff.anchored.first_passage`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from figures.anchored.growth import ANCHORS
from figures.reference import Reference, print_references
from tradeoff.anchored import Walk
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.plotting import (
    COLORS,
    WIDTH,
    Figure,
    add_note,
    labelled,
    legend_below,
    new_figure,
    save_figure,
    whole_numbers,
)

__all__ = ["DELTA", "compute", "draw", "draw_anchored_figure_2", "references", "worst_walk"]

RESULTS = Path("figures/results")
DELTA = 0.1
DEFAULT_PATHS = 10_000
#: -log10 of the levels: 1e-2 to 1e-120.
_DIGITS = np.arange(2, 121, 2)
#: Error bars are this many standard errors long: 99% of them, each by itself, cover the truth.
_BAR = 2.576
#: 1/J*, and E[tau]/log(1/alpha) at alpha = 1e-2, 1e-10, 1e-40 and 1e-120 from an independent simulation of
#: 10,000 paths.
_REFERENCES = {
    0.5: (2.0217, (2.200, 2.049, 2.026, 2.023)),
    0.7: (2.4251, (2.605, 2.460, 2.433, 2.428)),
    0.9: (7.9009, (9.164, 8.164, 7.962, 7.917)),
}
_REFERENCE_DIGITS = np.array([2, 10, 40, 120])
#: Up to 1e-12 E[tau] is computed exactly; for smaller alpha the overshoot has nearly reached its limit.
_EXACT_DIGITS = 12


def worst_walk(p: float, delta: float = DELTA) -> Walk:
    """log e* of one token after another for anchor (p, 1-p) and the worst target at l1 distance `delta`."""
    eps = delta / 2
    return Walk.anchored([p, 1 - p], [p + eps, 1 - p - eps], eps)


def compute(paths: int = DEFAULT_PATHS, seed: int = 0) -> pd.DataFrame:
    """Mean stopping times by level: columns p, alpha, ratio, ratio_error, exact (NaN below 1e-12), wald,
    limit (1/J*), paths.

    Raises:
        ValueError: for fewer than 2 paths.
    """
    if paths < 2:
        raise ValueError(f"paths={paths} must be at least 2, for a standard error; the paper has 10,000")
    levels = _DIGITS * math.log(10)
    parts = []
    for p in ANCHORS:
        walk = worst_walk(p)
        exact = [
            walk.mean_passage(b) / b if d <= _EXACT_DIGITS else math.nan
            for d, b in zip(_DIGITS, levels, strict=True)
        ]
        tau = walk.passages(levels, paths, np.random.default_rng([seed, round(100 * p)]))
        parts.append(
            pd.DataFrame(
                {
                    "p": p,
                    "alpha": [float(f"1e-{d}") for d in _DIGITS],
                    "ratio": tau.mean(axis=0) / levels,
                    "ratio_error": tau.std(axis=0, ddof=1) / math.sqrt(paths) / levels,
                    "exact": exact,
                    "wald": (levels + walk.limiting_overshoot) / walk.mean / levels,
                    "limit": 1 / walk.mean,
                    "paths": paths,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def references(paths: int = DEFAULT_PATHS, seed: int = 0) -> list[Reference]:
    """Every reference value: 1/J*, and simulated times against theory and an independent simulation."""
    table, rows = compute(paths, seed), []
    for p, (limit, ratios) in _REFERENCES.items():
        walk, part = worst_walk(p), table[table["p"] == p].set_index(_DIGITS)
        rows.append(Reference(f"p = {p:g}: 1/J*", 1 / walk.mean, limit, 5e-5))
        for digits, ratio in zip(_REFERENCE_DIGITS.tolist(), ratios, strict=True):
            name = f"p = {p:g}, α = 1e-{digits}"
            value, error = float(part["ratio"][digits]), float(part["ratio_error"][digits])
            # The reference has the error of its own 10,000 paths.
            both = 4 * math.hypot(error, error * math.sqrt(paths / 10_000)) + 5e-4
            rows.append(Reference(f"{name}: E[τ]/log(1/α), simulated", value, ratio, both, error))
            what = "exact" if digits <= _EXACT_DIGITS else "wald"
            theory = float(part[what][digits])
            rows.append(Reference(f"  less theory ({what})", value - theory, 0.0, 4 * error, error))
    return rows


def draw_anchored_figure_2(out: Path = RESULTS, *, paths: int = DEFAULT_PATHS, seed: int = 0) -> list[Path]:
    """Simulate and draw the figure.

    Args:
        out: folder for the pdf, png and csv.
        paths, seed: simulated texts, and the seed of their generator.

    Returns:
        The files written.

    Raises:
        FileError: if a file cannot be written.
        ValueError: for fewer than 2 paths.
    """
    output_folder(out)
    table = compute(paths, seed)
    written = [out / f"anchored_figure_2.{suffix}" for suffix in ("pdf", "png", "csv")]
    save_figure(_figure(table), written[:2])
    write_table(table, written[2])
    return written


def _figure(table: pd.DataFrame) -> Figure:
    figure, [panels] = new_figure(1, len(ANCHORS), size=(WIDTH, 3.6))
    for axes, (p, part) in zip(panels, table.groupby("p"), strict=True):
        limit = float(part["limit"].iloc[0])
        bars = {"elinewidth": 0.8, "ms": 2.5, "fmt": "o", "color": COLORS["blue"]}
        axes.errorbar(_DIGITS, part["ratio"], _BAR * part["ratio_error"], label="simulated", **bars)
        wald = {"color": COLORS["black"], "lw": 1.2, "zorder": 3}
        axes.plot(_DIGITS, part["wald"], label="Wald, with overshoot", **wald)
        axes.plot(_DIGITS, part["exact"], "x", ms=5, color=COLORS["orange"], label="exact", zorder=4)
        axes.axhline(limit, color=COLORS["vermilion"], ls="--", lw=1.4, label="1/J*")
        axes.set(xlabel="log₁₀(1/α)", title=f"p = {p:g}, 1/J* = {limit:.4f}")
        whole_numbers(axes)
    panels[0].set_ylabel("E[τ] / log(1/α)  (tokens per nat)")
    legend_below(figure, labelled(panels[0]), columns=4)
    add_note(
        figure,
        f"Two tokens, anchor (p, 1 − p), δ = {DELTA:g}, worst target; n = {int(table['paths'].iloc[0]):,} "
        "texts. Bars: 99% intervals; the points of a panel share their texts.",
    )
    return figure


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    paths: Annotated[int, typer.Option(help="Simulated texts.")] = DEFAULT_PATHS,
    seed: Annotated[int, typer.Option(help="Seed of their generator.")] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Print every reference value and exit 1 if one is missed.")
    ] = False,
) -> None:
    """Draw Figure 2 of Anchored E-Watermarking, or check its reference values."""
    with exit_on_bad_input():
        if check:
            raise typer.Exit(0 if print_references(stdout(), references(paths, seed)) else 1)
        print_written(stdout(), draw_anchored_figure_2(out, paths=paths, seed=seed))
