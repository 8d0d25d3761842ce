"""Figure 1 of "Anchored E-Watermarking": the solver's objective by iteration, against J*.

    python -m figures anchored_figure_1           pdf, png and csv in figures/results
    python -m figures anchored_figure_1 --check   every reference value, beside what is computed

The convex programme for the best e-value against the worst target (`tradeoff.anchored.programme`), for two
tokens and three anchors (p, 1-p), is stopped after 1, 2, ..., 30 interior-point iterations. It finds J*, the
closed form, by itself after some fifteen; how fast depends on the version of the solver.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from figures.reference import Reference, print_references
from tradeoff.anchored import anchored_growth, best_e_value
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.plotting import (
    COLORS,
    WIDTH,
    Figure,
    add_note,
    label_ends,
    labelled,
    legend_below,
    new_figure,
    save_figure,
    whole_numbers,
)

__all__ = ["ANCHORS", "DELTA", "compute", "draw", "draw_anchored_figure_1", "references"]

RESULTS = Path("figures/results")
#: Probability of the first of two tokens, and how its anchor is drawn.
ANCHORS = {0.5: ("blue", "o"), 0.7: ("orange", "s"), 0.9: ("green", "^")}
DELTA = 0.01
_ITERATIONS = 30
#: J* at delta = 0.01 and 0.1, from an independent programme and its own solution.
_J_STAR: dict[tuple[float, ...], tuple[float, float]] = {
    (0.5, 0.5): (0.6616681, 0.4946319),
    (0.7, 0.3): (0.5793852, 0.4123491),
    (0.9, 0.1): (0.2936039, 0.1265677),
    (0.5, 0.3, 0.2): (0.9947082, 0.7964804),
    (0.4, 0.3, 0.2, 0.1): (1.2428821, 1.0264084),
}
#: The objective for p = 0.5 after 1, 2, ... iterations, with the decimals that were noted.
_BY_ITERATION = ((-1.196, 3), (0.228, 3), (0.498, 3), (0.617, 3), (0.650, 3), (0.659, 3), (0.6612, 4))


def compute(iterations: int = _ITERATIONS) -> pd.DataFrame:
    """The objective by iteration: columns p, iteration, objective, j_star, status.

    Raises:
        SolverError: if the solver reaches no value.
        ValueError: for fewer than 1 iterations.
    """
    rows = []
    for p in ANCHORS:
        j_star = float(anchored_growth([p, 1 - p], DELTA))
        for k in range(1, iterations + 1):
            reached = best_e_value([p, 1 - p], DELTA, max_iter=k)
            rows.append((p, k, reached.value, j_star, reached.status))
    return pd.DataFrame(rows, columns=["p", "iteration", "objective", "j_star", "status"])


def references() -> list[Reference]:
    """Every reference value: J* by its formula and by the programme, and the solver's first iterations."""
    rows = []
    for p0, values in _J_STAR.items():
        for delta, value in zip((0.01, 0.1), values, strict=True):
            name = f"p0 = ({', '.join(f'{x:g}' for x in p0)}), δ = {delta:g}"
            rows.append(Reference(f"J*, {name}", float(anchored_growth(p0, delta)), value, 1e-7))
            rows.append(Reference(f"  programme, {name}", best_e_value(p0, delta).value, value, 1e-6))
    for k, (value, decimals) in enumerate(_BY_ITERATION, 1):
        objective = best_e_value([0.5, 0.5], DELTA, max_iter=k).value
        # Half a unit of the last decimal noted, and as much again for another version of the solver.
        rows.append(Reference(f"  p = 0.5, iteration {k}: objective", objective, value, 10.0**-decimals))
    return rows


def draw_anchored_figure_1(out: Path = RESULTS) -> list[Path]:
    """Compute and draw the figure.

    Args:
        out: folder for the pdf, png and csv.

    Returns:
        The files written.

    Raises:
        FileError: if a file cannot be written.
        SolverError: if the solver reaches no value.
    """
    output_folder(out)
    table = compute()
    paths = [out / f"anchored_figure_1.{suffix}" for suffix in ("pdf", "png", "csv")]
    save_figure(_figure(table), paths[:2])
    write_table(table, paths[2])
    return paths


def _figure(table: pd.DataFrame) -> Figure:
    figure, [[left, right]] = new_figure(1, 2, size=(WIDTH, 3.6))
    ends = []
    for (p, part), (colour, marker) in zip(table.groupby("p"), ANCHORS.values(), strict=True):
        style = {"color": COLORS[colour], "marker": marker, "ms": 4, "lw": 1.4, "label": f"p = {p:g}"}
        j_star = float(part["j_star"].iloc[0])
        left.plot(part["iteration"], part["objective"], **style)
        left.axhline(j_star, color=COLORS[colour], ls="--", lw=1.2)
        ends.append((j_star, f"J* {j_star:.4f}", COLORS[colour]))
        gap = np.abs(part["objective"] - j_star)
        right.semilogy(part["iteration"], np.maximum(gap, 1e-11), **style)
    left.set(ylabel="objective (nats per token)", title="Objective; dashed: J*")
    right.set(ylabel="|objective − J*| (nats per token)", title="Distance from J*")
    label_ends(left, ends)
    for axes in (left, right):
        axes.set_xlabel("interior-point iterations")
        whole_numbers(axes)
    legend_below(figure, labelled(left), columns=3)
    add_note(
        figure,
        f"Two tokens, anchor (p, 1 − p), δ = {DELTA:g}. CLARABEL, stopped after each number of iterations; "
        "it stops by itself where the curves become flat.",
    )
    return figure


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    check: Annotated[
        bool, typer.Option("--check", help="Print every reference value and exit 1 if one is missed.")
    ] = False,
) -> None:
    """Draw Figure 1 of Anchored E-Watermarking, or check its reference values."""
    with exit_on_bad_input():
        if check:
            raise typer.Exit(0 if print_references(stdout(), references()) else 1)
        print_written(stdout(), draw_anchored_figure_1(out))
