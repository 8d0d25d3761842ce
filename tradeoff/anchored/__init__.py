"""Anchored e-values (Anchored E-Watermarking): growth, optimality, buckets, first passage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.anchored.buckets import BucketDraw, bucket_law, couple, seed_bucket
    from tradeoff.anchored.coupling import maximal_coupling
    from tradeoff.anchored.e_values import (
        anchored_growth,
        growth_at,
        hedged_growth,
        log_anchored,
        log_anchored_matrix,
        log_hedged,
        plug_in_eps,
        worst_case_eps,
    )
    from tradeoff.anchored.first_passage import Walk
    from tradeoff.anchored.programme import MaxMin, WorstCase, best_e_value, worst_case
    from tradeoff.anchored.supermartingales import EProcess, first_crossing, log_mixture, log_p_values

__all__ = [
    "BucketDraw",
    "EProcess",
    "MaxMin",
    "Walk",
    "WorstCase",
    "anchored_growth",
    "best_e_value",
    "bucket_law",
    "couple",
    "first_crossing",
    "growth_at",
    "hedged_growth",
    "log_anchored",
    "log_anchored_matrix",
    "log_hedged",
    "log_mixture",
    "log_p_values",
    "maximal_coupling",
    "plug_in_eps",
    "seed_bucket",
    "worst_case",
    "worst_case_eps",
]

_HOMES = {
    "anchored.buckets": (
        "BucketDraw",
        "bucket_law",
        "couple",
        "seed_bucket",
    ),
    "anchored.coupling": ("maximal_coupling",),
    "anchored.e_values": (
        "anchored_growth",
        "growth_at",
        "hedged_growth",
        "log_anchored",
        "log_anchored_matrix",
        "log_hedged",
        "plug_in_eps",
        "worst_case_eps",
    ),
    "anchored.first_passage": ("Walk",),
    "anchored.programme": (
        "MaxMin",
        "WorstCase",
        "best_e_value",
        "worst_case",
    ),
    "anchored.supermartingales": (
        "EProcess",
        "first_crossing",
        "log_mixture",
        "log_p_values",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
