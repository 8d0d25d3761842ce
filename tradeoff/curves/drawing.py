"""Drawing in the plane of sampling efficiency against watermark strength."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tradeoff.curves.frontier import Curve
from tradeoff.curves.setting import Setting
from tradeoff.laws import entropy, overlap
from tradeoff.plotting import (
    OPTIMUM,
    WIDTH,
    Axes,
    Line,
    add_note,
    curve_look,
    legend_beside,
    method_look,
    new_figure,
    save_figure,
)

__all__ = ["draw_curve", "draw_ends", "draw_points", "plot_curves", "style_axes"]


def draw_curve(
    axes: Axes, curve: Curve, *, color: str, label: str, style: Line = "-", width: float = 1.6
) -> None:
    """Draw a curve: its non-dominated stretches in full, the dominated rest thin and pale."""
    keep = curve.frontier
    inside = keep & np.append(True, keep[:-1]) & np.append(keep[1:], True)
    for drawn, alpha, thickness, name in ((~inside, 0.45, 0.6 * width, "_"), (keep, 1.0, width, label)):
        x = np.where(drawn, curve.efficiency, np.nan)
        y = np.where(drawn, curve.strength, np.nan)
        axes.plot(x, y, ls=style, color=color, lw=thickness, alpha=alpha, label=name, zorder=2 + alpha)


def draw_points(
    axes: Axes, x: Iterable[float], y: Iterable[float], *, marker: str, color: str, label: str
) -> None:
    """Marked points on top of the curves, with a white rim that separates overlapping ones."""
    size = {"*": 130, "x": 40, "D": 44, "s": 24}.get(marker, 32)
    rim = {"linewidths": 1.8} if marker == "x" else {"linewidths": 0.9, "edgecolors": "white"}
    axes.scatter(list(x), list(y), s=size, marker=marker, color=color, label=label, zorder=5, **rim)


def draw_ends(
    axes: Axes,
    sse: float,
    most: float,
    labels: tuple[str, str] = ("standard", "optimum (1 − TV, Ent)"),
) -> None:
    """Where no watermark costs nothing, and the optimum.

    Args:
        axes: of the plane.
        sse, most: the largest efficiency and strength.
        labels: of the two points.
    """
    looks = (method_look("standard"), OPTIMUM)
    for strength, look, label in zip((0.0, most), looks, labels, strict=True):
        draw_points(axes, [sse], [strength], marker=look.marker, color=look.color, label=label)


def style_axes(axes: Axes, title: str) -> None:
    """Labels and title of the plane."""
    axes.set_xlabel("sampling efficiency (acceptance rate)")
    axes.set_ylabel("watermark strength (nats per token)")
    axes.set_title(title)


def plot_curves(setting: Setting, curves: Sequence[Curve], path: Path) -> None:
    """One panel with the given curves of one setting and the optimum.

    Raises:
        FileError: if the picture cannot be written.
    """
    figure, [[axes]] = new_figure(size=(WIDTH, 4.2))
    for curve in curves:
        family, _, _ = curve.name.partition(",")
        look = curve_look(family)
        draw_curve(axes, curve, color=look.color, style=look.line, label=family)
        if family in ("Hu", "Google"):
            end = {"marker": look.marker, "color": look.color, "label": "_"}
            draw_points(axes, curve.efficiency[:1], curve.strength[:1], **end)
    sse, most = float(overlap(setting.p, setting.q)), float(entropy(setting.p))
    draw_ends(axes, sse, most, ("standard", "optimum"))
    style_axes(axes, f"n = {len(setting.p):,}, {setting.decoders}")
    legend_beside(axes)
    add_note(figure, "Full lines: frontier. Pale lines: dominated.")
    save_figure(figure, [path])
