"""Watermarks compared: share of texts detected by bets, by the number of tokens read.

python -m figures watermarks paper_repro/results/transport
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from figures.experiment.names import method_name, watermark_name
from figures.experiment.shares import read_shares, share_panels
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.plotting import Figure, Look, method_look, save_figure, watermark_look

__all__ = ["draw", "draw_watermark_figure", "draw_watermarks"]

_ALPHA = 0.01


def draw_watermarks(table: pd.DataFrame, alpha: float = _ALPHA) -> Figure:
    """Share of texts detected by bets at level `alpha`: without speculation above, with it below.

    Args:
        table: of `paper_repro.trials.sequential.share_table`.
        alpha: one of its levels.
    """
    part = table[(table["alpha"] == alpha) & (table["kind"] == "betting")]
    plain, speculative = part[part["method"] == "basic"], part[part["method"] != "basic"]
    groups = [(f"no speculation, T = {t:g}", group) for t, group in plain.groupby("temperature")]
    groups += [(f"speculation, T = {t:g}", group) for t, group in speculative.groupby("temperature")]
    panels = []
    for title, group in groups:
        curves = group.groupby(["method", "watermark"], sort=False)
        several = group.groupby("watermark")["method"].nunique() > 1
        styled = [
            (*_look(str(method), str(mark), bool(several[mark])), curve) for (method, mark), curve in curves
        ]
        panels.append((title, styled))
    return share_panels(panels, f"Detected by bets so far, with error at most {alpha:g} at any time")


def draw_watermark_figure(folder: Path, suffixes: Sequence[str] = (".png",)) -> list[Path]:
    """watermarks.png, or in other formats, beside the table in `folder`; nothing if it holds fewer than two.

    Raises:
        FileError: if the table is missing or is none.
    """
    table = read_shares(folder)
    if table.empty or table["watermark"].nunique() < 2:
        return []
    paths = [folder / f"watermarks{suffix}" for suffix in suffixes]
    save_figure(draw_watermarks(table), paths)
    return paths


def _look(method: str, watermark: str, several: bool) -> tuple[Look, str]:
    """The watermark's look, with hollow marks under speculation, and the label of both.

    Where several methods of one watermark stand beside each other, the colour is the method's.
    """
    look = watermark_look(watermark)
    if method == "basic":
        return look, watermark_name(watermark)
    if several:
        look = replace(look, color=method_look(method).color)
    return look.varied(look.line, filled=False), f"{watermark_name(watermark)}, {method_name(method)}"


def draw(folder: Annotated[Path, typer.Argument(help="Folder with sequential_shares.csv.")]) -> None:
    """Draw the picture again from the table of a run."""
    with exit_on_bad_input():
        print_written(stdout(), draw_watermark_figure(folder))
