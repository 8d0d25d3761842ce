"""How many tokens until a verdict that may come at any time: preset `sequential`, and anchored bets."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import pandas as pd

from figures.anchored.growth import ANCHORS
from figures.anchored.growth import DELTA as GROWTH_DELTA
from figures.anchored.stopping import DELTA as STOPPING_DELTA
from figures.anchored.stopping import worst_walk
from paper_repro.pages.parts.formats import (
    at_most,
    listed,
    markdown_table,
    number,
    percent,
    percent_between,
    plus_minus,
)
from paper_repro.pages.parts.measured import run_measured_at
from paper_repro.pages.parts.tables import experiment_table, one_row, require, said, statement_table
from tradeoff.anchored import anchored_growth, best_e_value, log_anchored

__all__ = ["values"]

_RUN = "sequential"
#: Error at any time, of the levels in the tables.
_ALPHA = 0.02
_METHODS = {"joint-race": "joint race", "algorithm-1": "Algorithm 1"}
#: (watermark, method) of the table of schemes.
_SCHEMES = {
    ("gumbel", "basic"): "Gumbel-max, no speculation",
    ("gumbel", "joint-race"): "Gumbel-max, `joint-race`",
    ("gumbel", "joint-race, blocks"): "Gumbel-max, `joint-race` by blocks",
    ("gumbel", "one-race"): "Gumbel-max, `one-race`",
    ("gumbel", "algorithm-1"): "Gumbel-max, `algorithm-1`",
    ("synthid:30", "basic"): "SynthID, no speculation",
    ("synthid:30", "joint-tournament"): "SynthID, `joint-tournament`",
    ("synthid:30", "algorithm-1"): "SynthID, `algorithm-1`",
}
#: -log10 of the levels shown.
_EARLY, _LATE = 2, 120
_BONFERRONI, _FIXED = "Bonferroni over time", "fixed length"
_ZIPF = re.compile(r"Zipf, n = (?P<n>[\d,]+), TV = ε = (?P<eps>[\d.]+)")


class _Column(NamedTuple):
    """Rows of the table `sequential` for one method and temperature."""

    method: str
    temperature: float
    bets: pd.Series
    draft_aware: pd.Series
    bonferroni: pd.Series
    anchored: pd.Series
    one_look: pd.Series


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    everything = experiment_table(_RUN, "sequential")
    everything = everything[everything["alpha"] == _ALPHA]
    table = everything[(everything["watermark"] == "gumbel") & everything["method"].isin(_METHODS)]
    heats = sorted(table["temperature"].unique())
    columns = [_column(table, method, heat) for heat in heats for method in _METHODS]
    shares = experiment_table(_RUN, "sequential_shares")
    longest = [f"{shares[shares['temperature'] == heat]['tokens'].max()}" for heat in heats]
    distances = re.findall(
        r"([\d.]+) at ([\d.]+)",
        said(_RUN, r"Total variation of draft and target, mean by temperature: (.*)\.")[1],
    )
    require([float(heat) for _, heat in distances] == heats, "total variations are by the temperatures shown")
    require(everything["texts"].nunique() == 1, "all schemes have as many texts")
    require(table["lookahead"].nunique() == 1, "all columns are of one size")
    return {
        "measured": run_measured_at(_RUN),
        "texts": int(table["texts"].iloc[0]),
        "lookahead": int(table["lookahead"].iloc[0]),
        "alpha": f"{_ALPHA:g}",
        "temperatures": listed([f"{heat:.1f}" for heat in heats]),
        "longest": listed(longest),
        "distances": listed([distance for distance, _ in distances]),
        "tokens": _tokens(columns),
        "schemes": _schemes(everything[everything["kind"] == "betting"], heats),
        **_advice(columns),
        **_watched(),
        **_anchored(),
        **_vocabulary(),
    }


def _column(table: pd.DataFrame, method: str, temperature: float) -> _Column:
    part = table[(table["method"] == method) & (table["temperature"] == temperature)]
    bets = one_row(part, kind="betting")
    best_first = part.sort_values(["median", "detected"], ascending=[True, False], kind="stable")
    return _Column(
        method,
        temperature,
        bets,
        one_row(part, test="draft-aware bets"),
        # The best one is named in the table, where it was chosen.
        one_row(part, kind=_BONFERRONI, test=bets["baseline"]),
        best_first[best_first["test"].str.startswith("e*")].iloc[0],
        # Tests that know the key alone, as plain detection does.
        best_first[(best_first["kind"] == _FIXED) & (best_first["test"] != "draft-aware hits")].iloc[0],
    )


def _tokens(columns: list[_Column]) -> str:
    head = [f"{_METHODS[column.method]}, T = {column.temperature:.1f}" for column in columns]
    rows = [
        ["**bets, key alone** (`--sequential`)", *(_reached(column.bets) for column in columns)],
        ["**bets, key and draft model**", *(_reached(column.draft_aware) for column in columns)],
        [
            "best fixed-length test, Bonferroni over time",
            *(_reached(column.bonferroni) for column in columns),
        ],
        [
            r"best e\* of *Anchored E-Watermarking*, on these texts",
            *(_reached(column.anchored) for column in columns),
        ],
        [
            "bets, key alone: fewer than best Bonferroni",
            *(_fewer(column.bets, column.bonferroni) for column in columns),
        ],
        [
            "bets with the draft: fewer than best Bonferroni",
            *(_fewer(column.draft_aware, column.bonferroni) for column in columns),
        ],
        [
            "a single look, key alone: the length at which it finds half of the texts",
            *(number(column.one_look["median"], 0) for column in columns),
        ],
    ]
    return markdown_table(["", *head], rows)


def _schemes(bets: pd.DataFrame, heats: list[float]) -> str:
    """Bets with the key alone, every scheme by temperature."""
    rows = []
    for (watermark, method), shown in _SCHEMES.items():
        cells = []
        for heat in heats:
            found = bets[
                (bets["watermark"] == watermark) & (bets["method"] == method) & (bets["temperature"] == heat)
            ]
            cells.append(_with_interval(one_row(found)) if len(found) else "")
        rows.append([shown, *cells])
    return markdown_table(["scheme", *(f"T = {heat:.1f}" for heat in heats)], rows)


def _with_interval(row: pd.Series) -> str:
    median, low, high = (number(row[name], 0) for name in ("median", "median_low", "median_high"))
    return f"{median} ({low} to {high}); {percent(row['detected'])}"


def _reached(row: pd.Series) -> str:
    return f"{number(row['median'], 0)}; {percent(row['detected'])}"


def _fewer(row: pd.Series, other: pd.Series) -> str:
    """Of two medians; nothing where one of them was not reached."""
    if math.isinf(row["median"]) or math.isinf(other["median"]):
        return ""
    return percent_between(row["reduction"], row["reduction_low"], row["reduction_high"])


def _advice(columns: list[_Column]) -> dict[str, object]:
    """Numbers of the sentences on which test to use, and whether the sentences hold."""
    for column in columns:
        bets, others = column.bets, (column.bets, column.draft_aware, column.bonferroni)
        require(column.one_look["median"] <= bets["median"], "a single look finds half of the texts sooner")
        require(column.one_look["detected"] >= bets["detected"], "one look finds more than watching")
        require(
            all(column.anchored["detected"] < other["detected"] for other in others),
            "e* finds the fewest texts",
        )
    at = {(column.method, column.temperature): column for column in columns}
    heats = sorted({column.temperature for column in columns})
    cold, hot = at["joint-race", heats[0]], at["joint-race", heats[-1]]
    two_keys = at["algorithm-1", heats[-1]]
    require(
        cold.bets["detected"] > max(2 * cold.bonferroni["detected"], 0.5),
        "in cold text bets find more than twice as many as fixed tests over time",
    )
    require(
        0 <= hot.bets["median"] - hot.bonferroni["median"] <= 3,
        "in hot text bets take a few tokens more",
    )
    require(two_keys.bets["median"] > two_keys.bonferroni["median"], "with two keys bets take a few more")
    for heat in heats:
        (one, found), (two, found_of_two) = (_of_draft(at[method, heat]) for method in _METHODS)
        require(one >= 0 and found >= 0, "the joint race gains from the draft too")
        require(two > one or found_of_two > found, "Algorithm 1 gains most from the draft")
    return {
        "cold": f"{heats[0]:.1f}",
        "hot": f"{heats[-1]:.1f}",
        "cold_bets": percent(cold.bets["detected"]),
        "cold_bonferroni": percent(cold.bonferroni["detected"]),
        "hot_tokens": number(hot.bets["median"], 0),
        "hot_bonferroni": number(hot.bonferroni["median"], 0),
        "two_keys": number(two_keys.bets["median"], 0),
        "two_keys_bonferroni": number(two_keys.bonferroni["median"], 0),
    }


def _of_draft(column: _Column) -> tuple[float, float]:
    """What bets gain from the draft: share of the median saved (0 where none is reached), share of texts."""
    with_draft, alone = column.draft_aware, column.bets
    more = with_draft["detected"] - alone["detected"]
    return (0.0 if math.isinf(alone["median"]) else 1 - with_draft["median"] / alone["median"]), more


def _watched() -> dict[str, object]:
    """Texts without a watermark, watched after every token."""
    rows = statement_table("summary")
    rows = rows[rows["statement"].eq("Sequential detectors") & rows["setting"].str.contains("at any time")]
    fair = rows[~rows["expected_red"]]
    watched = rows[rows["setting"].str.startswith("Aaronson, looked at after every token")].iloc[0]
    alpha = watched["predicted"]
    require((rows["predicted"] == alpha).all(), "all texts were watched at one level")
    require(fair["estimate"].max() <= alpha, "no test convicts more than it may")
    require(watched["estimate"] > 2 * alpha, "a p-value for a fixed length must not be watched")
    # A share of alpha among n texts has the standard error sqrt(alpha (1 - alpha) / n).
    texts = alpha * (1 - alpha) / watched["standard_error"] ** 2
    return {
        "null_alpha": percent(alpha),
        "null_texts": f"{texts:,.0f}",
        "null_tokens": int(statement_table("sequential_detectors")["tokens"].max()),
        "null_most": f"{at_most(100 * fair['estimate'].max(), 1)}%",
        "null_watched": percent(watched["estimate"], 1),
    }


def _anchored() -> dict[str, object]:
    """The best worst-case growth, and how long e* takes: simulated as committed, the rest computed here."""
    simulated = statement_table("anchored_stopping")
    rows, furthest = [], 0.0
    for p in ANCHORS:
        anchor, walk = [p, 1 - p], worst_walk(p)
        growth, found = float(anchored_growth(anchor, GROWTH_DELTA)), best_e_value(anchor, GROWTH_DELTA).value
        require(abs(growth - found) < 1e-6, "formula and programme agree")
        cells = [f"{p:g}", f"{number(growth, 6)}; {number(found, 6)}", number(1 / walk.mean, 4)]
        for digits in (_EARLY, _LATE):
            level = digits * math.log(10)
            theory = (
                walk.mean_passage(level)
                if digits == _EARLY
                else (level + walk.limiting_overshoot) / walk.mean
            )
            row = one_row(simulated, p=p, digits=digits)
            furthest = max(furthest, abs(row["mean"] - theory) / row["error"])
            cells.append(
                f"{plus_minus(row['mean'] / level, row['error'] / level, 3)}; {number(theory / level, 3)}"
            )
        rows.append(cells)
    require(furthest < 3, "simulated times are those of the theory")
    head = [
        "p",
        rf"J\*, δ = {GROWTH_DELTA:g} (formula; programme)",
        rf"1/J\*, δ = {STOPPING_DELTA:g}",
        f"E[τ]/log(1/α): α = 1e-{_EARLY} (simulated; exact)",
        f"α = 1e-{_LATE} (simulated; Wald)",
    ]
    return {"anchored": markdown_table(head, rows), "furthest": at_most(furthest, 1)}


def _vocabulary() -> dict[str, object]:
    """Growth of e* on a vocabulary, and of what is used there instead."""
    rows = statement_table("summary")
    zipf = rows[rows["statement"].eq("Anchored: buckets") & rows["setting"].str.startswith("Zipf")]
    sizes = _ZIPF.match(zipf["setting"].iloc[0])
    assert sizes is not None
    n, eps = int(sizes["n"].replace(",", "")), float(sizes["eps"])
    tokens = zipf[zipf["setting"].str.endswith("growth of e* on tokens")].iloc[0]["estimate"]
    hedged = zipf[zipf["setting"].str.endswith("growth of the hedged bet")].iloc[0]["estimate"]
    growth = statement_table("anchored_buckets").groupby("m")["growth"].mean()
    require(tokens < 0, "e* loses over a vocabulary")
    require((growth > 0).all() and growth.is_monotonic_increasing, "buckets gain, the more of them the more")
    require(hedged > growth.max(), "the hedged bet gains most")
    return {
        "mismatch": number(-float(log_anchored(1.0, False, n, eps)), 0),
        "vocabulary": f"{n:,}",
        "distance": f"{eps:g}",
        "lost": number(-tokens, 2),
        "buckets": listed([f"{m}" for m in growth.index]),
        "bucket_growth": listed([f"+{number(x, 2)}" for x in growth]),
        "keys": len(statement_table("anchored_buckets")) // len(growth),
        "hedged": f"+{number(hedged, 2)}",
    }
