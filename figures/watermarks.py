"""Watermarks compared: share of texts detected by bets, by the number of tokens read.

python -m figures.watermarks paper_repro/results/transport
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import pandas as pd
import typer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.names import method_name, watermark_name
from figures.sequential import read_shares
from tradeoff.console import exit_on_bad_input, print_written, stdout
from tradeoff.plane import COLORS, save_figure

__all__ = ["draw_watermark_figure", "draw_watermarks"]

_ALPHA = 0.01
_STYLES = {
    "gumbel": ("black", "-"),
    "synthid": ("sky", "-"),
    "simplexwater": ("green", "-"),
    "heavywater:lognormal": ("vermilion", "-"),
    "heavywater:gamma": ("orange", "-"),
}


def draw_watermarks(table: pd.DataFrame, alpha: float = _ALPHA) -> Figure:
    """Share of texts detected by bets at level `alpha`: without speculation above, with it below.

    Args:
        table: of `paper_repro.sequential.share_table`.
        alpha: one of its levels.
    """
    part = table[(table["alpha"] == alpha) & (table["kind"] == "betting")]
    plain, speculative = part[part["method"] == "basic"], part[part["method"] != "basic"]
    panels = [(f"no speculation, T = {t:g}", group) for t, group in plain.groupby("temperature")]
    panels += [(f"speculation, T = {t:g}", group) for t, group in speculative.groupby("temperature")]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(4.6 * columns, 3.5 * rows + 0.9),
        squeeze=False,
        layout="constrained",
        sharey=True,
    )
    handles: dict[str, Line2D] = {}
    for axes, (title, group) in zip(grid.flat, panels, strict=False):
        for (method, watermark), curve in group.groupby(["method", "watermark"], sort=False):
            color, line, label = _style(str(method), str(watermark))
            (drawn,) = axes.plot(curve["tokens"], curve["share"], line, color=color, lw=1.8)
            handles.setdefault(label, drawn)
        axes.set_title(f"{title} ({int(group['texts'].max())} texts)", fontsize=10)
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
    figure.suptitle(f"Detected by bets so far, with error at most {alpha:g} at any time", fontsize=11.5)
    return figure


def draw_watermark_figure(folder: Path) -> list[Path]:
    """watermarks.png beside the table in `folder`; nothing if it holds fewer than two watermarks.

    Raises:
        FileError: if the table is missing or is none.
    """
    table = read_shares(folder)
    if table.empty or table["watermark"].nunique() < 2:
        return []
    save_figure(draw_watermarks(table), [folder / "watermarks.png"])
    return [folder / "watermarks.png"]


def _style(method: str, watermark: str) -> tuple[str, str, str]:
    """Colour, line and label; with speculation lines are broken where nothing was completed."""
    completed = watermark.startswith("completed:")
    kind = watermark.removeprefix("completed:")
    color, line = next((style for name, style in _STYLES.items() if kind.startswith(name)), ("grey", "-"))
    if "sinkhorn" in kind:
        line = ":"
    if method == "basic":
        return COLORS[color], line, watermark_name(watermark)
    line = "-." if completed else "--"
    return COLORS[color], line, f"{watermark_name(watermark)}, {method_name(method)}"


def main(folder: Annotated[Path, typer.Argument(help="Folder with sequential_shares.csv.")]) -> None:
    """Draw the picture again from the table of a run."""
    with exit_on_bad_input():
        print_written(stdout(), draw_watermark_figure(folder))


if __name__ == "__main__":
    typer.run(main)
