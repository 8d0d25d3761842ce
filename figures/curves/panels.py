"""The two panels that Figure 1 and its real-model twin share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tradeoff.curves import Planes, draw_curve, draw_points, style_axes
from tradeoff.plotting import COLORS, Axes, Figure, new_figure

__all__ = ["draw_planes"]

#: Colour and line style of every curve, by (class, decoder).
_STYLES = {
    ("linear", "gumbel"): (COLORS["blue"], "-"),
    ("linear", "synthid-inf"): (COLORS["orange"], "-"),
    ("time-sharing", "gumbel"): (COLORS["blue"], ":"),
    ("time-sharing", "synthid-inf"): (COLORS["orange"], ":"),
    ("hu", "gumbel"): (COLORS["vermilion"], "-"),
    ("hu", "synthid-inf"): (COLORS["vermilion"], "--"),
    ("hu", "synthid-30"): (COLORS["vermilion"], "-."),
    ("google", "gumbel"): (COLORS["green"], "-"),
    ("google", "synthid-inf"): (COLORS["green"], "--"),
    ("google", "synthid-30"): (COLORS["green"], "-."),
}
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
    height = 3.9 * len(rows) + 2.4
    figure, grid = new_figure(len(rows), 2, size=(11.5, height), layout=None, sharey="row")
    for (title, planes), (left, right) in zip(rows, grid, strict=True):
        _draw_row(planes, left, right, overlay if title == rows[0][0] else None)
        style_axes(left, f"Linear classes and time sharing{title}")
        style_axes(right, f"Hu's and Google's classes{title}")
        right.set_ylabel("")
        right.tick_params(labelleft=True)
    for axes in grid[-1]:
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.15),
            ncols=2,
            frameon=False,
            fontsize=7.6,
            handlelength=2.6,
        )
    figure.subplots_adjust(
        left=0.06,
        right=0.985,
        top=1 - 0.34 / height,
        bottom=2.28 / height,
        wspace=0.11,
        hspace=0.3,
    )
    figure.text(0.5, 0.07 / height, caption, ha="center", va="bottom", fontsize=8, color="#444444")
    return figure


def _draw_row(planes: Planes, left: Axes, right: Axes, overlay: Callable[[Axes], None] | None) -> None:
    for (family, decoder), curve in planes.curves.items():
        color, style = _STYLES[family, decoder]
        axes = left if family in ("linear", "time-sharing") else right
        draw_curve(axes, curve, color=color, style=style, label=f"{_CLASSES[family]}, {_DECODERS[decoder]}")
        if curve.efficiency_error[-1] > _VISIBLE_ERROR:
            axes.errorbar(
                curve.efficiency[-1],
                curve.strength[-1],
                xerr=curve.efficiency_error[-1],
                yerr=curve.strength_error[-1],
                color=color,
                lw=1,
                capsize=2,
                zorder=4,
            )
    if overlay is not None:
        overlay(right)
    for decoder, color in (("gumbel", COLORS["blue"]), ("synthid-inf", COLORS["orange"])):
        kept = planes.curves["linear", decoder]
        label = f"strength maintained, {_DECODERS[decoder]}"
        draw_points(left, kept.efficiency[-1:], kept.strength[-1:], marker="o", color=color, label=label)
    # Different shapes, the smaller one on top: where the two coincide both are seen.
    for family, color, marker in (("hu", COLORS["vermilion"], "D"), ("google", COLORS["green"], "s")):
        ends = [curve for key, curve in planes.curves.items() if key[0] == family]
        draw_points(
            right,
            [curve.efficiency[0] for curve in ends],
            [curve.strength[0] for curve in ends],
            marker=marker,
            color=color,
            label=f"efficiency maintained, {_CLASSES[family]}",
        )
    for axes in (left, right):
        plain = {"marker": "x", "color": COLORS["black"], "label": "standard speculative sampling"}
        best = {"marker": "*", "color": COLORS["purple"], "label": "optimum (1 − TV, Ent)"}
        draw_points(axes, [planes.sse], [0.0], **plain)
        draw_points(axes, [planes.sse], [planes.most], **best)
        axes.set_ylim(-0.05 * planes.most, 1.08 * planes.most)
