"""Figures 2 to 7 of the paper and their companions, from the tables of the detection experiment.

python -m figures rates paper_repro/results/small
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from figures.experiment.names import in_parts, watermark_name
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.errors import FileError
from tradeoff.plotting import (
    LINES,
    METHOD_LOOKS,
    Axes,
    Figure,
    Look,
    add_headline,
    add_note,
    labelled,
    legend_below,
    method_look,
    new_figure,
    save_figure,
    whole_numbers,
)

__all__ = ["draw", "draw_detection_figures", "draw_edits", "draw_power", "draw_roc", "draw_steps", "draw_tpr"]

#: Detectors that share a panel: those that add up the same, and those that the paper proposes. Of each the
#: line of the method it reads: by its number in LINES, None for the method's own.
_FAMILIES: dict[str, dict[str, int | None]] = {
    "Aaronson, sum of both keys": {"Aaronson": None, "sum of both keys": None},
    "likelihood ratio": {"likelihood ratio": None, "likelihood ratio, two keys": None},
    "Ars-τ, Ars-Prior": {"Ars-τ": 2, "Ars-Prior": 5, "oracle": 3},
    "mean of bits": {"mean of bits": None},
    "weighted mean of bits": {"weighted mean of bits": None, "oracle": 3},
    "Bayes and its priors": {
        "Bayes": None,
        "Bayes-MLP": 1,
        "Bayes-Prior (per token)": 4,
        "Bayes-Prior (per layer)": 2,
    },
    "own statistic and race": {"own statistic and race": None},
    "likelihood ratio of ranks": {"likelihood ratio of ranks": None},
    "sum of scores": {"sum of scores": None},
    "z-test (level not held)": {"z-test": None},
}
#: Shades of the method's colour where detectors of one method share a panel.
_SHADES = {
    "Ars-τ": ("white", 0.4),
    "Ars-Prior": ("white", 0.55),
    "oracle": ("black", 0.6),
    "Bayes-MLP": ("black", 0.25),
    "Bayes-Prior (per layer)": ("black", 0.5),
}
#: With fewer texts an interval takes up most of the panel and is left out.
_FEWEST_TEXTS = 16
_EDITS = ("substitution", "insertion", "deletion", "truncation", "pasted into human text")
_AGAIN = ("none", "tokenised again", "lower case")

#: A detector that nobody has; it stands beside others.
_BOUND = "oracle"

#: Look, label and rows of one series.
_Series = tuple[Look, str, pd.DataFrame]


def draw_tpr(table: pd.DataFrame, prompts: str) -> Figure:
    """TPR at FPR 1% against the number of tokens: a row of panels a watermark, one a family of detectors."""
    return _panels(table, prompts, _tpr_axes, "TPR at FPR 1% against text length")


def draw_roc(table: pd.DataFrame, prompts: str) -> Figure:
    """ROC curves at one length, with a logarithmic axis of false positives."""
    return _panels(table, prompts, _roc_axes, "ROC curves")


def _panels(
    table: pd.DataFrame, prompts: str, fill: Callable[[Axes, Sequence[_Series]], str], title: str
) -> Figure:
    part = table[table["prompts"] == prompts]
    panels = [
        (f"{watermark_name(str(watermark))}, T = {temperature:g}\n{name}", series)
        for (watermark, temperature), group in part.groupby(["watermark", "temperature"], sort=False)
        for name, series in _families(group)
    ]
    figure, flat = _grid(len(panels))
    for axes, (name, series) in zip(flat, panels, strict=True):
        xlabel = fill(axes, series)
        axes.set_title(name)
        axes.set_xlabel(xlabel)
    named = "all prompts" if prompts == "both" else f"prompts: {prompts}"
    add_headline(figure, f"{title} ({named})")
    legend_below(figure, labelled(*flat), columns=3)
    add_note(figure, _sizes(part, bars=fill is _tpr_axes))
    return figure


def _grid(panels: int, height: float = 2.2) -> tuple[Figure, list[Axes]]:
    """A grid of so many panels, three a row, that share their vertical axis."""
    columns = min(3, panels)
    rows = -(-panels // columns)
    figure, grid = new_figure(rows, columns, size=(7.2, height * rows + 1.1), sharey=True)
    flat = list(grid.flat)
    for axes in flat[panels:]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("TPR at FPR 1%")
    flat[0].set_ylim(-0.04, 1.04)
    return figure, flat[:panels]


def _sizes(table: pd.DataFrame, *, bars: bool) -> str:
    """How many texts, and what bars are."""
    if "texts" not in table:
        return f"Texts of {int(table['tokens'].iloc[0])} tokens; n and intervals at FPR 1% are in tpr.csv."
    texts = sorted(table["texts"].unique())
    several = f"{texts[0]} to {texts[-1]}" if len(texts) > 1 else f"{texts[0]}"
    note = f"n = {several} texts a method and temperature."
    if bars:
        shown = texts[-1] >= _FEWEST_TEXTS
        note += (
            " Bars: 95% intervals (Clopper-Pearson)" if shown else " No bars: intervals at this n are wide"
        )
        note += f", left out below {_FEWEST_TEXTS} texts." if shown and texts[0] < _FEWEST_TEXTS else "."
    return note


def _tpr_axes(axes: Axes, series: Sequence[_Series]) -> str:
    _draw_rates(axes, series, "tokens")
    whole_numbers(axes)
    return "tokens"


def _draw_rates(axes: Axes, series: Sequence[_Series], x: str, times: float = 1.0) -> None:
    """TPR against a column, with bars that stand beside each other."""
    apart = times * 0.012 * float(max(curve[x].max() for _, _, curve in series))
    for number, (look, label, curve) in enumerate(series):
        where = times * curve[x] + apart * (number - (len(series) - 1) / 2)
        wide = bool(curve["texts"].min() < _FEWEST_TEXTS)
        bars = None if wide else [curve["tpr"] - curve["tpr_low"], curve["tpr_high"] - curve["tpr"]]
        axes.errorbar(where, curve["tpr"], yerr=bars, lw=1.4, elinewidth=0.8, ms=4, label=label, **look.both)


def _roc_axes(axes: Axes, series: Sequence[_Series]) -> str:
    for look, label, curve in series:
        axes.plot(curve["fpr"], curve["tpr"], lw=1.4, drawstyle="steps-post", label=label, **look.stroke)
    axes.set_xscale("log")
    axes.set_xlim(1e-3, 1)
    axes.set_ylabel("TPR" if axes.get_ylabel() else "")
    return f"FPR on human text ({int(series[0][2]['tokens'].iloc[0])} tokens)"


def draw_power(table: pd.DataFrame) -> Figure:
    """Predicted against measured TPR of Aaronson's test on text without speculation: a panel a setting."""
    groups = list(table.groupby(["prompts", "temperature"], sort=False))
    figure, flat = _grid(len(groups))
    look = method_look("basic")
    for axes, ((prompts, temperature), part) in zip(flat, groups, strict=True):
        axes.plot(part["tokens"], part["predicted"], lw=1.4, label="predicted", **look.stroke)
        error = [part["measured"] - part["low"], part["high"] - part["measured"]]
        axes.errorbar(part["tokens"], part["measured"], yerr=error, ms=4, label="measured", **look.points)
        axes.set_title(f"{prompts}, T = {temperature:g}")
        axes.set_xlabel("tokens")
        whole_numbers(axes)
    add_headline(figure, "Power of Aaronson's test, predicted from logged probabilities")
    legend_below(figure, labelled(*flat), columns=2)
    add_note(figure, "Method basic. Bars: 95% intervals (Clopper-Pearson) of the share of texts found.")
    return figure


def draw_edits(table: pd.DataFrame, watermark: str) -> Figure:
    """TPR against the share of the text that was edited: a panel a kind of edit and family of detectors."""
    part = table[table["watermark"] == watermark]
    panels = []
    for name, series in _families(part):
        for edit in (*_EDITS, "tokenised again, lower case"):
            kinds = ("none", edit) if edit in _EDITS else _AGAIN
            shown = [(look, label, curve[curve["edit"].isin(kinds)]) for look, label, curve in series]
            panels.append((name, edit, shown))
    figure, flat = _grid(len(panels))
    for axes, (name, edit, series) in zip(flat, panels, strict=True):
        if edit in _EDITS:
            _draw_rates(axes, series, "share", times=100)
            whole_numbers(axes)
            axes.set_xlabel("% of the tokens")
        else:
            _draw_again(axes, series)
        axes.set_title(f"{edit}\n{name}")
    add_headline(figure, f"Detection after edits: {watermark_name(watermark)}")
    legend_below(figure, labelled(*flat), columns=3)
    add_note(figure, _sizes(part, bars=True))
    return figure


def _draw_again(axes: Axes, series: Sequence[_Series]) -> None:
    """What is not a share of the text, side by side."""
    for number, (look, label, bars) in enumerate(series):
        at = [_AGAIN.index(edit) + 0.12 * (number - (len(series) - 1) / 2) for edit in bars["edit"]]
        error = [bars["tpr"] - bars["tpr_low"], bars["tpr_high"] - bars["tpr"]]
        axes.errorbar(at, bars["tpr"], yerr=error, ms=4, elinewidth=0.8, label=label, **look.points)
    axes.set_xticks(range(len(_AGAIN)), ["none", "again", "lower"])
    axes.set_xlim(-0.5, 2.5)


def draw_steps(table: pd.DataFrame) -> Figure:
    """Average accepted tokens per step by lookahead: a panel a prompt, watermark and temperature."""
    part = _of_several_lookaheads(table)
    panels = []
    for (prompts, temperature), group in part.groupby(["prompts", "temperature"], sort=False):
        without = list(group[group["watermark"] == "none"].groupby("method", sort=False))
        marks = [mark for mark in group["watermark"].unique() if mark != "none"] or ["none"]
        for mark in marks:
            title = f"{prompts}, T = {temperature:g}\n{watermark_name(str(mark))}"
            kinds = list(group[group["watermark"] == mark].groupby("method", sort=False))
            panels += [(title, shown) for shown in in_parts([*kinds, *(without if mark != "none" else [])])]
    figure, flat = _grid(len(panels))
    for axes, (title, shown) in zip(flat, panels, strict=True):
        for number, (method, rows) in enumerate(shown):
            axes.errorbar(
                rows["lookahead"] + 0.12 * (number - (len(shown) - 1) / 2),
                rows["aatps"],
                yerr=1.96 * rows["aatps_error"],
                ms=5,
                label=str(method),
                **method_look(str(method)).points,
            )
        axes.set_title(title)
        axes.set_xlabel("lookahead")
        axes.set_xticks(sorted(part["lookahead"].unique()))
        axes.set_ylabel("AATPS" if axes.get_ylabel() else "")
    flat[0].autoscale(axis="y")
    flat[0].margins(y=0.15)
    add_headline(figure, "Average accepted tokens per step (AATPS) by lookahead")
    legend_below(figure, labelled(*flat), columns=3)
    texts = sorted(part["texts"].unique())
    several = f"{texts[0]} to {texts[-1]}" if len(texts) > 1 else f"{texts[0]}"
    add_note(figure, f"n = {several} texts a point. Bars: 1.96 standard errors.")
    return figure


def draw_detection_figures(folder: Path, suffixes: Sequence[str] = (".png",)) -> list[Path]:
    """All pictures that the tables in `folder` allow, written beside them in every format of `suffixes`.

    Raises:
        FileError: if a table is missing or is none.
    """
    written: list[Path] = []

    def save(figure: Figure, name: str) -> None:
        paths = [folder / f"{name}{suffix}" for suffix in suffixes]
        save_figure(figure, paths)
        written.extend(paths)

    tpr = _read(folder / "tpr.csv")
    roc = _read(folder / "roc.csv")
    for prompts in tpr["prompts"].unique():
        save(draw_tpr(tpr, str(prompts)), f"tpr_{prompts}")
        if prompts in set(roc["prompts"]):
            save(draw_roc(roc, str(prompts)), f"roc_{prompts}")
    speed = _read(folder / "speed.csv")
    if len(_of_several_lookaheads(speed)):
        save(draw_steps(speed), "aatps")
    if len(power := _read(folder / "power.csv")):
        save(draw_power(power), "power")
    edits = _read(folder / "edits.csv")
    for watermark in edits["watermark"].unique():
        save(draw_edits(edits, str(watermark)), f"edits_{str(watermark).replace(':', '-')}")
    return written


def _families(table: pd.DataFrame) -> Iterator[tuple[str, Sequence[_Series]]]:
    """Panels of one watermark: title and series, at most five in each, methods in the order of the tables."""
    detectors = set(table["detector"].unique())
    known = {name for members in _FAMILIES.values() for name in members}
    families = _FAMILIES | {str(name): {str(name): None} for name in sorted(detectors - known)}
    for title, members in families.items():
        if not detectors & (set(members) - {_BOUND}):
            continue
        order = list(members)
        groups = sorted(
            table[table["detector"].isin(order)].groupby(["method", "detector"], sort=False),
            # Right after a method comes what its blocks gave.
            key=lambda group: (_place(group[0][0].partition(",")[0]), group[0][0], order.index(group[0][1])),
        )
        series = [
            (*_look(method, detector, members[detector]), curve) for (method, detector), curve in groups
        ]
        for shown in in_parts(series):
            yield title, shown


def _place(method: str) -> int:
    return list(METHOD_LOOKS).index(method) if method in METHOD_LOOKS else len(METHOD_LOOKS)


def _look(method: str, detector: str, line: int | None) -> tuple[Look, str]:
    """The look of the method and its name; a further detector of it has a line, a shade and a name.

    Marks are hollow on such lines.
    """
    look = method_look(method)
    if line is None:
        return look, method
    varied = look.varied(LINES[line], filled=False).mixed(*_SHADES.get(detector, ("white", 0.0)))
    return varied, f"{method}, {detector}{' (bound)' if detector == _BOUND else ''}"


def _of_several_lookaheads(table: pd.DataFrame) -> pd.DataFrame:
    """The speculative methods that were run with more than one lookahead."""
    part = table[table["aatps"].notna()]
    kinds = part.groupby(["prompts", "temperature", "watermark", "method"])["lookahead"]
    return part[kinds.transform("nunique") > 1]


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame({"watermark": [], "prompts": []})
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read ({error}); run `python -m paper_repro` first") from error


def draw(
    folder: Annotated[Path, typer.Argument(help="Folder with the tables of `python -m paper_repro`.")],
) -> None:
    """Draw the figures of the detection experiment again from its tables."""
    with exit_on_bad_input():
        print_written(stdout(), draw_detection_figures(folder))
