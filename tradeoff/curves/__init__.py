"""Trade-off curves of efficiency and strength: settings, measures, classes, optima."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.classes import CLASSES, curve
    from tradeoff.coupling import ExactPairs, SampledPairs, race_coupling, race_diagonal
    from tradeoff.frontier import Curve, non_dominated
    from tradeoff.measures import (
        google_end_point_strength,
        hu_end_point_strength,
        sampling_efficiency,
        watermark_strength,
    )
    from tradeoff.paper import PAPER_P, PAPER_Q
    from tradeoff.pareto import OperatingPoint, linear_strength, most_efficient, strongest
    from tradeoff.plane import plot_curves
    from tradeoff.setting import Setting
    from tradeoff.simulation import simulate

__all__ = [
    "CLASSES",
    "PAPER_P",
    "PAPER_Q",
    "Curve",
    "ExactPairs",
    "OperatingPoint",
    "SampledPairs",
    "Setting",
    "curve",
    "google_end_point_strength",
    "hu_end_point_strength",
    "linear_strength",
    "most_efficient",
    "non_dominated",
    "plot_curves",
    "race_coupling",
    "race_diagonal",
    "sampling_efficiency",
    "simulate",
    "strongest",
    "watermark_strength",
]

_HOMES = {
    "classes": (
        "CLASSES",
        "curve",
    ),
    "coupling": (
        "ExactPairs",
        "SampledPairs",
        "race_coupling",
        "race_diagonal",
    ),
    "frontier": (
        "Curve",
        "non_dominated",
    ),
    "measures": (
        "google_end_point_strength",
        "hu_end_point_strength",
        "sampling_efficiency",
        "watermark_strength",
    ),
    "paper": (
        "PAPER_P",
        "PAPER_Q",
    ),
    "pareto": (
        "OperatingPoint",
        "linear_strength",
        "most_efficient",
        "strongest",
    ),
    "plane": ("plot_curves",),
    "setting": ("Setting",),
    "simulation": ("simulate",),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
