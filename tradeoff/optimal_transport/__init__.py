"""Optimal transport to side information (HeavyWater and SimplexWater): solvers, scores, detection gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.optimal_transport.gaps import (
        GUMBEL_DEVIATION,
        LAWS,
        ScoreLaw,
        binary_gap,
        crossing,
        equal_weight_gap,
        estimated_gap,
        gumbel_sampling_gap,
        gumbel_scores_gap,
        pair_frequencies,
        simplex_gap,
        sorted_gap,
        two_atom_gap,
        worst_pair_gap,
        zero_word_gap,
    )
    from tradeoff.optimal_transport.scores import (
        SCORE_LAWS,
        RandomScores,
        Scores,
        remembered_rows,
        seeded_table,
    )
    from tradeoff.optimal_transport.solvers import (
        Exact,
        Plan,
        Sinkhorn,
        Solver,
        detection_gap,
        plan_strength,
        written,
    )

__all__ = [
    "GUMBEL_DEVIATION",
    "LAWS",
    "SCORE_LAWS",
    "Exact",
    "Plan",
    "RandomScores",
    "ScoreLaw",
    "Scores",
    "Sinkhorn",
    "Solver",
    "binary_gap",
    "crossing",
    "detection_gap",
    "equal_weight_gap",
    "estimated_gap",
    "gumbel_sampling_gap",
    "gumbel_scores_gap",
    "pair_frequencies",
    "plan_strength",
    "remembered_rows",
    "seeded_table",
    "simplex_gap",
    "sorted_gap",
    "two_atom_gap",
    "worst_pair_gap",
    "written",
    "zero_word_gap",
]

_HOMES = {
    "optimal_transport.gaps": (
        "GUMBEL_DEVIATION",
        "LAWS",
        "ScoreLaw",
        "binary_gap",
        "crossing",
        "equal_weight_gap",
        "estimated_gap",
        "gumbel_sampling_gap",
        "gumbel_scores_gap",
        "pair_frequencies",
        "simplex_gap",
        "sorted_gap",
        "two_atom_gap",
        "worst_pair_gap",
        "zero_word_gap",
    ),
    "optimal_transport.scores": (
        "RandomScores",
        "SCORE_LAWS",
        "Scores",
        "remembered_rows",
        "seeded_table",
    ),
    "optimal_transport.solvers": (
        "Exact",
        "Plan",
        "Sinkhorn",
        "Solver",
        "detection_gap",
        "plan_strength",
        "written",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
