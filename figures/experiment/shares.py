"""Sequential detection: share of texts detected by the number of tokens read, from an experiment's tables.

python -m figures shares paper_repro/results/sequential
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from scipy import stats

from figures.experiment.names import in_parts, watermark_name
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.errors import FileError
from tradeoff.plotting import (
    WIDTH,
    Figure,
    Look,
    add_headline,
    add_note,
    labelled,
    legend_below,
    legend_instead,
    new_figure,
    save_figure,
    test_look,
    whole_numbers,
)

__all__ = ["draw", "draw_sequential_figure", "draw_shares", "read_shares", "share_panels"]

_ALPHA = 0.02
#: Points of a curve from mark to mark.
_APART = 7
#: Tests of one scheme share panels: with the key alone, with the draft model too, and e* beside the bets that
#: know the key alone.
_BETS = ("race bets", "tournament bets", "transport bets", "own bets")
_DRAFT = "draft-aware"
_ANCHORED = "e*"
#: Title of a panel, with looks, labels and rows of `share_table`.
Panel = tuple[str, Sequence[tuple[Look, str, pd.DataFrame]]]


def draw_shares(table: pd.DataFrame, temperature: float, alpha: float = _ALPHA) -> Figure:
    """Share of texts detected at level `alpha` by each number of tokens: a row of panels a scheme.

    Args:
        table: of `paper_repro.trials.sequential.share_table`.
        temperature: of its texts.
        alpha: one of its levels.
    """
    part = table[
        (table["alpha"] == alpha) & (table["kind"] != "fixed length") & (table["temperature"] == temperature)
    ]
    panels: list[Panel] = []
    for (method, watermark), group in part.groupby(["method", "watermark"], sort=False):
        curves = [
            (test_look(str(test)), _label(str(test), str(kind)), curve)
            for (test, kind), curve in group.groupby(["test", "kind"], sort=False)
        ]
        panels += [
            (f"{method}, {watermark_name(str(watermark))}\n{title}", shown) for title, shown in _split(curves)
        ]
    headline = f"Detected so far, with error at most {alpha:g} at any time, T = {temperature:g}"
    return share_panels(panels, headline, columns=3)


def _label(test: str, kind: str) -> str:
    """Tests of both keys are called as those of one: a panel has one method."""
    name = test.removesuffix(", two keys")
    return name if kind in ("betting", "anchored") else f"{name}, {kind}"


def _split(curves: Sequence[tuple[Look, str, pd.DataFrame]]) -> list[Panel]:
    """At most five series in a panel; few stay together."""
    if len(in_parts(curves)) == 1:
        return [("all tests", curves)]
    bets = [curve for curve in curves if curve[1].startswith(_BETS)]
    draft = [curve for curve in curves if curve[1].startswith(_DRAFT)]
    anchored = [curve for curve in curves if curve[1].startswith(_ANCHORED)]
    rest = [curve for curve in curves if not curve[1].startswith((*_BETS, _DRAFT, _ANCHORED))]
    panels = [("key alone", [*bets, *rest]), ("with the draft model", [*bets, *draft])]
    return [*panels, ("e*, with the draft model", [*bets, *anchored])]


def share_panels(panels: Sequence[Panel], title: str, columns: int = 2) -> Figure:
    """Shares of texts detected against tokens read, with one legend, and bars at every mark.

    Args:
        panels: of each its title, and looks and labels with rows of `share_table`.
        title: of all.
        columns: panels in a row.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = new_figure(rows, columns, size=(WIDTH, (1.2 + 2.7 / columns) * rows + 1.2), sharey=True)
    flat = list(grid.flat)
    for axes, (name, curves) in zip(flat, panels, strict=False):
        for number, (look, label, curve) in enumerate(curves):
            # Marks of several curves seldom meet, nor do their bars.
            every = (number % _APART, _APART)
            low, high = _intervals(curve)
            axes.errorbar(
                curve["tokens"],
                curve["share"],
                yerr=[curve["share"] - low, high - curve["share"]],
                errorevery=every,
                markevery=every,
                ms=4,
                lw=1.4,
                elinewidth=0.8,
                label=label,
                **look.both,
            )
        axes.set_title(name)
        axes.set_xlabel("tokens read")
        axes.set_ylim(-0.04, 1.04)
        whole_numbers(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("share of texts detected")
    drawn, left = flat[: len(panels)], flat[len(panels) :]
    for axes in left:
        axes.set_visible(False)
    if left:
        left[0].set_visible(True)
        legend_instead(left[0], labelled(*drawn))
    else:
        legend_below(figure, labelled(*drawn), columns=2)
    texts = sorted({int(curve["texts"].max()) for _, curves in panels for _, _, curve in curves})
    several = f"{texts[0]} to {texts[-1]}" if len(texts) > 1 else f"{texts[0]}"
    add_headline(figure, title)
    add_note(figure, f"n = {several} texts a curve. Bars: 95% intervals (Clopper-Pearson), at every mark.")
    return figure


def _intervals(curve: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Of the shares, by Clopper and Pearson at 95%."""
    texts, hits = curve["texts"], (curve["share"] * curve["texts"]).round()
    low = stats.beta.ppf(0.025, hits, texts - hits + 1)
    high = stats.beta.ppf(0.975, hits + 1, texts - hits)
    return pd.Series(low, curve.index).fillna(0.0), pd.Series(high, curve.index).fillna(1.0)


def draw_sequential_figure(folder: Path, suffixes: Sequence[str] = (".png",)) -> list[Path]:
    """sequential_T.png, or in other formats, for every temperature T, beside the table in `folder`.

    Nothing if the table is empty.

    Raises:
        FileError: if the table is missing or is none.
    """
    table = read_shares(folder)
    written: list[Path] = []
    for temperature in [] if table.empty else sorted(table["temperature"].unique()):
        paths = [folder / f"sequential_{temperature:g}{suffix}" for suffix in suffixes]
        save_figure(draw_shares(table, temperature), paths)
        written += paths
    return written


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


def draw(folder: Annotated[Path, typer.Argument(help="Folder with sequential_shares.csv.")]) -> None:
    """Draw the picture again from the table of a run."""
    with exit_on_bad_input():
        print_written(stdout(), draw_sequential_figure(folder))
