"""Trade-off curves of efficiency and strength: settings, measures, classes, optima."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.curves.averaged import AveragedPlane, average_plane, check_paired_seeds
    from tradeoff.curves.biased.budget import BudgetedPoint, most_efficient_within, strongest_within
    from tradeoff.curves.biased.decomposition import (
        MEASURES,
        Decomposition,
        biased_efficiency,
        decompose,
        distortion,
        mutual_information,
    )
    from tradeoff.curves.biased.green_mass import Lists, MeanOfLists, mean_over_lists
    from tradeoff.curves.drawing import draw_curve, draw_ends, draw_points, plot_curves, style_axes
    from tradeoff.curves.example import PAPER_P, PAPER_Q
    from tradeoff.curves.families import CLASSES, curve, linear_parts
    from tradeoff.curves.frontier import Curve, non_dominated
    from tradeoff.curves.linear import (
        LinearEfficiency,
        OperatingPoint,
        gamma_for_strength,
        linear_efficiency,
        linear_strength,
        most_efficient,
        strongest,
    )
    from tradeoff.curves.measures import (
        google_end_point_strength,
        hu_end_point_strength,
        sampling_efficiency,
        watermark_strength,
    )
    from tradeoff.curves.monte_carlo import DEFAULT_SEEDS, check_seeds, simulate
    from tradeoff.curves.pairs import ExactPairs, SampledPairs, sample_pairs
    from tradeoff.curves.planes import Planes, planes_table
    from tradeoff.curves.race_limits import (
        PRICES,
        RaceLimit,
        RaceLimitCurve,
        race_limit,
        race_limit_curve,
        threshold_rule_score,
    )
    from tradeoff.curves.race_transport import RacePair, race_potentials
    from tradeoff.curves.setting import Setting
    from tradeoff.curves.splicing import GoogleEntropy, HuEntropy, spliced_law
    from tradeoff.decoders import race_coupling, race_diagonal

__all__ = [
    "CLASSES",
    "DEFAULT_SEEDS",
    "MEASURES",
    "PAPER_P",
    "PAPER_Q",
    "PRICES",
    "AveragedPlane",
    "BudgetedPoint",
    "Curve",
    "Decomposition",
    "ExactPairs",
    "GoogleEntropy",
    "HuEntropy",
    "LinearEfficiency",
    "Lists",
    "MeanOfLists",
    "OperatingPoint",
    "Planes",
    "RaceLimit",
    "RaceLimitCurve",
    "RacePair",
    "SampledPairs",
    "Setting",
    "average_plane",
    "biased_efficiency",
    "check_paired_seeds",
    "check_seeds",
    "curve",
    "decompose",
    "distortion",
    "draw_curve",
    "draw_ends",
    "draw_points",
    "gamma_for_strength",
    "google_end_point_strength",
    "hu_end_point_strength",
    "linear_efficiency",
    "linear_parts",
    "linear_strength",
    "mean_over_lists",
    "most_efficient",
    "most_efficient_within",
    "mutual_information",
    "non_dominated",
    "planes_table",
    "plot_curves",
    "race_coupling",
    "race_diagonal",
    "race_limit",
    "race_limit_curve",
    "race_potentials",
    "sample_pairs",
    "sampling_efficiency",
    "simulate",
    "spliced_law",
    "strongest",
    "strongest_within",
    "style_axes",
    "threshold_rule_score",
    "watermark_strength",
]

_HOMES = {
    "curves.averaged": (
        "AveragedPlane",
        "average_plane",
        "check_paired_seeds",
    ),
    "curves.biased.budget": (
        "BudgetedPoint",
        "most_efficient_within",
        "strongest_within",
    ),
    "curves.biased.decomposition": (
        "MEASURES",
        "Decomposition",
        "biased_efficiency",
        "decompose",
        "distortion",
        "mutual_information",
    ),
    "curves.biased.green_mass": (
        "Lists",
        "MeanOfLists",
        "mean_over_lists",
    ),
    "curves.drawing": (
        "draw_curve",
        "draw_ends",
        "draw_points",
        "plot_curves",
        "style_axes",
    ),
    "curves.example": (
        "PAPER_P",
        "PAPER_Q",
    ),
    "curves.families": (
        "CLASSES",
        "curve",
        "linear_parts",
    ),
    "curves.frontier": (
        "Curve",
        "non_dominated",
    ),
    "curves.linear": (
        "LinearEfficiency",
        "OperatingPoint",
        "gamma_for_strength",
        "linear_efficiency",
        "linear_strength",
        "most_efficient",
        "strongest",
    ),
    "curves.measures": (
        "google_end_point_strength",
        "hu_end_point_strength",
        "sampling_efficiency",
        "watermark_strength",
    ),
    "curves.monte_carlo": (
        "DEFAULT_SEEDS",
        "check_seeds",
        "simulate",
    ),
    "curves.pairs": (
        "ExactPairs",
        "SampledPairs",
        "sample_pairs",
    ),
    "curves.planes": (
        "Planes",
        "planes_table",
    ),
    "curves.race_limits": (
        "PRICES",
        "RaceLimit",
        "RaceLimitCurve",
        "race_limit",
        "race_limit_curve",
        "threshold_rule_score",
    ),
    "curves.race_transport": (
        "RacePair",
        "race_potentials",
    ),
    "curves.setting": ("Setting",),
    "curves.splicing": (
        "GoogleEntropy",
        "HuEntropy",
        "spliced_law",
    ),
    "decoders": (
        "race_coupling",
        "race_diagonal",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
