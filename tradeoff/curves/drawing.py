"""Drawing in the plane of sampling efficiency against watermark strength."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tradeoff.curves.frontier import Curve
from tradeoff.curves.setting import Setting
from tradeoff.laws import entropy, overlap
from tradeoff.plotting import COLORS, Axes, new_figure, save_figure

__all__ = ["draw_curve", "draw_points", "plot_curves", "style_axes"]


#: Colour and line of every class, by the first word of a curve's name.
_CLASS_STYLES = {
    "linear": ("blue", "-"),
    "time sharing": ("blue", ":"),
    "Hu": ("vermilion", "-"),
    "Google": ("green", "--"),
}


def draw_curve(
    axes: Axes, curve: Curve, *, color: str, label: str, style: str = "-", width: float = 2.0
) -> None:
    """Draw a curve: its non-dominated stretches in full, the dominated rest thin and pale."""
    keep = curve.frontier
    inside = keep & np.append(True, keep[:-1]) & np.append(keep[1:], True)
    for drawn, alpha, thickness, name in ((~inside, 0.45, 0.6 * width, "_"), (keep, 1.0, width, label)):
        x = np.where(drawn, curve.efficiency, np.nan)
        y = np.where(drawn, curve.strength, np.nan)
        axes.plot(x, y, style, color=color, lw=thickness, alpha=alpha, label=name, zorder=2 + alpha)


def draw_points(
    axes: Axes, x: Iterable[float], y: Iterable[float], *, marker: str, color: str, label: str
) -> None:
    """Marked points on top of the curves, with a white rim that separates overlapping ones."""
    size = {"*": 260, "x": 80, "D": 110, "s": 46}.get(marker, 64)
    rim = {"linewidths": 2.2} if marker == "x" else {"linewidths": 0.9, "edgecolors": "white"}
    axes.scatter(list(x), list(y), s=size, marker=marker, color=color, label=label, zorder=5, **rim)


def style_axes(axes: Axes, title: str) -> None:
    """Labels, title and grid of the plane."""
    axes.set_xlabel("sampling efficiency (acceptance rate)")
    axes.set_ylabel("watermark strength (nats per token)")
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def plot_curves(setting: Setting, curves: Sequence[Curve], path: Path) -> None:
    """One panel with the given curves of one setting and the optimum.

    Raises:
        FileError: if the picture cannot be written.
    """
    figure, [[axes]] = new_figure(size=(7.6, 4.8))
    for curve in curves:
        family, _, _ = curve.name.partition(",")
        color, style = _CLASS_STYLES[family]
        draw_curve(axes, curve, color=COLORS[color], style=style, label=family)
        if family in ("Hu", "Google"):
            end = {"marker": "D" if family == "Hu" else "s", "color": COLORS[color], "label": "_"}
            draw_points(axes, curve.efficiency[:1], curve.strength[:1], **end)
    sse, most = float(overlap(setting.p, setting.q)), float(entropy(setting.p))
    draw_points(axes, [sse], [0], marker="x", color=COLORS["black"], label="standard speculative")
    draw_points(axes, [sse], [most], marker="*", color=COLORS["purple"], label="optimum")
    style_axes(axes, f"n = {len(setting.p):,}, {setting.decoders}")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5)
    figure.supxlabel("Full lines: frontier. Pale lines: dominated.", fontsize=8, color="#444444")
    save_figure(figure, [path])
