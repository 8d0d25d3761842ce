"""What theory predicts at the very positions of generated texts, beside what was measured there."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from figures.experiment.names import watermark_name
from paper_repro.bounds.__main__ import TEXTS
from paper_repro.bounds.rows import FEWEST, LEVEL
from paper_repro.pages.parts.formats import markdown_table, number, percent
from paper_repro.pages.parts.measured import run_measured_at
from paper_repro.pages.parts.tables import experiment_table, require
from paper_repro.presets import load_preset

__all__ = ["values"]

_RUN = "papers"
#: Statements in the order of the page: how they are called, what they are, whose, and what controls take.
_STATEMENTS = {
    "unbiased": (
        "mean surprise of the target = entropy",
        "unbiased: section 2 and Theorem 4.1 of *Improve the Trade-off*",
    ),
    "acceptance": (
        "share of drafts accepted = Σ min(P, Q), or the method's own",
        "Definition 2.1, Lemma 3.1 and Theorem 4.1; the joint race and tournament: this library",
    ),
    "steps": (
        "accepted drafts of a step, given the drafts, one by one or as a block",
        "sequences: Theorem 4.1; blocks: this library",
    ),
    "key gives token": (
        "the key gives the token, so that strength is surprise, where no coin is random",
        "Definition 3.1, Theorem 4.1; joint races: this library",
    ),
    "strength": (
        "mean log P_ζ(token)/P(token) = entropy less what chance leaves: `two-keys`, `keep-efficiency`",
        "Definition 3.1, Theorem 3.2, section 3.2",
    ),
    "score": ("mean score of a race that the default detector reads", "[formulas](../theory/race-scores.md)"),
    "simulated score": (
        "the same of trees, SynthID and SimplexWater",
        "this library's own kernels, simulated under other keys: texts are as the code says",
    ),
    "share found": (
        "share of texts found at FPR 1%, by length",
        "`tradeoff plan`, from laws in other texts ([forecasts](../theory/detection.md#forecasts))",
    ),
    "share given texts": (
        "the same without speculation, given the texts",
        "law of a score given the probability of its token ([forecasts](../theory/detection.md#forecasts))",
    ),
}
_CELL = ["prompts", "method", "watermark", "temperature", "lookahead"]
#: Of a method, for readers: those with speculation at the look-ahead that all share.
_LOOKAHEAD = 3


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    table = experiment_table(_RUN, "bounds").fillna({"control": ""})
    predictions, controls = table[table["control"] == ""], table[table["control"] != ""]
    require(predictions["holds"].all(), "all predictions are within their bound")
    require(not controls["holds"].any(), "all controls are outside")
    require(set(table["statement"]) == set(_STATEMENTS), "every statement has rows")
    preset = load_preset(_RUN)
    bound = float(table["bound"].iloc[0])
    given = predictions[predictions["statement"] == "key gives token"]
    return {
        "predictions": len(predictions),
        "controls": len(controls),
        "level": number(100 * LEVEL, 0),
        "bound": number(bound, 2),
        "fewest": f"{FEWEST:,}",
        "largest": number(float(predictions["z"].abs().max()), 2),
        "nearest": number(float(controls["z"].abs().min()), 1),
        "statements": markdown_table(
            [
                "what is predicted, and where that is from",
                "rows",
                "mean z",
                r"largest \|z\|",
                "controls",
                r"smallest \|z\|",
            ],
            _by_statement(predictions, controls),
        ),
        "methods": markdown_table(
            ["method", "T", "acceptance", "strength (nats)", "mean score", "under a wrong key"],
            _by_method(table),
        ),
        "shares": markdown_table(
            ["prompts", "tokens", "measured", "given the texts", "`plan`"], _shares(predictions)
        ),
        "missed": round(float(((1 - given["measured"]) * given["count"]).sum())),
        "given": f"{int(given['count'].sum()):,}",
        "read": TEXTS,
        "others": int(predictions.loc[predictions["statement"] == "share found", "count"].iloc[0]),
        "planned": preset.laws,
        "cells": len(table.groupby(_CELL)),
        "width": preset.context_width,
        "measured": run_measured_at(_RUN),
    }


def _by_statement(predictions: pd.DataFrame, controls: pd.DataFrame) -> Iterator[list[str]]:
    for name, (what, source) in _STATEMENTS.items():
        rows, wrong = (part[part["statement"] == name] for part in (predictions, controls))
        yield [
            f"**{what}**: {source}",
            f"{len(rows)}",
            number(float(rows["z"].mean()), 2),
            number(float(rows["z"].abs().max()), 2),
            f"{len(wrong)}",
            number(float(wrong["z"].abs().min()), 1) if len(wrong) else "–",
        ]


def _shares(predictions: pd.DataFrame) -> Iterator[list[str]]:
    """Without speculation; rows of both tables are in the order of lengths."""
    planned = experiment_table(_RUN, "power")
    own = predictions[predictions["statement"] == "share given texts"]
    for prompts, part in own.groupby("prompts", sort=False):
        told = planned[planned["prompts"] == prompts]
        same = told["measured"].to_numpy() == part["measured"].to_numpy()
        require(same.all(), "both are of the same texts")
        for given, plan in zip(part["predicted"], told.to_dict("records"), strict=True):
            cells = (percent(value) for value in (plan["measured"], given, plan["predicted"]))
            yield [f"{prompts}s", f"{plan['tokens']}", *cells]


def _by_method(table: pd.DataFrame) -> Iterator[list[str]]:
    """Measured (predicted), both sets of prompts together, weighed by positions."""
    shown = table[
        (table["what"] == "mean")
        & table["lookahead"].isin([0, _LOOKAHEAD])
        & (table["watermark"] != "none")
        & ~table["method"].str.contains("blocks")
    ]
    for (watermark, temperature, method), part in shown.groupby(
        ["watermark", "temperature", "method"], sort=False
    ):
        right, wrong = part[part["control"] == ""], part[part["control"] == "wrong key"]
        told = set(right["statement"])
        # The key gives the token: its surprise is the strength.
        strength = "unbiased" if "key gives token" in told else "strength"
        score = "score" if "score" in told else "simulated score"
        cells = [_both(right, name) for name in ("acceptance", strength, score)]
        null = wrong[wrong["statement"] == score]
        yield [
            f"`{method}`, {watermark_name(watermark)}",
            f"{temperature:.1f}",
            *cells,
            number(_weighed(null, "measured"), 3),
        ]


def _both(rows: pd.DataFrame, statement: str) -> str:
    part = rows[rows["statement"] == statement]
    if part.empty:
        return "–"
    return f"{number(_weighed(part, 'measured'), 3)} ({number(_weighed(part, 'predicted'), 3)})"


def _weighed(rows: pd.DataFrame, column: str) -> float:
    return float(rows["count"] @ rows[column] / rows["count"].sum())
