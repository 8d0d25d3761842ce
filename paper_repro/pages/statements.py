"""The papers' statements, as `python -m sims` found them."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import pandas as pd

from paper_repro.pages.parts.formats import markdown_table, number, plus_minus
from paper_repro.pages.parts.measured import run_measured_at
from paper_repro.pages.parts.tables import one_row, require, statement_table, summary_note

__all__ = ["STATEMENTS", "Named", "values"]

#: By how much the normal approximations may be too bold at the family-wise level (`sims/report.py`).
_TOO_BOLD = 10


class Named(NamedTuple):
    """A statement of summary.csv in the words of the page.

    Attributes:
        shown: its name, and what is looked at.
        paper: whose statement it is.
        only: names for `python -m sims --only`.
    """

    shown: str
    paper: str
    only: tuple[str, ...]


_HU, _TRADE_OFF, _ANCHORED, _HEAVY, _OURS = (
    "Hu and Huang",
    "*Improve the Trade-off*",
    "*Anchored E-Watermarking*",
    "*HeavyWater and SimplexWater*",
    "this library",
)
#: By their names in summary.csv, without the letters of parts.
STATEMENTS = {
    "Impossibility": Named("impossibility: strength and efficiency at once", _HU, ("impossibility",)),
    "Definition 3.1": Named("Definition 3.1: strength", _TRADE_OFF, ("definition_3_1",)),
    "Theorem 3.1": Named("Theorem 3.1: decay of p-values", _TRADE_OFF, ("theorem_3_1",)),
    "Theorem 3.2": Named("Theorem 3.2: the most strength", _TRADE_OFF, ("theorem_3_2",)),
    "Theorem 3.3": Named("Theorem 3.3: tournaments end", _TRADE_OFF, ("theorem_3_3",)),
    "Lemma 3.1": Named("Lemma 3.1: the most efficiency", _TRADE_OFF, ("lemma_3_1",)),
    "Section 3.2": Named("Section 3.2: curves", _TRADE_OFF, ("curves_3_2",)),
    "Theorem 4.1": Named(
        "Theorem 4.1: one step, and whole sequences", _TRADE_OFF, ("theorem_4_1", "sequences_4_1")
    ),
    "Biased watermarks": Named("biased watermarks: strength, one step", _OURS, ("biased",)),
    "Joint race": Named("the joint race: one step", _OURS, ("joint_race",)),
    "Joint tournament": Named("the joint tournament: one step", _OURS, ("joint_tournament",)),
    "Keyed blocks": Named("keyed blocks: whole sequences", _OURS, ("keyed_blocks",)),
    "Limit of races": Named("the limit of races", _OURS, ("race_limit",)),
    "Anchored: Theorem 2.4": Named(
        "Theorem 2.4: type-I error at any time", _ANCHORED, ("anchored_validity",)
    ),
    "Anchored: Theorem 4.1": Named(
        "Theorem 4.1: growth and its optimum", _ANCHORED, ("anchored_optimality",)
    ),
    "Anchored: Theorem 4.3": Named("Theorem 4.3: stopping times", _ANCHORED, ("anchored_stopping",)),
    "Anchored: buckets": Named("anchored watermarks on buckets", _OURS, ("anchored_buckets",)),
    "Sequential detectors": Named(
        "sequential detectors, on texts without a watermark", _OURS, ("sequential_detectors",)
    ),
    "HeavyWater: Proposition 1": Named(
        "Proposition 1: two atoms, against linear programmes", _HEAVY, ("transport_two_atoms",)
    ),
    "HeavyWater: Theorem 2": Named(
        "Theorem 2: minimax codes, by brute force", _HEAVY, ("transport_minimax",)
    ),
    "HeavyWater: Theorem 3": Named("Theorem 3: Gumbel-max as transport", _HEAVY, ("transport_gumbel",)),
    "HeavyWater: Theorem 4": Named("Theorem 4: tail integrals", _HEAVY, ("transport_tails",)),
    "HeavyWater: solvers": Named("solvers", _HEAVY, ("transport_solvers",)),
    "Completion": Named("completion", _OURS, ("transport_completion",)),
    "Real pair": Named("the trade-off's statements on the built-in model pair", _OURS, ("real_pair",)),
}


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    summary = statement_table("summary")
    note = re.match(
        r"(\d+) predictions and (\d+) negative controls, 0 not as expected; ([\d,]+) seeds, seed (\d+), "
        r"Holm at family-wise level (\S+)\.$",
        summary_note(),
    )
    require(note, "every verdict of one whole run is as expected")
    assert note is not None
    controls = summary["expected_red"]
    require(summary["as_expected"].all(), "every verdict is as expected")
    require(
        (int((~controls).sum()), int(controls.sum())) == (int(note[1]), int(note[2])),
        "summary.csv and summary.md are of one run",
    )
    level = float(note[5])
    return {
        "measured": run_measured_at("sims"),
        "predictions": note[1],
        "controls": note[2],
        "statement_count": len(STATEMENTS),
        "seeds": note[3],
        "seed": note[4],
        "level": f"{level:g}",
        "green": f"{1 - _TOO_BOLD * level:g}",
        "statements": _table(summary),
        **_decay(),
        **_real_pair(summary),
    }


def _table(summary: pd.DataFrame) -> str:
    names = summary["statement"].str.replace(r"\([abc]\)$", "", regex=True)
    require(set(names) == set(STATEMENTS), "every statement of summary.csv has a row")
    rows = []
    for name, named in STATEMENTS.items():
        part = summary[names == name]
        predictions, controls = part[~part["expected_red"]], part[part["expected_red"]]
        rows.append(
            [
                named.shown,
                named.paper,
                f"{len(predictions)}",
                f"{predictions['p_value'].min():.2g}",
                f"{predictions['red'].sum()}",
                f"{len(controls)}",
                f"{controls['red'].sum()}",
                ", ".join(f"`{only}`" for only in named.only),
            ]
        )
    head = ["statement", "of", "predictions", "least p", "red", "controls", "red, as they must", "`--only`"]
    return markdown_table(head, rows)


def _decay() -> dict[str, object]:
    """How far Theorem 3.1 is followed."""
    table = statement_table("theorem_3_1")
    return {
        "decay_tokens": f"{table['n'].max():,}",
        "decay_digits": f"{table['minus_log_p'].max() / math.log(10):.0f}",
    }


def _real_pair(summary: pd.DataFrame) -> dict[str, object]:
    pair = summary[summary["statement"] == "Real pair"]

    def row(ending: str) -> pd.Series:
        return one_row(pair, setting=ending)

    accepted = row("one-race, Gumbel-max: acceptance, 1 − TV")
    slope = row("one-race, Gumbel-max: slope on 1 − TV")
    coin = row("two-keys, Gumbel-max, truly random coin: strength Ent(P)")
    decay = row("one-race, texts of 80 tokens: -(1/n) log p on mean Ent: slope")
    engine = pair[pair["setting"].str.fullmatch(r"engine, one race, \d+ tokens: -log p / Σ Ent")].iloc[0]
    wrong = row("wrong key: -log p / Σ Ent")
    coin_costs = coin["predicted"] - coin["estimate"]
    require(coin_costs > 5 * coin["standard_error"], "a truly random coin costs strength")
    points = statement_table("real_pair")
    many = points.groupby(["what", "method"])["index"].nunique()
    return {
        "positions": int(many["acceptance", "one-race, Gumbel-max"]),
        "simulated_texts": int(many["-(1/n) log p", "one-race"]),
        "engine_texts": int(many["-(1/n) log p", "engine"]),
        "overlap": number(accepted["predicted"], 3),
        "accepted": plus_minus(accepted["estimate"], accepted["standard_error"], 3),
        "slope": plus_minus(slope["estimate"], slope["standard_error"], 3),
        "coin": plus_minus(coin_costs, coin["standard_error"], 3),
        "entropy": number(coin["predicted"], 2),
        "decay": plus_minus(decay["estimate"], decay["standard_error"], 3),
        "engine": plus_minus(engine["estimate"], engine["standard_error"], 3),
        "wrong": plus_minus(wrong["estimate"], wrong["standard_error"], 3),
    }
