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

from figures.experiment.names import in_parts, watermark_name
from figures.experiment.shares import Panel, read_shares, share_panels
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.plotting import Figure, Look, method_look, save_figure, watermark_look

__all__ = ["draw", "draw_watermark_figure", "draw_watermarks"]

_ALPHA = 0.01
#: What the name of a soft plan has and that of an exact one lacks.
_SOFT = r",sinkhorn=[^,]*"


def draw_watermarks(table: pd.DataFrame, alpha: float = _ALPHA) -> Figure:
    """Share of texts detected by bets at level `alpha`.

    Colours are of watermarks, without speculation and with it, or of methods, a panel a watermark, if one of
    them was drawn by several speculative methods.

    Args:
        table: of `paper_repro.trials.sequential.share_table`.
        alpha: one of its levels.
    """
    part = table[(table["alpha"] == alpha) & (table["kind"] == "betting")]
    speculative = part[part["method"] != "basic"].groupby(["temperature", "watermark"])["method"].nunique()
    panels = _by_method(part) if (speculative > 1).any() else _by_watermark(part)
    return share_panels(
        [(title, shown) for title, curves in panels for shown in in_parts(curves)],
        f"Detected by bets so far, with error at most {alpha:g} at any time",
    )


def _by_method(table: pd.DataFrame) -> list[Panel]:
    return [
        (
            f"{watermark_name(str(watermark))}, T = {temperature:g}",
            [
                (method_look(str(method)), str(method), curve)
                for method, curve in group.groupby("method", sort=False)
            ],
        )
        for (watermark, temperature), group in table.groupby(["watermark", "temperature"], sort=False)
    ]


def _by_watermark(table: pd.DataFrame) -> list[Panel]:
    """Without speculation, soft plans beside exact ones, and with speculation; a row of panels each."""
    panels: list[Panel] = []
    plain, speculative = table[table["method"] == "basic"], table[table["method"] != "basic"]
    for temperature, group in plain.groupby("temperature"):
        soft = group["watermark"].str.contains("sinkhorn")
        exact = group["watermark"].isin(set(group["watermark"][soft].str.replace(_SOFT, "", regex=True)))
        panels.append((f"basic, T = {temperature:g}", _watermarks(group[~soft])))
        panels.append((f"basic, T = {temperature:g}, by Sinkhorn", _watermarks(group[soft | exact])))
    for temperature, group in speculative.groupby("temperature"):
        panels.append((f"with speculation, T = {temperature:g}", _watermarks(group)))
    return [(title, curves) for title, curves in panels if len(curves) > ("Sinkhorn" in title)]


def _watermarks(table: pd.DataFrame) -> list[tuple[Look, str, pd.DataFrame]]:
    """One scheme a watermark, in the watermark's look; marks are hollow under speculation."""
    return [
        (
            replace(watermark_look(str(mark)), filled=_full(str(method), str(mark))),
            _label(str(method), str(mark)),
            curve,
        )
        for (method, mark), curve in table.groupby(["method", "watermark"], sort=False)
    ]


def _full(method: str, watermark: str) -> bool:
    return method == "basic" and watermark_look(watermark).filled


def _label(method: str, watermark: str) -> str:
    return watermark_name(watermark) if method == "basic" else f"{watermark_name(watermark)}, {method}"


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


def draw(folder: Annotated[Path, typer.Argument(help="Folder with sequential_shares.csv.")]) -> None:
    """Draw the picture again from the table of a run."""
    with exit_on_bad_input():
        print_written(stdout(), draw_watermark_figure(folder))
