"""Figures 2 to 7 of the paper and their companions, from the tables of the detection experiment.

python -m figures rates paper_repro/results/small
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import cycle
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from figures.experiment.names import method_name, watermark_name
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.errors import FileError
from tradeoff.plotting import (
    COLORS,
    LINES,
    METHOD_LOOKS,
    Axes,
    Figure,
    Look,
    add_headline,
    labelled,
    legend_below,
    legend_under,
    method_look,
    new_figure,
    save_figure,
    watermark_look,
)

__all__ = ["draw", "draw_detection_figures", "draw_edits", "draw_power", "draw_roc", "draw_steps", "draw_tpr"]

#: Detectors, with how a line of a method differs by them: its number in LINES, and their names in pictures.
_DETECTORS = {
    "oracle": (3, "oracle (bound)"),
    "Aaronson": (0, "Aaronson"),
    "likelihood ratio": (1, "likelihood ratio"),
    "sum of both keys": (0, "sum of both keys"),
    "likelihood ratio, two keys": (1, "likelihood ratio"),
    "Ars-τ": (2, "Ars-τ"),
    "Ars-Prior": (5, "Ars-Prior"),
    "Bayes": (2, "Bayes"),
    "Bayes-MLP": (2, "Bayes-MLP"),
    "Bayes-Prior (per token)": (4, "Bayes-Prior per token"),
    "Bayes-Prior (per layer)": (5, "Bayes-Prior per layer"),
    "weighted mean of bits": (0, "weighted mean of bits"),
    "mean of bits": (1, "mean of bits"),
    "own statistic and race": (2, "own statistic and race"),
    "likelihood ratio of ranks": (0, "likelihood ratio of ranks"),
    "sum of scores": (1, "sum of scores"),
    "z-test": (3, "z-test (level not held)"),
}
#: Shades of the method's colour by the number of the line, where up to five lines of one method lie close.
_SHADES = {2: ("white", 0.4), 3: ("black", 0.6), 5: ("white", 0.55)}
_EDIT_PANELS = ("substitution", "insertion", "deletion", "truncation", "pasted into human text")


def draw_tpr(table: pd.DataFrame, prompts: str) -> Figure:
    """TPR at FPR 1% against the number of tokens, with 95% bands: one panel a watermark."""
    return _panels(table, prompts, "tokens", "tpr", _tpr_axes, "TPR against text length")


def draw_roc(table: pd.DataFrame, prompts: str) -> Figure:
    """ROC curves at one length, with a logarithmic axis of false positives."""
    return _panels(table, prompts, "fpr", "tpr", _roc_axes, "ROC curves")


def _panels(
    table: pd.DataFrame,
    prompts: str,
    x: str,
    y: str,
    finish: Callable[[Axes, pd.DataFrame], None],
    title: str,
) -> Figure:
    part = table[table["prompts"] == prompts]
    groups = list(part.groupby(["watermark", "temperature"], sort=False))
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    side = 5.8 if rows == 1 else 4.4
    figure, grid = new_figure(rows, columns, size=(max(side * columns, 7.6), side * rows))
    for axes in grid.flat[len(groups) :]:
        axes.set_visible(False)
    for axes, ((watermark, temperature), group) in zip(grid.flat, groups, strict=False):
        for (method, detector), curve in _in_order(group):
            look, label = _look(str(method), str(detector))
            step = {"drawstyle": "steps-post", **look.stroke} if x == "fpr" else {"ms": 4.5, **look.both}
            axes.plot(curve[x], curve[y], lw=1.6, label=label, **step)
            if "tpr_low" in curve:
                band = {"color": look.color, "alpha": 0.1, "lw": 0}
                axes.fill_between(curve[x], curve["tpr_low"], curve["tpr_high"], **band)
        finish(axes, group)
        axes.set_title(f"{watermark_name(str(watermark))}, temperature {temperature:g}")
        # Labels side by side would run into those of the next panel of a grid.
        legend_under(axes, columns=2 if rows == 1 else 1)
    texts = f", {int(part['texts'].max())} texts a method" if "texts" in part else ""
    named = "all prompts" if prompts == "both" else f"prompts: {prompts}"
    add_headline(figure, f"{title} ({named}{texts})")
    return figure


def _tpr_axes(axes: Axes, group: pd.DataFrame) -> None:
    axes.set_xlabel("tokens")
    axes.set_ylabel("TPR at FPR 1% (bands: 95%)")
    axes.set_ylim(-0.02, 1.02)


def _roc_axes(axes: Axes, group: pd.DataFrame) -> None:
    axes.set_xscale("log")
    axes.set_xlim(1e-3, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(f"FPR on human text under random keys ({int(group['tokens'].iloc[0])} tokens)")
    axes.set_ylabel("TPR")


def draw_power(table: pd.DataFrame) -> Figure:
    """Predicted against measured TPR of Aaronson's test on text without speculation."""
    figure, [[axes]] = new_figure(size=(6.4, 4.4))
    colors = (COLORS["blue"], COLORS["vermilion"], COLORS["green"], COLORS["orange"])
    groups = table.groupby(["prompts", "temperature"], sort=False)
    for color, ((prompts, temperature), part) in zip(cycle(colors), groups, strict=False):
        label = f"{prompts}, temperature {temperature:g}"
        axes.plot(part["tokens"], part["predicted"], color=color, lw=1.6, label=f"{label}: predicted")
        error = [part["measured"] - part["low"], part["high"] - part["measured"]]
        axes.errorbar(
            part["tokens"],
            part["measured"],
            yerr=error,
            fmt="o",
            color=color,
            ms=4,
            capsize=2,
            label=f"{label}: measured, 95%",
        )
    axes.set_xlabel("tokens")
    axes.set_ylabel("TPR at FPR 1%")
    axes.set_ylim(-0.02, 1.02)
    axes.set_title("Power predicted from logged probabilities")
    axes.legend(loc="lower right")
    return figure


def draw_edits(table: pd.DataFrame, watermark: str) -> Figure:
    """TPR against the share of the text that was edited: one panel a kind of edit, bars for the rest."""
    part = table[table["watermark"] == watermark]
    figure, grid = new_figure(2, 3, size=(12, 7.6), sharey=True)
    whole = part[part["edit"] == "none"]
    for axes, edit in zip(grid.flat, _EDIT_PANELS, strict=False):
        for (method, detector), curve in _in_order(part[part["edit"] == edit]):
            start = whole[(whole["method"] == method) & (whole["detector"] == detector)]
            curve = pd.concat([start, curve])
            look, label = _look(str(method), str(detector))
            share, band = 100 * curve["share"], {"color": look.color, "alpha": 0.08, "lw": 0}
            axes.plot(share, curve["tpr"], lw=1.6, ms=4.5, label=label, **look.both)
            axes.fill_between(share, curve["tpr_low"], curve["tpr_high"], **band)
        axes.set_title(edit)
        axes.set_xlabel("% of the tokens")
        last = grid.flat[-1]
    again = part[part["edit"].isin(["none", "tokenised again", "lower case"])]
    kinds = ["none", "tokenised again", "lower case"]
    drawn = _in_order(again)
    for number, ((method, detector), bars) in enumerate(drawn):
        look, _ = _look(str(method), str(detector))
        at = [kinds.index(edit) + 0.07 * (number - (len(drawn) - 1) / 2) for edit in bars["edit"]]
        error = [bars["tpr"] - bars["tpr_low"], bars["tpr_high"] - bars["tpr"]]
        last.errorbar(at, bars["tpr"], yerr=error, ms=4.5, capsize=2, **look.points)
    last.set_xticks(range(3), kinds)
    last.set_xlim(-0.5, 2.5)
    last.set_title("tokenised again, lower case")
    for axes in grid[:, 0]:
        axes.set_ylabel("TPR at FPR 1% (95%)")
    grid[0, 0].set_ylim(-0.02, 1.02)
    legend_below(figure, labelled(grid[0, 0]), columns=4)
    texts = int(part["texts"].max())
    add_headline(figure, f"Detection after edits: {watermark_name(watermark)}, {texts} texts a method")
    return figure


def draw_steps(table: pd.DataFrame) -> Figure:
    """Average accepted tokens per step by lookahead, prompts side by side."""
    part = _of_several_lookaheads(table)
    groups = list(part.groupby("prompts", sort=False))
    warmth = sorted(part["temperature"].unique())
    figure, grid = new_figure(1, len(groups), size=(5.6 * len(groups), 4.2), sharey=True)
    for axes, (prompts, group) in zip(grid[0], groups, strict=True):
        kinds = list(group.groupby(["temperature", "watermark", "method"], sort=False))
        for number, ((temperature, watermark, method), rows) in enumerate(kinds):
            offset = 0.09 * (number - (len(kinds) - 1) / 2)
            mark = "" if watermark == "none" else f", {watermark_name(str(watermark))}"
            axes.errorbar(
                rows["lookahead"] + offset,
                rows["aatps"],
                yerr=1.96 * rows["aatps_error"],
                color=method_look(str(method)).color,
                marker=watermark_look(str(watermark)).marker,
                ls="none",
                ms=5,
                fillstyle="full" if temperature == warmth[0] else "none",
                capsize=2,
                label=f"{method_name(str(method))}{mark}, T = {temperature:g}",
            )
        axes.set_title(f"prompts: {prompts}")
        axes.set_xlabel("lookahead K")
        axes.set_xticks(sorted(part["lookahead"].unique()))
        axes.legend()
        grid[0, 0].set_ylabel("accepted tokens per step, AATPS (95%)")
    add_headline(figure, "Sampling efficiency by lookahead")
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


def _in_order(table: pd.DataFrame) -> Sequence[tuple[tuple, pd.DataFrame]]:
    """(method, detector) groups in the order of the tables, unknown ones last."""
    groups = [(key, rows) for key, rows in table.groupby(["method", "detector"], sort=False)]
    return sorted(
        groups,
        key=lambda group: (
            # Right after a method comes what its blocks gave.
            _place(METHOD_LOOKS, group[0][0].partition(",")[0]),
            group[0][0],
            _place(_DETECTORS, group[0][1]),
        ),
    )


def _place(known: Collection[str], name: str) -> int:
    return list(known).index(name) if name in known else len(known)


def _look(method: str, detector: str) -> tuple[Look, str]:
    """Colour and mark of the method, line of the detector, and the label of both.

    Marks are hollow on every line that is not solid, which tells them apart where no line is drawn.
    """
    number, name = _DETECTORS.get(detector, (3, detector))
    look = method_look(method).varied(LINES[number], filled=number == 0)
    return look.mixed(*_SHADES.get(number, ("white", 0.0))), f"{method_name(method)}, {name}"


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
