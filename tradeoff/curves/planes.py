"""Curves of several classes and watermarks in one plane, and the plane as a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tradeoff.curves.frontier import Curve

__all__ = ["Planes", "planes_table"]


@dataclass(frozen=True)
class Planes:
    """Everything the two panels show.

    Attributes:
        curves: by (class, decoder).
        sse: 1 - TV(Q, P).
        most: Ent(P) in nats.
    """

    curves: dict[tuple[str, str], Curve]
    sse: float
    most: float


def planes_table(planes: Planes) -> pd.DataFrame:
    """Every point of every curve, and the named points: one row each."""
    tables = [
        curve.table().assign(**{"class": family, "decoder": decoder})
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
