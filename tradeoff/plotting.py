"""The one door to Matplotlib: figures that are drawn into files and belong to no window, in one style.

Spines, grids, sizes of letters, legends and notes are set here and nowhere else, and so is the look of every
scheme: a method, a watermark, a test or a class of curves has the same colour, line and mark in every figure.

No other module imports Matplotlib. Notebooks name a backend of their own in the environment of every process
they start, and Matplotlib cannot even be imported where that backend is not installed.
"""

from __future__ import annotations

import os
import sys
import textwrap
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tradeoff.errors import FileError
from tradeoff.files import replacing

__all__ = [
    "COLORS",
    "CURVE_LOOKS",
    "LINES",
    "METHOD_LOOKS",
    "OPTIMUM",
    "TEST_LOOKS",
    "WATERMARK_LOOKS",
    "WIDTH",
    "Axes",
    "Figure",
    "Line",
    "Line2D",
    "LogLocator",
    "Look",
    "NullFormatter",
    "add_headline",
    "add_note",
    "curve_look",
    "label_ends",
    "label_point",
    "labelled",
    "legend_below",
    "legend_beside",
    "legend_instead",
    "method_look",
    "new_figure",
    "save_figure",
    "test_look",
    "watermark_look",
    "whole_numbers",
]

_BACKEND = "MPLBACKEND"
_named = None if "matplotlib" in sys.modules else os.environ.pop(_BACKEND, None)
try:
    from matplotlib import rc_context, rcParams
    from matplotlib.axes import Axes
    from matplotlib.colors import to_hex, to_rgb
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D
    from matplotlib.text import Text
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
finally:
    if _named is not None:
        os.environ[_BACKEND] = _named
if _named is not None:
    # Whoever else draws in this process gets the backend that was asked for, where there is one.
    with suppress(ValueError):
        rcParams["backend"] = _named

#: Okabe and Ito's palette, which stays apart under the common colour-vision deficiencies.
COLORS = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "grey": "#7F7F7F",
}
#: Inches at which the documentation shows a picture: letters of a wider one would be shown smaller.
WIDTH = 7.2
#: Sizes of letters, in points; at `WIDTH` none is shown with fewer than 8.
_HEADLINE, _TITLE, _LABEL, _TICK, _NOTE, _DIRECT = 10.0, 9.0, 8.5, 8.0, 8.0, 8.0
_NOTE_COLOR = "#444444"
#: Of SVG files: the same names of parts in every run, and letters as letters, which takes half the bytes.
_DRAWINGS: dict[Any, Any] = {"svg.hashsalt": "tradeoff", "svg.fonttype": "none"}
#: Lines in legends are long enough for the longest pattern of dashes.
_LEGENDS: dict[str, Any] = {"frameon": False, "fontsize": 8.0, "handlelength": 3.2, "columnspacing": 1.4}

#: A line style: a name of Matplotlib's, or an offset with lengths of dashes and gaps.
Line = str | tuple[float, tuple[float, ...]]
#: Lines that can be told apart where several share a colour.
LINES: tuple[Line, ...] = ("-", "--", "-.", ":", (0, (7, 1.5)), (0, (5, 1.2, 1, 1.2, 1, 1.2)))


@dataclass(frozen=True)
class Look:
    """How a scheme is drawn.

    Attributes:
        color: "#RRGGBB".
        line: of its curves.
        marker: of its points, by Matplotlib's name.
        filled: whether points are full, not hollow.
    """

    color: str
    line: Line = "-"
    marker: str = "o"
    filled: bool = True

    @property
    def stroke(self) -> dict[str, Any]:
        """Arguments of `axes.plot` for a curve."""
        return {"color": self.color, "ls": self.line}

    @property
    def points(self) -> dict[str, Any]:
        """Arguments of `axes.plot` and `axes.errorbar` for points without a curve."""
        return {**self.both, "ls": "none"}

    @property
    def both(self) -> dict[str, Any]:
        """Arguments of `axes.plot` for a curve with points."""
        return {**self.stroke, "marker": self.marker, "fillstyle": "full" if self.filled else "none"}

    def varied(self, line: Line, *, filled: bool = True) -> Look:
        """The same scheme under another detector or decoder: its colour and mark, another line."""
        return replace(self, line=line, filled=filled)

    def mixed(self, color: str, share: float) -> Look:
        """A shade of the same scheme: `share` in [0, 1] of "white" or "black" in its colour."""
        red, green, blue = (1 - share) * np.array(to_rgb(self.color)) + share * np.array(to_rgb(color))
        return replace(self, color=to_hex((red, green, blue)).upper())


def _look(color: str, line: int, marker: str) -> Look:
    return Look(COLORS[color], LINES[line], marker)


def _shade(color: str, line: int, marker: str, towards: str, share: float) -> Look:
    return _look(color, line, marker).mixed(towards, share)


#: Methods of generation. No two have one colour; relatives have shades of one, and another line.
METHOD_LOOKS: Mapping[str, Look] = {
    "basic": _look("black", 0, "o"),
    "standard": _shade("black", 3, "x", "white", 0.35),
    "keep-strength": _look("grey", 0, "^"),
    "keep-efficiency": _shade("grey", 1, "v", "white", 0.3),
    "target-only": _shade("green", 2, "8", "white", 0.4),
    "two-keys": _look("green", 0, "D"),
    "dual-key": _shade("green", 1, "*", "black", 0.45),
    "algorithm-1": _look("blue", 0, "s"),
    "single-key": _look("purple", 0, "P"),
    "one-race": _look("vermilion", 0, "X"),
    "one-race-tree": _look("orange", 0, "<"),
    "joint-race": _look("sky", 0, "h"),
    "joint-race-tree": _shade("sky", 1, ">", "black", 0.3),
    "joint-tournament": _shade("sky", 2, "p", "white", 0.15),
    "joint-race-marked": _shade("sky", 4, "H", "black", 0.45),
    "joint-transport": _shade("sky", 3, "d", "black", 0.15),
}
#: How the name of a method ends where drafts were verified as blocks.
_BLOCKS = ", blocks"
#: Watermarks, by the keyword of their names; one setting of HeavyWater has a look of its own.
WATERMARK_LOOKS: Mapping[str, Look] = {
    "gumbel": _look("black", 0, "o"),
    "synthid": _look("blue", 1, "^"),
    "simplexwater": _look("green", 2, "P"),
    "heavywater": _look("vermilion", 4, "s"),
    "heavywater:gamma": _look("orange", 3, "D"),
    "completed": _look("purple", 5, "X"),
    "kgw": _shade("blue", 4, "v", "white", 0.45),
    "unigram": _shade("blue", 2, "<", "black", 0.45),
    "dipmark": _shade("green", 3, ">", "white", 0.45),
    "gamma-reweight": _shade("green", 0, "h", "black", 0.45),
    "delta-reweight": _shade("orange", 1, "d", "black", 0.45),
    "inverse-transform": _shade("purple", 2, "*", "black", 0.45),
    "none": _look("grey", 3, "p"),
}
#: Tests of a text, by how their names in tables begin, for panels of one scheme, where tests differ.
TEST_LOOKS: Mapping[str, Look] = {
    "race bets": _look("vermilion", 0, "o"),
    "tournament bets": _look("vermilion", 1, "o"),
    "transport bets": _look("vermilion", 2, "o"),
    "own bets and race bets": _look("vermilion", 3, "o"),
    "draft-aware bets": _look("blue", 0, "s"),
    "draft-aware hits": _shade("blue", 1, "s", "white", 0.4),
    "e*, tokens": _look("orange", 0, "D"),
    "e*, 2 buckets": _shade("orange", 1, "D", "black", 0.35),
    "e*, 4 buckets": _shade("orange", 2, "D", "black", 0.6),
    "e*, 16 buckets": _shade("orange", 3, "D", "white", 0.3),
    "Aaronson": _look("black", 0, "X"),
    "sum of both keys": _look("black", 1, "X"),
    "mean of bits": _look("black", 3, "X"),
    "weighted mean of bits": _look("black", 4, "X"),
    "sum of scores": _look("black", 5, "X"),
    "own statistic and race": _look("black", 2, "X"),
    "likelihood ratio of ranks": _look("green", 2, "^"),
    "likelihood ratio": _look("green", 1, "^"),
    "Ars-τ": _look("sky", 0, "v"),
    "Ars-Prior": _shade("sky", 1, "v", "black", 0.3),
}
#: Classes of curves in the plane of efficiency and strength, with the mark of their ends.
CURVE_LOOKS: Mapping[str, Look] = {
    "linear": _look("blue", 0, "o"),
    "time-sharing": _look("sky", 3, "^"),
    "hu": _look("vermilion", 0, "D"),
    "google": _look("green", 1, "s"),
}
#: The point of largest efficiency and strength.
OPTIMUM = Look(COLORS["purple"], "none", "*")
#: Marks and colours of schemes that no table names.
_OTHER_MARKERS = ("1", "2", "3", "4", "+", "|")
_OTHER_COLORS = ("blue", "vermilion", "green", "purple", "orange", "sky")


def method_look(name: str) -> Look:
    """Of a method of generation; one that the table lacks gets a look that its name alone decides.

    "joint-race, blocks", as tables call a method whose drafts were verified as blocks, has the mark of the
    method, its colour, darkened, and the line of all blocks.
    """
    method = name.removesuffix(_BLOCKS)
    look = METHOD_LOOKS.get(method) or _by_rule(method)
    return look if method == name else replace(look.mixed("black", 0.5), line=LINES[5])


def watermark_look(name: str) -> Look:
    """Of a watermark, by its name in records: "synthid:30", "heavywater:gamma", "completed:NAME".

    Sinkhorn's plans have dots, hollow marks and a paler colour. What is completed has the mark of what it
    completes, its colour darkened, and the line of all that is completed. A keyword that the table lacks gets
    a look that it alone decides.
    """
    inner = name.removeprefix("completed:")
    keywords = [key for key in WATERMARK_LOOKS if inner == key or inner.startswith((f"{key}:", f"{key},"))]
    look = WATERMARK_LOOKS[max(keywords, key=len)] if keywords else _by_rule(inner.partition(":")[0])
    if "sinkhorn" in inner:
        look = look.varied(":", filled=False).mixed("white", 0.35)
    if inner != name:
        look = replace(look.mixed("black", 0.45), line=WATERMARK_LOOKS["completed"].line)
    return look


def test_look(name: str) -> Look:
    """Of a test, by its name in tables: "race bets, two keys" has the look of "race bets"."""
    known = [key for key in TEST_LOOKS if name == key or name.startswith(f"{key},")]
    return TEST_LOOKS[max(known, key=len)] if known else _by_rule(name)


def curve_look(name: str) -> Look:
    """Of a class of curves, by its key or by the name of a curve: "hu", or "time sharing, SynthID"."""
    key = name.partition(",")[0].lower().replace(" ", "-")
    return CURVE_LOOKS.get(key) or _by_rule(key)


def _by_rule(name: str) -> Look:
    number = zlib.crc32(name.encode())
    return _look(
        _OTHER_COLORS[number % len(_OTHER_COLORS)],
        number // 7 % len(LINES),
        _OTHER_MARKERS[number // 47 % len(_OTHER_MARKERS)],
    )


class _Panel(Axes):
    """Axes in the style of all figures, which leaves the settings of whoever else draws as they are."""

    # Matplotlib takes these sizes from global settings at every call.
    def set_title(self, label: str, *args: Any, **kwargs: Any) -> Text:
        return super().set_title(label, *args, **{"fontsize": _TITLE, **kwargs})

    def legend(self, *args: Any, **kwargs: Any) -> Legend:
        return super().legend(*args, **{**_LEGENDS, **kwargs})

    def set_xscale(self, value: Any, **kwargs: Any) -> None:
        super().set_xscale(value, **kwargs)
        _plain_powers(self.xaxis, value)

    def set_yscale(self, value: Any, **kwargs: Any) -> None:
        super().set_yscale(value, **kwargs)
        _plain_powers(self.yaxis, value)


def _plain_powers(axis: Any, scale: str) -> None:
    """0.001 and 1e-06 on a logarithmic axis: exponents of 10 would be raised, in smaller letters."""
    if scale in ("log", "symlog"):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float],
    sharey: bool | Literal["row"] = False,
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes in the style of all figures, [rows, columns].

    Args:
        rows, columns: of the grid of axes.
        size: width and height in inches.
        sharey: one vertical axis for all, or for every "row".
    """
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey, subplot_kw={"axes_class": _Panel})
    for axes in grid.flat:
        axes.grid(alpha=0.25, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(which="both", labelsize=_TICK)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_size(_LABEL)
    return figure, grid


def add_headline(figure: Figure, text: str) -> None:
    """A title over all panels."""
    figure.suptitle(text, fontsize=_HEADLINE)


def add_note(figure: Figure, text: str) -> None:
    """What was drawn, how often and how exactly, in small letters under all panels and their legends."""
    # A letter is about half as wide as it is high.
    letters = int(figure.get_figwidth() * 72 / (0.53 * _NOTE))
    text = "\n".join(line for part in text.split("\n") for line in textwrap.wrap(part, letters) or [""])
    below = [legend for legend in figure.legends if legend.get_window_extent().y0 < figure.bbox.height / 2]
    if not below:
        figure.supxlabel(text, fontsize=_NOTE, color=_NOTE_COLOR)
        return
    # The layout gives both the same place.
    lines = text.count("\n") + 1
    share = (1.35 * lines + 0.5) * _NOTE / 72 / figure.get_figheight()
    for legend in below:
        legend.set_bbox_to_anchor((0.0, share, 1.0, 1.0 - share), transform=figure.transFigure)
    kept = share + max(legend.get_window_extent().height for legend in below) / figure.bbox.height
    kept += 0.5 * _NOTE / 72 / figure.get_figheight()
    layout = figure.get_layout_engine()
    assert isinstance(layout, ConstrainedLayoutEngine)
    layout.set(rect=(0.0, kept, 1.0, 1.0 - kept))
    where = (0.5, 0.25 * share / lines)
    figure.text(*where, text, fontsize=_NOTE, color=_NOTE_COLOR, ha="center", va="bottom")


def label_ends(axes: Axes, ends: Iterable[tuple[float, str, str]]) -> None:
    """Names beside the right end of a panel, each in the colour and near the height of what it names.

    Args:
        axes: whose limits are as they will be drawn.
        ends: height in data, name and colour of each.
    """
    # The layout will take a fifth of the height for titles and names of axes.
    height = 0.8 * axes.get_window_extent().height
    apart = 1.25 * axes.figure.dpi * _DIRECT / 72 / height
    within = sorted(
        (
            axes.transAxes.inverted().transform(axes.transData.transform((axes.get_xlim()[1], y)))[1],
            name,
            color,
        )
        for y, name, color in ends
    )
    heights = _apart(np.array([y for y, _, _ in within]), apart)
    for (_, name, color), y in zip(within, heights, strict=True):
        axes.text(
            1.02,
            y,
            name,
            transform=axes.transAxes,
            color=Look(color).mixed("black", 0.35).color,
            fontsize=_DIRECT,
            va="center",
        )


def label_point(axes: Axes, where: tuple[float, float], name: str) -> None:
    """A name under a point."""
    axes.annotate(name, where, (0, -13), textcoords="offset points", ha="center", fontsize=_DIRECT)


def _apart(heights: np.ndarray, least: float) -> np.ndarray:
    """Sorted heights moved as little as possible (in squares) until they are `least` apart."""
    steps = least * np.arange(len(heights))
    blocks: list[list[float]] = []
    for value in heights - steps:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    return np.concatenate([np.full(len(block), np.mean(block)) for block in blocks]) + steps


def whole_numbers(*axes: Axes) -> None:
    """Ticks at whole numbers on the horizontal axis, which counts."""
    for one in axes:
        one.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=(1, 2, 5, 10)))


def legend_beside(axes: Axes, **options: Any) -> None:
    """A legend to the right of the panel, where no data are."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), **options)


def legend_instead(axes: Axes, handles: Mapping[str, Any], *, columns: int = 1) -> None:
    """The legend of all panels in the place of one that is left over."""
    axes.set_axis_off()
    axes.legend(list(handles.values()), list(handles), loc="center", ncols=columns)


def labelled(*axes: Axes) -> dict[str, Any]:
    """What was drawn with a label in any of these panels, by its label, for `legend_below`."""
    found: dict[str, Any] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found


def legend_below(figure: Figure, handles: Mapping[str, Any], *, columns: int, over: bool = False) -> None:
    """One legend for all panels, under them.

    Args:
        figure: that has room made for it.
        handles: what was drawn, by label.
        columns: of the legend.
        over: put it over the panels.
    """
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center" if over else "outside lower center",
        ncols=columns,
        **_LEGENDS,
    )


def save_figure(figure: Figure, paths: Sequence[Path]) -> None:
    """Save to every path.

    Raises:
        FileError: if a format is unknown or a file cannot be written.
    """
    try:
        for path in paths:
            # Without a date in it, the file depends on its data only.
            metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix)
            with replacing(path) as temporary, rc_context(_DRAWINGS):
                figure.savefig(temporary, dpi=160, metadata=metadata)
    except FileError:
        raise
    except ValueError as error:
        raise FileError(f"{path} cannot be written ({error}); use .png, .pdf or .svg") from error
