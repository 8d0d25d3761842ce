"""The two panels that Figure 1 and its real-model twin share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tradeoff.files import curve_table
from tradeoff.pareto import Curve
from tradeoff.plane import COLORS, draw_curve, draw_points, style_axes

__all__ = ["Planes", "draw_planes", "planes_table"]

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
_DECODERS = {"gumbel": "Gumbel-max", "synthid-inf": "SynthID, m = ∞", "synthid-30": "SynthID, m = 30"}
_CLASSES = {
    "linear": "linear class",
    "time-sharing": "time sharing",
    "hu": "Hu's class",
    "google": "Google's class",
}


@dataclass(frozen=True)
class Planes:
    """Everything the two panels show.

    Attributes:
        curves: by (class, decoder), the keys that the styles name.
        sse: 1 - TV(Q, P).
        most: Ent(P) in nats.
    """

    curves: dict[tuple[str, str], Curve]
    sse: float
    most: float


def draw_planes(planes: Planes, caption: str, overlay: Callable[[Axes], None] | None = None) -> Figure:
    """Left: linear classes and chords. Right: Hu's and Google's classes. Frontiers are drawn in full,
    dominated stretches thin and pale.

    Args:
        planes: the curves.
        caption: text under the panels.
        overlay: adds to the right panel before its legend is made.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 6.1), sharey=True)
    for key, curve in planes.curves.items():
        color, style = _STYLES[key]
        family, decoder = key
        axes = left if family in ("linear", "time-sharing") else right
        draw_curve(axes, curve, color=color, style=style, label=f"{_CLASSES[family]}, {_DECODERS[decoder]}")
    if overlay is not None:
        overlay(right)
    for decoder, color in (("gumbel", COLORS["blue"]), ("synthid-inf", COLORS["orange"])):
        kept = planes.curves.get(("linear", decoder))
        if kept is not None:
            draw_points(
                left,
                [kept.efficiency[-1]],
                [kept.strength[-1]],
                marker="o",
                color=color,
                label=f"strength maintained, {_DECODERS[decoder]}",
            )
    for family, color in (("hu", COLORS["vermilion"]), ("google", COLORS["green"])):
        ends = [curve for key, curve in planes.curves.items() if key[0] == family]
        if ends:
            draw_points(
                right,
                [curve.efficiency[0] for curve in ends],
                [curve.strength[0] for curve in ends],
                marker="D",
                color=color,
                label=f"efficiency maintained, {_CLASSES[family]}",
            )
    for axes in (left, right):
        draw_points(
            axes,
            [planes.sse],
            [0.0],
            marker="x",
            color=COLORS["black"],
            label="standard speculative sampling",
        )
        draw_points(
            axes,
            [planes.sse],
            [planes.most],
            marker="*",
            color=COLORS["purple"],
            label="optimum (1 − TV, Ent)",
        )
    style_axes(left, "Linearly watermarked classes and time sharing")
    style_axes(right, "Hu's and Google's classes")
    right.set_ylabel("")
    right.tick_params(labelleft=True)
    for axes in (left, right):
        axes.set_ylim(-0.05 * planes.most, 1.08 * planes.most)
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.15),
            ncols=2,
            frameon=False,
            fontsize=7.6,
            handlelength=2.6,
        )
    figure.subplots_adjust(left=0.06, right=0.985, top=0.94, bottom=0.325, wspace=0.11)
    figure.text(0.5, 0.012, caption, ha="center", va="bottom", fontsize=8, color="#444444")
    return figure


def planes_table(planes: Planes) -> pd.DataFrame:
    """Every point of every curve, and the named points: one row each."""
    tables = [
        curve_table(curve).assign(**{"class": family, "decoder": decoder})
        for (family, decoder), curve in planes.curves.items()
    ]
    named = pd.DataFrame(
        {
            "class": ["standard speculative sampling", "optimum"],
            "decoder": ["none", "any degenerate"],
            "gamma": [np.nan, np.nan],
            "theta": [np.nan, np.nan],
            "efficiency": [planes.sse, planes.sse],
            "strength": [0.0, planes.most],
            "frontier": [True, True],
            "efficiency_error": [0.0, 0.0],
            "strength_error": [0.0, 0.0],
        }
    )
    table = pd.concat([*tables, named], ignore_index=True)
    return table[["class", "decoder", *[c for c in table.columns if c not in ("class", "decoder")]]]
