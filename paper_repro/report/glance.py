"""The one table at the head of a report and at the end of a run: every scheme, what is found, how fast."""

from __future__ import annotations

import math

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from figures.experiment.names import watermark_name
from paper_repro.presets import Cell, Preset
from tradeoff.decoders import parse_decoder
from tradeoff.detection import default_detector
from tradeoff.kernels import make_method

__all__ = ["glance_table", "narrow"]


def glance_table(preset: Preset, tpr: pd.DataFrame, speed: pd.DataFrame) -> pd.DataFrame:
    """One row a scheme whose texts were tested, prompts pooled.

    Detected is what the default detector finds at the length of the ROC curves, which all texts have; tokens
    a step are means over the sets of prompts, by their numbers of texts.

    Args:
        preset: that was run.
        tpr, speed: its tables, as `tpr_table` and `tabulate` make them.
    """
    at, rows = preset.roc_tokens, []
    schemes: dict[tuple, Cell] = {}
    for cell in preset.cells():
        if cell.detect:
            schemes.setdefault((cell.watermark, cell.temperature, cell.label, cell.lookahead), cell)
    pooled = tpr[tpr["prompts"] == "both"] if (tpr["prompts"] == "both").any() else tpr
    for (watermark, temperature, label, lookahead), cell in schemes.items():
        detector = default_detector(make_method(cell.method, parse_decoder(watermark))).name
        same = {"watermark": watermark, "temperature": temperature, "method": label, "lookahead": lookahead}
        found = _where(pooled, **same, detector=detector, tokens=at)
        steps = _where(speed, **same)
        if found.empty:
            continue
        rate = found.iloc[0]
        rows.append(
            {
                "method, watermark": f"{label}, {watermark_name(watermark)}",
                f"detected at {at} tokens (95% interval)": (
                    f"{rate['tpr']:.0%} ({rate['tpr_low']:.0%} to {rate['tpr_high']:.0%})"
                ),
                "tokens a step": _steps(steps) if lookahead else "1",
                "temperature": f"{temperature:g}",
                "texts": int(rate["texts"]),
            }
        )
    return pd.DataFrame(rows)


def narrow(table: pd.DataFrame, title: str) -> Table:
    """A table for a terminal of 80 columns; its cells are words, and the first column may wrap."""
    shown = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for number, column in enumerate(table.columns):
        shown.add_column(str(column), justify="right" if number else "left", no_wrap=False)
    for row in table.itertuples(index=False):
        shown.add_row(*map(str, row))
    return shown


def _where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def _steps(rows: pd.DataFrame) -> str:
    weight = rows["texts"] / rows["texts"].sum()
    error = math.sqrt(float(((weight * rows["aatps_error"]) ** 2).sum()))
    return f"{float((weight * rows['aatps']).sum()):.2f} ± {error:.2f}"
