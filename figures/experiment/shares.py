"""Sequential detection: share of texts detected by the number of tokens read, from an experiment's tables.

python -m figures shares paper_repro/results/sequential
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from figures.experiment.names import method_name, watermark_name
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.errors import FileError
from tradeoff.plotting import (
    COLORS,
    Figure,
    Line,
    Line2D,
    Look,
    add_headline,
    legend_below,
    new_figure,
    save_figure,
)

__all__ = ["draw", "draw_sequential_figure", "draw_shares", "read_shares", "share_panels"]

_ALPHA = 0.02
#: Points of a curve from mark to mark.
_APART = 7
_ANCHORED = {"tokens": "-", "2 buckets": "--", "4 buckets": "-.", "16 buckets": ":"}


def draw_shares(table: pd.DataFrame, alpha: float = _ALPHA) -> Figure:
    """Share of texts detected at level `alpha` by each number of tokens: one panel a setting.

    Args:
        table: of `paper_repro.trials.sequential.share_table`.
        alpha: one of its levels.
    """
    part = table[(table["alpha"] == alpha) & (table["kind"] != "fixed length")]
    panels = []
    for (method, temperature, watermark), group in part.groupby(
        ["method", "temperature", "watermark"], sort=False
    ):
        title = f"{method_name(str(method))}, {watermark_name(str(watermark))}, T = {temperature:g}"
        curves = group.groupby(["test", "kind"], sort=False)
        panels.append((title, [(*_look(str(test), str(kind)), curve) for (test, kind), curve in curves]))
    return share_panels(panels, f"Detected so far, at any time, with error at most {alpha:g}")


def share_panels(
    panels: Sequence[tuple[str, Sequence[tuple[Look, str, pd.DataFrame]]]], title: str
) -> Figure:
    """Shares of texts detected against tokens read, three panels a row, with one legend below.

    Args:
        panels: of each its title, and looks and labels with rows of `share_table`.
        title: of all.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = new_figure(rows, columns, size=(4.6 * columns, 3.4 * rows + 0.9), sharey=True)
    handles: dict[str, Line2D] = {}
    for axes, (name, curves) in zip(grid.flat, panels, strict=False):
        for number, (look, label, curve) in enumerate(curves):
            # Marks of several curves seldom meet.
            marks = {"ms": 5, "markevery": (number % _APART, _APART)}
            (drawn,) = axes.plot(curve["tokens"], curve["share"], lw=1.6, **marks, **look.both)
            handles.setdefault(label, drawn)
        texts = max(int(curve["texts"].max()) for _, _, curve in curves)
        axes.set_title(f"{name} ({texts} texts)")
        axes.set_xlabel("tokens read")
        axes.set_ylim(-0.02, 1.02)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("share of texts detected")
    legend_below(figure, handles, columns=3)
    add_headline(figure, title)
    return figure


def draw_sequential_figure(folder: Path, suffixes: Sequence[str] = (".png",)) -> list[Path]:
    """sequential.png, or in other formats, beside the table in `folder`; nothing if the table is empty.

    Raises:
        FileError: if the table is missing or is none.
    """
    table = read_shares(folder)
    if table.empty:
        return []
    paths = [folder / f"sequential{suffix}" for suffix in suffixes]
    save_figure(draw_shares(table), paths)
    return paths


def read_shares(folder: Path) -> pd.DataFrame:
    """The table that both pictures are drawn from; empty if nothing was tested.

    Raises:
        FileError: if it is missing or is none.
    """
    path = folder / "sequential_shares.csv"
    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read ({error}); run the experiment first") from error


def _look(test: str, kind: str) -> tuple[Look, str]:
    """Look and label of a test: in a panel of one scheme colours and marks tell tests apart."""
    if kind == "betting":
        return _test_look("vermilion", "-", "o"), "bets, key alone"
    if test.startswith("e*, "):
        values = test.removeprefix("e*, ")
        return _test_look("orange", _ANCHORED.get(values, "-"), "D"), f"e* with the draft model, {values}"
    if test == "draft-aware hits":
        return _test_look("blue", "--", "s"), f"hits with the draft model, {kind}"
    if kind == "anchored":
        return _test_look("blue", "-", "s"), "bets with the draft model"
    if "likelihood" in test:
        return _test_look("green", "--", "^"), f"{test.split(',')[0]}, {kind}"
    if test in ("Ars-τ", "Ars-Prior"):
        return _test_look("sky", "-" if test == "Ars-τ" else "--", "v"), f"{test}, {kind}"
    return _test_look("black", ":" if test == "mean of bits" else "-", "X"), f"{test}, {kind}"


def _test_look(color: str, line: Line, marker: str) -> Look:
    return Look(COLORS[color], line, marker, filled=line == "-")


def draw(folder: Annotated[Path, typer.Argument(help="Folder with sequential_shares.csv.")]) -> None:
    """Draw the picture again from the table of a run."""
    with exit_on_bad_input():
        print_written(stdout(), draw_sequential_figure(folder))
