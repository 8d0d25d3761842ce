"""Panels of the plane of efficiency and strength: those that Figure 1 and its real-model twin share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tradeoff.curves import Curve, Planes, draw_curve, draw_ends, draw_points, style_axes
from tradeoff.plotting import (
    WIDTH,
    Axes,
    Figure,
    add_note,
    curve_look,
    labelled,
    legend_below,
    new_figure,
)

__all__ = ["CLASS_NAMES", "draw_plane", "draw_planes"]

#: Errors below this are narrower than a line.
_VISIBLE_ERROR = 2e-3
_DECODERS = {"gumbel": "Gumbel-max", "synthid-inf": "SynthID, m = ∞", "synthid-30": "SynthID, m = 30"}
#: Classes in the order in which they are drawn: chords first, so that the curves lie on top of them.
CLASS_NAMES = {
    "time-sharing": "time sharing",
    "linear": "linear class",
    "hu": "Hu's class",
    "google": "Google's class",
}
#: Adds to the panel of a decoder, which it is told by its key.
Overlay = Callable[[Axes, str], None]


def draw_planes(rows: Sequence[tuple[str, Planes]], caption: str, overlay: Overlay | None = None) -> Figure:
    """One row of panels for each set of curves, a panel a decoder, with every class of curves in its colour.
    Frontiers are drawn in full, dominated stretches thin and pale.

    Args:
        rows: (what to add to the titles, curves); the legend is shared.
        caption: text under the panels.
        overlay: adds to the panels of the first row, before the legend is made.
    """
    figure, grid = new_figure(len(rows), len(_DECODERS), size=(WIDTH, 2.3 * len(rows) + 1.5), sharey="row")
    for number, ((title, planes), panels) in enumerate(zip(rows, grid, strict=True)):
        for axes, (decoder, name) in zip(panels, _DECODERS.items(), strict=True):
            curves = {family: curve for (family, of), curve in planes.curves.items() if of == decoder}
            draw_plane(axes, curves, planes.sse, planes.most)
            if overlay is not None and number == 0:
                overlay(axes, decoder)
            style_axes(axes, f"{name}{title}")
            axes.set_xlabel("efficiency" if number == len(rows) - 1 else "")
            axes.set_ylabel("strength (nats)" if axes is panels[0] else "")
    legend_below(figure, labelled(*grid.flat), columns=3)
    add_note(figure, caption)
    return figure


def draw_plane(axes: Axes, curves: Mapping[str, Curve], sse: float, most: float) -> None:
    """Curves of one decoder or pair of them: a colour a class, with marks at what it can keep.

    Args:
        axes: one panel.
        curves: by class.
        sse, most: the largest efficiency and strength.
    """
    for family, name in CLASS_NAMES.items():
        if family not in curves:
            continue
        curve, look = curves[family], curve_look(family)
        draw_curve(axes, curve, color=look.color, style=look.line, label=name)
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
        # The linear class can keep strength, Hu's and Google's efficiency.
        end = -1 if family == "linear" else 0
        if family != "time-sharing":
            where = (curve.efficiency[[end]], curve.strength[[end]])
            draw_points(axes, *where, marker=look.marker, color=look.color, label="_")
    draw_ends(axes, sse, most)
    axes.set_ylim(-0.07 * most, 1.1 * most)
    axes.locator_params(axis="x", nbins=4)
