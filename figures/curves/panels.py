"""The two panels that Figure 1 and its real-model twin share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tradeoff.curves import Planes, draw_curve, draw_ends, draw_points, style_axes
from tradeoff.plotting import (
    Axes,
    Figure,
    Look,
    add_note,
    curve_look,
    legend_under,
    new_figure,
    watermark_look,
)

__all__ = ["draw_planes"]

#: Lines of the decoders; the class has the colour.
_LINES = {"gumbel": "-", "synthid-inf": "--", "synthid-30": "-."}
#: Errors below this are narrower than a line.
_VISIBLE_ERROR = 2e-3
_DECODERS = {"gumbel": "Gumbel-max", "synthid-inf": "SynthID, m = ∞", "synthid-30": "SynthID, m = 30"}
_CLASSES = {
    "linear": "linear class",
    "time-sharing": "time sharing",
    "hu": "Hu's class",
    "google": "Google's class",
}


def draw_planes(
    rows: Sequence[tuple[str, Planes]], caption: str, overlay: Callable[[Axes], None] | None = None
) -> Figure:
    """One row of two panels for each set of curves. Left: linear classes and chords. Right: Hu's and
    Google's classes. Frontiers are drawn in full, dominated stretches thin and pale.

    Args:
        rows: (what to add to the titles, curves); the legends are shared.
        caption: text under the panels, two lines.
        overlay: adds to the right panel of the first row before its legend is made.
    """
    figure, grid = new_figure(len(rows), 2, size=(11.5, 3.9 * len(rows) + 1.9), sharey="row")
    for (title, planes), (left, right) in zip(rows, grid, strict=True):
        _draw_row(planes, left, right, overlay if title == rows[0][0] else None)
        style_axes(left, f"Linear classes and time sharing{title}")
        style_axes(right, f"Hu's and Google's classes{title}")
        right.set_ylabel("")
        right.tick_params(labelleft=True)
    for axes in grid[-1]:
        legend_under(axes)
    add_note(figure, caption)
    return figure


def _look(family: str, decoder: str) -> Look:
    return curve_look(family).varied(_LINES[decoder])


def _draw_row(planes: Planes, left: Axes, right: Axes, overlay: Callable[[Axes], None] | None) -> None:
    for (family, decoder), curve in planes.curves.items():
        look = _look(family, decoder)
        axes = left if family in ("linear", "time-sharing") else right
        label = f"{_CLASSES[family]}, {_DECODERS[decoder]}"
        draw_curve(axes, curve, color=look.color, style=look.line, label=label)
        if curve.efficiency_error[-1] > _VISIBLE_ERROR:
            axes.errorbar(
                curve.efficiency[-1],
                curve.strength[-1],
                xerr=curve.efficiency_error[-1],
                yerr=curve.strength_error[-1],
                color=look.color,
                lw=1,
                capsize=2,
                zorder=4,
            )
    if overlay is not None:
        overlay(right)
    for decoder in ("gumbel", "synthid-inf"):
        kept, color = planes.curves["linear", decoder], curve_look("linear").color
        mark = {"marker": watermark_look(decoder.partition("-")[0]).marker, "color": color}
        label = f"strength maintained, {_DECODERS[decoder]}"
        draw_points(left, kept.efficiency[-1:], kept.strength[-1:], label=label, **mark)
    # Different shapes, the smaller one on top: where the two coincide both are seen.
    for family in ("hu", "google"):
        look = curve_look(family)
        ends = [curve for key, curve in planes.curves.items() if key[0] == family]
        draw_points(
            right,
            [curve.efficiency[0] for curve in ends],
            [curve.strength[0] for curve in ends],
            marker=look.marker,
            color=look.color,
            label=f"efficiency maintained, {_CLASSES[family]}",
        )
    for axes in (left, right):
        draw_ends(axes, planes.sse, planes.most)
        axes.set_ylim(-0.05 * planes.most, 1.08 * planes.most)
