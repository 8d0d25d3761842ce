"""Anchored e-values (Anchored E-Watermarking): growth, optimality, buckets, first passage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.buckets import BucketDraw, bucket_law, couple, seed_bucket
    from tradeoff.evalue_programme import MaxMin, WorstCase, best_e_value, maximal_coupling, worst_case
    from tradeoff.evalues import (
        anchored_growth,
        growth_at,
        hedged_growth,
        log_anchored,
        log_hedged,
        plug_in_eps,
        worst_case_eps,
    )
    from tradeoff.first_passage import Walk
    from tradeoff.supermartingales import EProcess, first_crossing, log_mixture, log_p_values

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
    "buckets": (
        "BucketDraw",
        "bucket_law",
        "couple",
        "seed_bucket",
    ),
    "evalue_programme": (
        "MaxMin",
        "WorstCase",
        "best_e_value",
        "maximal_coupling",
        "worst_case",
    ),
    "evalues": (
        "anchored_growth",
        "growth_at",
        "hedged_growth",
        "log_anchored",
        "log_hedged",
        "plug_in_eps",
        "worst_case_eps",
    ),
    "first_passage": ("Walk",),
    "supermartingales": (
        "EProcess",
        "first_crossing",
        "log_mixture",
        "log_p_values",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
