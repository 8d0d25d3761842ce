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
from tradeoff.plotting import COLORS, Figure, Line2D, new_figure, save_figure

__all__ = ["Style", "draw", "draw_sequential_figure", "draw_shares", "read_shares", "share_panels"]

#: Colour, line and label.
Style = tuple[str, str, str]
_ALPHA = 0.02
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
        panels.append((title, [(_style(str(test), str(kind)), curve) for (test, kind), curve in curves]))
    return share_panels(panels, f"Detected so far, at any time, with error at most {alpha:g}")


def share_panels(panels: Sequence[tuple[str, Sequence[tuple[Style, pd.DataFrame]]]], title: str) -> Figure:
    """Shares of texts detected against tokens read, three panels a row, with one legend below.

    Args:
        panels: of each its title, and styles (colour, line, label) with rows of `share_table`.
        title: of all.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = new_figure(rows, columns, size=(4.6 * columns, 3.4 * rows + 0.9), sharey=True)
    handles: dict[str, Line2D] = {}
    for axes, (name, curves) in zip(grid.flat, panels, strict=False):
        for (color, line, label), curve in curves:
            (drawn,) = axes.plot(curve["tokens"], curve["share"], line, color=color, lw=1.7)
            handles.setdefault(label, drawn)
        texts = max(int(curve["texts"].max()) for _, curve in curves)
        axes.set_title(f"{name} ({texts} texts)", fontsize=9.5)
        axes.set_xlabel("tokens read")
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.25, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("share of texts detected")
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
    )
    figure.suptitle(title, fontsize=11.5)
    return figure


def draw_sequential_figure(folder: Path) -> list[Path]:
    """sequential.png beside the table in `folder`; nothing if the table is empty.

    Raises:
        FileError: if the table is missing or is none.
    """
    table = read_shares(folder)
    if table.empty:
        return []
    save_figure(draw_shares(table), [folder / "sequential.png"])
    return [folder / "sequential.png"]


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


def _style(test: str, kind: str) -> Style:
    """Colour, line and label of a test."""
    if kind == "betting":
        return COLORS["vermilion"], "-", "bets, key alone"
    if test.startswith("e*, "):
        values = test.removeprefix("e*, ")
        return COLORS["orange"], _ANCHORED.get(values, "-"), f"e* with the draft model, {values}"
    if test == "draft-aware hits":
        return COLORS["blue"], "--", f"hits with the draft model, {kind}"
    if kind == "anchored":
        return COLORS["blue"], "-", "bets with the draft model"
    if "likelihood" in test:
        return COLORS["green"], "--", f"{test.split(',')[0]}, {kind}"
    if test in ("Ars-τ", "Ars-Prior"):
        return COLORS["sky"], "-" if test == "Ars-τ" else "--", f"{test}, {kind}"
    return COLORS["black"], ":" if test == "mean of bits" else "-", f"{test}, {kind}"


def draw(folder: Annotated[Path, typer.Argument(help="Folder with sequential_shares.csv.")]) -> None:
    """Draw the picture again from the table of a run."""
    with exit_on_bad_input():
        print_written(stdout(), draw_sequential_figure(folder))
