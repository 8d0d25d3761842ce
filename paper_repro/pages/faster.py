"""Steps that give more tokens: drafts verified as blocks, and drafts that are looked up."""

from __future__ import annotations

import math

import pandas as pd
from scipy import stats

from paper_repro.pages.parts.formats import between, markdown_table, number, plus_minus
from paper_repro.pages.parts.measured import (
    benchmark_table,
    bound_of_largest,
    figure_table,
    measured_at,
    run_measured_at,
)
from paper_repro.pages.parts.tables import experiment_table, one_row, require
from tradeoff.kernels import METHODS, Verify

__all__ = ["values"]

_RUN = "blocks"
#: What the table of the run adds to the name of a method whose drafts are verified together.
_BLOCKS = ", blocks"
_CELL = ["temperature", "watermark", "lookahead"]
#: Measured with several look-aheads.
_LONGER = "joint-race"
_DEFAULT_N = 2


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    return {
        **_blocks(experiment_table(_RUN, "table")),
        **_rounds(figure_table("engine_chains")),
        **_looked_up(benchmark_table("ngram")),
        "measured": run_measured_at(_RUN),
    }


def _mean(part: pd.DataFrame, name: str) -> tuple[float, float]:
    """Over sets of prompts, and its standard error; runs of one set may depend on each other."""
    sets = part.groupby("prompts")[[name, f"{name}_error"]].mean()
    return float(sets[name].mean()), math.hypot(*sets[f"{name}_error"]) / len(sets)


def _blocks(table: pd.DataFrame) -> dict[str, object]:
    """Tokens a step by both rules, measured, and what blocks gain with the same drafts."""
    rows, clear = [], 0
    gains: dict[float, list[float]] = {}
    names = table["method"].str.removesuffix(_BLOCKS)
    for (method, *cell), part in table.groupby([names, *_CELL], sort=False):
        temperature, watermark, lookahead = cell
        together = part["method"].str.endswith(_BLOCKS)
        sets = part["prompts"].nunique()
        require(sets == 2 and together.sum() == sets == len(part) / 2, "both rules, on both sets of prompts")
        of_rule = int(part[together]["texts"].sum())
        require(of_rule == part[~together]["texts"].sum(), "both rules wrote as many texts")
        gain, error = _mean(part, "block_gain")
        half = float(stats.t.ppf(0.975, of_rule - sets)) * error
        clear += gain > half
        if method == _LONGER:
            gains.setdefault(temperature, []).append(gain)
        rows.append(
            [
                f"{temperature:.1f}",
                f"`{method}`, {watermark}",
                f"{lookahead}",
                f"{of_rule}",
                plus_minus(*_mean(part[~together], "aatps"), 2),
                plus_minus(*_mean(part[together], "aatps"), 2),
                between(gain, gain - half, gain + half, 3),
            ]
        )
    require(clear == len(rows), "the gain's interval is above 0 at every setting")
    grown = all(found == sorted(found) and len(found) > 1 for found in gains.values())
    require(grown, "the estimated gain grows with the look-ahead")
    head = ["T", "method", "K", "texts a rule", "AATPS, one by one", "AATPS, blocks", "gain (95% interval)"]
    # Runs on the same prompts depend on each other: of the largest, Sidak's bound holds all the same.
    largest = {name: _largest(table[name].dropna()) for name in ("aatps_z", "acceptance_z")}
    return {
        "blocks": markdown_table(head, rows),
        "settings": len(rows),
        "steps_count": len(table),
        "steps_z": largest["aatps_z"][0],
        "steps_bound": largest["aatps_z"][1],
        "accepted_z": largest["acceptance_z"][0],
        "accepted_bound": largest["acceptance_z"][1],
    }


def _largest(z: pd.Series) -> tuple[str, str]:
    """The largest |z| and its bound, which it must not exceed."""
    found, bound = float(z.abs().max()), bound_of_largest(len(z))
    require(found <= bound, "what was counted is what theory says")
    return number(found, 1), number(bound, 1)


def _rounds(table: pd.DataFrame) -> dict[str, object]:
    """The engine's own rounds on chains whose laws are known."""
    names = table["method"].str.extract(r"^([\w-]+)", expand=False)
    require(set(names) == set(METHODS), "every method has run")
    blocks = {name for name, method in METHODS.items() if method.full_efficiency}
    require(set(names[table["verify"] == Verify.BLOCK]) == blocks, "each of efficiency 1 − TV as blocks too")
    fewest = int(table["rounds"].min())
    require(fewest >= 1_000_000, "a million rounds of every method and rule")
    least = float(table["p"].min())
    require(least * len(table) >= 0.05, "whole texts have the law of the target")
    z, bound = _largest(table["z"].dropna())
    return {
        "rounds_cases": len(table),
        "rounds_fewest": f"{fewest:,}",
        "rounds_p": number(least, 4),
        "rounds_chance": number(1 - (1 - least) ** len(table), 2),
        "rounds_z": z,
        "rounds_bound": bound,
        "rounds_z_count": table["z"].count(),
        "rounds_measured": measured_at(table),
    }


def _looked_up(table: pd.DataFrame) -> dict[str, object]:
    """Times and tokens a step of drafts that are looked up, by the tokens that must agree."""
    rows = []
    for row in table.to_dict("records"):
        rows.append(
            [
                row["prompts"],
                f"{row['n']}",
                f"{row['texts']}",
                number(row["tokens_a_step"], 2),
                number(row["ours_ms"], 1),
                number(row["other_ms"], 1),
                between(row["ratio"], row["ratio_low"], row["ratio_high"], 2),
            ]
        )
    head = ["prompts", "n", "texts", "AATPS", "ms a token", "none, ms a token", "ratio (95% interval)"]
    steps = table.pivot(index="prompts", columns="n", values="tokens_a_step")
    require((steps.idxmax(axis=1) == _DEFAULT_N).all(), "two tokens give most tokens a step with each kind")
    widest = float((table["ratio_high"] - table["ratio"]).max())
    means = table.groupby("n")["ratio"].mean()
    require(means.max() - means.min() < widest, "in time they differ by less than the intervals' width")
    require((table["equal"] == table["texts"]).all(), "all texts are equal")
    settings = one_row(table[["lookahead", "temperature", "tokens", "dtype", "threads"]].drop_duplicates())
    return {
        "looked_up": markdown_table(head, rows),
        "lookahead": settings["lookahead"],
        "temperature": number(settings["temperature"], 1),
        "tokens": settings["tokens"],
        "dtype": settings["dtype"],
        "threads": settings["threads"],
        "looked_up_measured": measured_at(table),
    }
