"""Optimal transport to side information (HeavyWater and SimplexWater): solvers, scores, detection gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.detection_gaps import (
        LAWS,
        ScoreLaw,
        binary_gap,
        estimated_gap,
        gumbel_scores_gap,
        simplex_gap,
        two_atom_gap,
    )
    from tradeoff.scores import RandomScores, Scores, seeded_table
    from tradeoff.transport import Exact, Plan, Sinkhorn, Solver, detection_gap, plan_strength

__all__ = [
    "LAWS",
    "Exact",
    "Plan",
    "RandomScores",
    "ScoreLaw",
    "Scores",
    "Sinkhorn",
    "Solver",
    "binary_gap",
    "detection_gap",
    "estimated_gap",
    "gumbel_scores_gap",
    "plan_strength",
    "seeded_table",
    "simplex_gap",
    "two_atom_gap",
]

_HOMES = {
    "detection_gaps": (
        "LAWS",
        "ScoreLaw",
        "binary_gap",
        "estimated_gap",
        "gumbel_scores_gap",
        "simplex_gap",
        "two_atom_gap",
    ),
    "scores": (
        "RandomScores",
        "Scores",
        "seeded_table",
    ),
    "transport": (
        "Exact",
        "Plan",
        "Sinkhorn",
        "Solver",
        "detection_gap",
        "plan_strength",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
