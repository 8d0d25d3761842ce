"""What theory predicts at the very positions of generated texts, beside what was measured there."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from figures.experiment.names import watermark_name
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
    "strength": (
        "mean log P_ζ(token)/P(token) = entropy, or less what a random coin leaves",
        "Definition 3.1, Theorem 3.2, section 3.2",
    ),
    "score": (
        "mean score that the default detector reads",
        "[scores of races](../theory/race-scores.md); others simulated under other keys",
    ),
    "share found": (
        "share of texts found at FPR 1%, by length",
        "`tradeoff plan` ([detection](../theory/detection.md))",
    ),
    "share given texts": (
        "the same without speculation, given the texts",
        "the law of a token's score given its probability ([detection](../theory/detection.md))",
    ),
}
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
                "what is predicted",
                "where from",
                "rows",
                r"largest \|z\|",
                "controls",
                r"smallest \|z\|",
            ],
            _by_statement(predictions, controls),
        ),
        "methods": markdown_table(
            ["method", "T", "acceptance", "strength (nats)", "mean score"], _by_method(predictions)
        ),
        "shares": markdown_table(
            ["prompts", "tokens", "measured", "given the texts", "`plan`"], _shares(predictions)
        ),
        "cells": len(preset.cells()),
        "width": preset.context_width,
        "measured": run_measured_at(_RUN),
    }


def _by_statement(predictions: pd.DataFrame, controls: pd.DataFrame) -> Iterator[list[str]]:
    for name, (what, source) in _STATEMENTS.items():
        rows, wrong = (part[part["statement"] == name] for part in (predictions, controls))
        yield [
            what,
            source,
            f"{len(rows)}",
            number(float(rows["z"].abs().max()), 2),
            f"{len(wrong)}",
            number(float(wrong["z"].abs().min()), 1) if len(wrong) else "–",
        ]


def _shares(predictions: pd.DataFrame) -> Iterator[list[str]]:
    """Without speculation, where both predictions are there: rows of both are in the order of lengths."""
    planned = experiment_table(_RUN, "predicted")
    own = predictions[predictions["statement"] == "share given texts"]
    for prompts, part in own.groupby("prompts", sort=False):
        told = planned[(planned["prompts"] == prompts) & (planned["method"] == "basic")]
        require(
            (told["measured"].to_numpy() == part["measured"].to_numpy()).all(), "both are of the same texts"
        )
        for given, plan in zip(part["predicted"], told.to_dict("records"), strict=True):
            cells = (percent(value) for value in (plan["measured"], given, plan["predicted"]))
            yield [str(prompts), f"{plan['tokens']}", *cells]


def _by_method(predictions: pd.DataFrame) -> Iterator[list[str]]:
    """Measured (predicted), both sets of prompts together, weighed by positions."""
    shown = predictions[
        (predictions["what"] == "mean")
        & predictions["lookahead"].isin([0, _LOOKAHEAD])
        & predictions["statement"].isin(["acceptance", "strength", "score"])
        & (predictions["watermark"] != "none")
    ]
    for (watermark, temperature, method), part in shown.groupby(
        ["watermark", "temperature", "method"], sort=False
    ):
        cells = []
        for name in ("acceptance", "strength", "score"):
            rows = part[part["statement"] == name]
            if rows.empty:
                cells.append("–")
                continue
            weight = rows["count"] / rows["count"].sum()
            measured, predicted = (float(weight @ rows[column]) for column in ("measured", "predicted"))
            cells.append(f"{number(measured, 3)} ({number(predicted, 3)})")
        yield [f"`{method}`, {watermark_name(watermark)}", f"{temperature:.1f}", *cells]
