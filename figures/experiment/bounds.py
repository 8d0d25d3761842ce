"""Predictions at the positions of generated texts, how far from them measurements are, and controls.

python -m figures bounds paper_repro/results/papers
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.errors import FileError
from tradeoff.plotting import (
    COLORS,
    WIDTH,
    Axes,
    Figure,
    Look,
    add_headline,
    add_note,
    legend_below,
    new_figure,
    save_figure,
)

__all__ = ["draw", "draw_bounds", "draw_bounds_figure"]

#: Statements from above, and what is compared.
_STATEMENTS = {
    "unbiased": "mean surprise",
    "acceptance": "acceptance",
    "steps": "accepted a step",
    "key gives token": "key gives token",
    "strength": "strength",
    "score": "mean score",
    "simulated score": "simulated score",
    "share found": "share found",
    "share given texts": "share, given texts",
}
_PREDICTION, _CONTROL = Look(COLORS["blue"], "none", "o"), Look(COLORS["vermilion"], "none", "x")
#: z scores are drawn in proportion up to here, and by their logarithm beyond.
_LINEAR = 4.0


def draw_bounds(table: pd.DataFrame) -> Figure:
    """z scores by statement, and shares as predicted and as measured.

    Args:
        table: of `python -m paper_repro.bounds`.
    """
    table = table.assign(control=table["control"].fillna(""))
    figure, ((left, right),) = new_figure(1, 2, size=(WIDTH, 3.9))
    _z_scores(left, table)
    _shares(right, table)
    predictions = int((table["control"] == "").sum())
    add_headline(figure, "What theory predicts of generated texts, and what was measured")
    marks = {"prediction": _mark(left, _PREDICTION), "control": _mark(left, _CONTROL)}
    legend_below(figure, marks, columns=2)
    add_note(
        figure,
        f"{predictions} predictions, {len(table) - predictions} controls. Grey: where all {predictions} z "
        "scores are with probability 99% if all predictions are right (Bonferroni). Right: no controls.",
    )
    return figure


def _z_scores(axes: Axes, table: pd.DataFrame) -> None:
    bound = float(table["bound"].iloc[0])
    axes.axvspan(-bound, bound, color=COLORS["grey"], alpha=0.2, lw=0)
    shown = [name for name in _STATEMENTS if (table["statement"] == name).any()]
    for row, name in enumerate(shown):
        part = table[table["statement"] == name]
        for control, look, shift in ((False, _PREDICTION, 0.16), (True, _CONTROL, -0.16)):
            z = part.loc[(part["control"] != "") == control, "z"].to_numpy()
            # Points that would hide each other are spread in a fixed order.
            height = -row + shift + 0.12 * np.linspace(-1, 1, len(z)) if len(z) > 1 else -row + shift
            axes.plot(z, np.broadcast_to(height, len(z)), **look.points, ms=3.5)
    axes.set_xscale("symlog", linthresh=_LINEAR, linscale=1.1)
    axes.set_xticks([-100, -10, 0, 10, 100])
    axes.set_yticks([-row for row in range(len(shown))], [_STATEMENTS[name] for name in shown])
    axes.set_xlabel("measured less predicted, in standard errors")


def _shares(axes: Axes, table: pd.DataFrame) -> None:
    looks = {
        "acceptance": Look(COLORS["blue"], "none", "o"),
        "share found": Look(COLORS["green"], "none", "^", filled=False),
        "share given texts": Look(COLORS["purple"], "none", "s", filled=False),
    }
    axes.plot([0, 1], [0, 1], color=COLORS["grey"], lw=0.8)
    for name, look in looks.items():
        part = table[(table["statement"] == name) & (table["control"] == "") & (table["what"] == "mean")]
        axes.plot(part["predicted"], part["measured"], **look.points, ms=4, label=_STATEMENTS[name])
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted", ylabel="measured")
    axes.set_aspect("equal")
    axes.legend(loc="lower right")


def _mark(axes: Axes, look: Look) -> object:
    (line,) = axes.plot([], [], **look.points, ms=4)
    return line


def draw_bounds_figure(folder: Path, suffixes: Sequence[str] = (".png",)) -> list[Path]:
    """bounds.png, or in other formats, beside the table in `folder`.

    Raises:
        FileError: if the table is missing or is none.
    """
    try:
        table = pd.read_csv(folder / "bounds.csv")
    except (OSError, ValueError) as error:
        raise FileError(
            f"{folder / 'bounds.csv'} cannot be read ({error}); run python -m paper_repro.bounds"
        ) from error
    paths = [folder / f"bounds{suffix}" for suffix in suffixes]
    save_figure(draw_bounds(table), paths)
    return paths


def draw(folder: Annotated[Path, typer.Argument(help="Folder with bounds.csv.")]) -> None:
    """Draw the picture again from the table of a run."""
    with exit_on_bad_input():
        print_written(stdout(), draw_bounds_figure(folder))
