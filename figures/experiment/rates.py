"""Figures 2 to 7 of the paper and their companions, from the tables of the detection experiment.

python -m figures rates paper_repro/results/small
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from figures.experiment.names import watermark_name
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.errors import FileError
from tradeoff.plotting import COLORS, Axes, Figure, new_figure, save_figure

__all__ = ["draw", "draw_detection_figures", "draw_edits", "draw_power", "draw_roc", "draw_steps", "draw_tpr"]

#: Colour and line of (method, detector); the same in all figures.
_STYLES: dict[tuple[str, str], tuple[str, str, str]] = {
    ("basic", "Aaronson"): ("black", ":", "no speculation, Aaronson"),
    ("basic", "likelihood ratio"): ("black", "--", "no speculation, likelihood ratio"),
    ("one-race", "Aaronson"): ("vermilion", "-", "one race, Aaronson"),
    ("one-race", "likelihood ratio"): ("vermilion", "--", "one race, likelihood ratio"),
    ("one-race-tree", "Aaronson"): ("orange", "-", "one-race tree, Aaronson"),
    ("one-race-tree", "likelihood ratio"): ("orange", "--", "one-race tree, likelihood ratio"),
    ("single-key", "Aaronson"): ("purple", "-", "single key, Aaronson"),
    ("single-key", "likelihood ratio"): ("purple", "--", "single key, likelihood ratio"),
    ("algorithm-1", "oracle"): ("grey", "-.", "Algorithm 1, oracle (bound)"),
    ("algorithm-1", "sum of both keys"): ("green", "-", "Algorithm 1, sum of both keys"),
    ("algorithm-1", "likelihood ratio, two keys"): ("green", "--", "Algorithm 1, likelihood ratio"),
    ("algorithm-1", "Ars-τ"): ("blue", "-", "Algorithm 1, Ars-τ"),
    ("algorithm-1", "Ars-Prior"): ("sky", "-", "Algorithm 1, Ars-Prior"),
    ("algorithm-1", "Bayes-MLP"): ("blue", "-", "Algorithm 1, Bayes-MLP"),
    ("algorithm-1", "Bayes-Prior (per token)"): ("sky", "-", "Algorithm 1, Bayes-Prior per token"),
    ("algorithm-1", "Bayes-Prior (per layer)"): ("orange", "-", "Algorithm 1, Bayes-Prior per layer"),
    ("algorithm-1", "weighted mean of bits"): ("green", "-", "Algorithm 1, weighted mean of bits"),
    ("two-keys", "oracle"): ("grey", ":", "two keys, oracle (bound)"),
    ("two-keys", "sum of both keys"): ("green", ":", "two keys, sum of both keys"),
    ("two-keys", "likelihood ratio, two keys"): ("green", "-.", "two keys, likelihood ratio"),
    ("two-keys", "Ars-Prior"): ("sky", ":", "two keys, Ars-Prior"),
    ("two-keys", "Bayes-Prior (per token)"): ("sky", ":", "two keys, Bayes-Prior per token"),
    ("two-keys", "Bayes-Prior (per layer)"): ("orange", ":", "two keys, Bayes-Prior per layer"),
    ("two-keys", "weighted mean of bits"): ("green", ":", "two keys, weighted mean of bits"),
    ("basic", "Bayes"): ("black", "--", "no speculation, Bayes"),
    ("basic", "weighted mean of bits"): ("black", ":", "no speculation, weighted mean of bits"),
    ("basic", "mean of bits"): ("black", "-.", "no speculation, mean of bits"),
    ("basic", "likelihood ratio of ranks"): ("vermilion", "-", "no speculation, likelihood ratio of ranks"),
    ("basic", "sum of scores"): ("green", "-", "no speculation, sum of scores"),
    ("basic", "z-test"): ("black", ":", "no speculation, z-test (level not held)"),
    ("two-keys", "likelihood ratio of ranks"): ("vermilion", "--", "two keys, likelihood ratio of ranks"),
    ("two-keys", "z-test"): ("black", "-.", "two keys, z-test (level not held)"),
    ("algorithm-1", "own statistic and race"): ("blue", "-", "Algorithm 1, own statistic and race"),
    ("algorithm-1", "likelihood ratio of ranks"): (
        "vermilion",
        "--",
        "Algorithm 1, likelihood ratio of ranks",
    ),
    ("algorithm-1", "sum of scores"): ("green", "--", "Algorithm 1, sum of scores"),
}
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
            color, line, label = _style(str(method), str(detector))
            step = {"drawstyle": "steps-post"} if x == "fpr" else {"marker": "o", "ms": 3, **_face(line)}
            axes.plot(curve[x], curve[y], line, color=color, lw=1.8, label=label, **step)
            if "tpr_low" in curve:
                axes.fill_between(curve[x], curve["tpr_low"], curve["tpr_high"], color=color, alpha=0.1, lw=0)
        finish(axes, group)
        axes.set_title(f"{watermark_name(str(watermark))}, temperature {temperature:g}", fontsize=10.5)
        # Labels side by side would run into those of the next panel of a grid.
        columns_of_labels = 2 if rows == 1 else 1
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
            ncols=columns_of_labels,
            frameon=False,
            fontsize=7.8,
        )
    texts = f", {int(part['texts'].max())} texts a method" if "texts" in part else ""
    named = "all prompts" if prompts == "both" else f"prompts: {prompts}"
    figure.suptitle(f"{title} ({named}{texts})", fontsize=11.5)
    return figure


def _tpr_axes(axes: Axes, group: pd.DataFrame) -> None:
    axes.set_xlabel("tokens")
    axes.set_ylabel("TPR at FPR 1% (bands: 95%)")
    axes.set_ylim(-0.02, 1.02)
    _finish(axes)


def _roc_axes(axes: Axes, group: pd.DataFrame) -> None:
    axes.set_xscale("log")
    axes.set_xlim(1e-3, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(f"FPR on human text under random keys ({int(group['tokens'].iloc[0])} tokens)")
    axes.set_ylabel("TPR")
    _finish(axes)


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
    axes.set_title("Power predicted from logged probabilities", fontsize=11)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    _finish(axes)
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
            color, line, label = _style(str(method), str(detector))
            axes.plot(
                100 * curve["share"],
                curve["tpr"],
                line,
                color=color,
                lw=1.6,
                marker="o",
                ms=3,
                label=label,
                **_face(line),
            )
            axes.fill_between(
                100 * curve["share"], curve["tpr_low"], curve["tpr_high"], color=color, alpha=0.08, lw=0
            )
        axes.set_title(edit, fontsize=10)
        axes.set_xlabel("% of the tokens")
        _finish(axes)
    last = grid.flat[-1]
    again = part[part["edit"].isin(["none", "tokenised again", "lower case"])]
    kinds = ["none", "tokenised again", "lower case"]
    drawn = _in_order(again)
    for number, ((method, detector), bars) in enumerate(drawn):
        color, line, _ = _style(str(method), str(detector))
        at = [kinds.index(edit) + 0.07 * (number - (len(drawn) - 1) / 2) for edit in bars["edit"]]
        error = [bars["tpr"] - bars["tpr_low"], bars["tpr_high"] - bars["tpr"]]
        last.errorbar(at, bars["tpr"], yerr=error, fmt="o", color=color, ms=4, capsize=2, **_face(line))
    last.set_xticks(range(3), kinds)
    last.set_xlim(-0.5, 2.5)
    last.set_title("tokenised again, lower case", fontsize=10)
    _finish(last)
    for axes in grid[:, 0]:
        axes.set_ylabel("TPR at FPR 1% (95%)")
    grid[0, 0].set_ylim(-0.02, 1.02)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    texts = int(part["texts"].max())
    figure.suptitle(
        f"Detection after edits: {watermark_name(watermark)}, {texts} texts a method", fontsize=11.5
    )
    return figure


def draw_steps(table: pd.DataFrame) -> Figure:
    """Average accepted tokens per step by lookahead, prompts side by side."""
    part = _of_several_lookaheads(table)
    groups = list(part.groupby("prompts", sort=False))
    warmth = sorted(part["temperature"].unique())
    figure, grid = new_figure(1, len(groups), size=(5.6 * len(groups), 4.2), sharey=True)
    names = {"standard": "standard", "algorithm-1": "Algorithm 1", "one-race": "one race"}
    colors = {"standard": "grey", "algorithm-1": "blue", "one-race": "vermilion"}
    for axes, (prompts, group) in zip(grid[0], groups, strict=True):
        kinds = list(group.groupby(["temperature", "watermark", "method"], sort=False))
        for number, ((temperature, watermark, method), rows) in enumerate(kinds):
            offset = 0.09 * (number - (len(kinds) - 1) / 2)
            marker = "o" if watermark == "gumbel" else "s" if str(watermark).startswith("synthid") else "D"
            mark = "" if watermark == "none" else f", {watermark_name(str(watermark))}"
            axes.errorbar(
                rows["lookahead"] + offset,
                rows["aatps"],
                yerr=1.96 * rows["aatps_error"],
                fmt=marker,
                color=COLORS[colors.get(str(method), "green")],
                ms=5,
                fillstyle="full" if temperature == warmth[0] else "none",
                capsize=2,
                label=f"{names.get(str(method), method)}{mark}, T = {temperature:g}",
            )
        axes.set_title(f"prompts: {prompts}", fontsize=10.5)
        axes.set_xlabel("lookahead K")
        axes.set_xticks(sorted(part["lookahead"].unique()))
        axes.legend(frameon=False, fontsize=7.8)
        _finish(axes)
    grid[0, 0].set_ylabel("accepted tokens per step, AATPS (95%)")
    figure.suptitle("Sampling efficiency by lookahead", fontsize=11.5)
    return figure


def draw_detection_figures(folder: Path) -> list[Path]:
    """All pictures that the tables in `folder` allow, written beside them.

    Raises:
        FileError: if a table is missing or is none.
    """
    written: list[Path] = []

    def save(figure: Figure, name: str) -> None:
        path = folder / f"{name}.png"
        save_figure(figure, [path])
        written.append(path)

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
    """(method, detector) groups in the order of the styles, unknown ones last."""
    order = list(_STYLES)
    groups = [(key, rows) for key, rows in table.groupby(["method", "detector"], sort=False)]
    return sorted(groups, key=lambda g: order.index(g[0]) if g[0] in order else len(order))


def _style(method: str, detector: str) -> tuple[str, str, str]:
    name, line, label = _STYLES.get((method, detector), ("grey", ":", f"{method}, {detector}"))
    return COLORS[name], line, label


def _face(line: str) -> dict[str, str]:
    """Markers are open on every line that is not solid, which tells them apart where no line is drawn."""
    return {"fillstyle": "full" if line == "-" else "none"}


def _of_several_lookaheads(table: pd.DataFrame) -> pd.DataFrame:
    """The speculative methods that were run with more than one lookahead."""
    part = table[table["aatps"].notna()]
    kinds = part.groupby(["prompts", "temperature", "watermark", "method"])["lookahead"]
    return part[kinds.transform("nunique") > 1]


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


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
