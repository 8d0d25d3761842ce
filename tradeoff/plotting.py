"""The one door to Matplotlib: figures that are drawn into files and belong to no window, in one style.

Spines, grids, sizes of letters, legends and notes are set here and nowhere else, and so is the look of every
scheme: a method, a watermark or a class of curves has the same colour, line and mark in every figure.

No other module imports Matplotlib. Notebooks name a backend of their own in the environment of every process
they start, and Matplotlib cannot even be imported where that backend is not installed.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Mapping, Sequence
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
    "WATERMARK_LOOKS",
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
    "labelled",
    "legend_below",
    "legend_beside",
    "legend_under",
    "method_look",
    "new_figure",
    "save_figure",
    "watermark_look",
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
    from matplotlib.ticker import LogLocator, NullFormatter
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
#: Sizes of letters, in points.
_HEADLINE, _TITLE, _LABEL, _TICK, _NOTE = 11.5, 10.5, 10.0, 9.0, 8.0
_NOTE_COLOR = "#444444"
#: Of SVG files: the same names of parts in every run, and letters as letters, which takes half the bytes.
_DRAWINGS: dict[Any, Any] = {"svg.hashsalt": "tradeoff", "svg.fonttype": "none"}
#: Lines in legends are long enough for the longest pattern of dashes.
_LEGENDS: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "handlelength": 3.4}

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


#: Methods of generation. Those that stand beside each other in the detection experiment differ in colour; of
#: one colour are relatives. Without colours marks tell all apart.
METHOD_LOOKS: Mapping[str, Look] = {
    "basic": _look("black", 0, "o"),
    "standard": _look("black", 3, "x"),
    "keep-strength": _look("grey", 0, "^"),
    "keep-efficiency": _look("grey", 1, "v"),
    "two-keys": _look("green", 0, "D"),
    "dual-key": _look("green", 1, "*"),
    "algorithm-1": _look("blue", 0, "s"),
    "single-key": _look("purple", 0, "P"),
    "one-race": _look("vermilion", 0, "X"),
    "one-race-tree": _look("orange", 0, "<"),
    "joint-race": _look("sky", 0, "h"),
    "joint-race-tree": _look("sky", 1, ">"),
    "joint-tournament": _look("sky", 2, "p"),
    "joint-transport": _look("sky", 3, "d"),
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
    "none": _look("grey", 3, "p"),
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
_OTHER_MARKERS = ("8", "1", "2", "3", "4", "+")
_OTHER_COLORS = ("blue", "vermilion", "green", "purple", "orange", "sky")


def method_look(name: str) -> Look:
    """Of a method of generation; one that the table lacks gets a look that its name alone decides.

    "joint-race, blocks", as tables call a method whose drafts were verified as blocks, has the mark of the
    method and the colour of all blocks.
    """
    method = name.removesuffix(_BLOCKS)
    look = METHOD_LOOKS.get(method) or _by_rule(method)
    return look if method == name else replace(look, color=COLORS["purple"])


def watermark_look(name: str) -> Look:
    """Of a watermark, by its name in records: "synthid:30", "heavywater:gamma", "completed:NAME".

    Sinkhorn's plans have dots and hollow marks. What is completed has the mark of what it completes, its
    colour darkened, and the line of all that is completed. A keyword that the table lacks gets a look that it
    alone decides.
    """
    inner = name.removeprefix("completed:")
    keywords = [key for key in WATERMARK_LOOKS if inner == key or inner.startswith((f"{key}:", f"{key},"))]
    look = WATERMARK_LOOKS[max(keywords, key=len)] if keywords else _by_rule(inner.partition(":")[0])
    if "sinkhorn" in inner:
        look = look.varied(":", filled=False)
    if inner != name:
        look = replace(look.mixed("black", 0.45), line=WATERMARK_LOOKS["completed"].line)
    return look


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
    layout = figure.get_layout_engine()
    assert isinstance(layout, ConstrainedLayoutEngine)
    layout.set(rect=(0.0, kept, 1.0, 1.0 - kept))
    where = (0.5, 0.25 * share / lines)
    figure.text(*where, text, fontsize=_NOTE, color=_NOTE_COLOR, ha="center", va="bottom")


def legend_beside(axes: Axes, **options: Any) -> None:
    """A legend to the right of the panel, where no data are."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), **options)


def legend_under(axes: Axes, columns: int = 2) -> None:
    """A legend under the panel and the name of its axis."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=columns)


def labelled(axes: Axes) -> dict[str, Any]:
    """What was drawn with a label, by its label, for `legend_below`."""
    handles, labels = axes.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


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
