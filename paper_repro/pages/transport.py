"""SimplexWater and HeavyWater: preset `transport`, detection against distortion, solvers, completion."""

from __future__ import annotations

import numpy as np
import pandas as pd

from figures.transport.gaps import CROSSINGS
from figures.transport.tilt import ALPHA, HEAD
from paper_repro.pages.parts.formats import (
    listed,
    markdown_table,
    number,
    percent,
    percent_between,
    plus_minus,
)
from paper_repro.pages.parts.measured import (
    agreement,
    benchmark_table,
    figure_table,
    measured_at,
    run_measured_at,
)
from paper_repro.pages.parts.tables import experiment_table, one_row, require, statement_table
from tradeoff.curves import PAPER_P, PAPER_Q, Setting
from tradeoff.decoders import heavy_water
from tradeoff.laws import entropy, overlap
from tradeoff.optimal_transport import (
    LAWS,
    Exact,
    Plan,
    Sinkhorn,
    crossing,
    detection_gap,
    plan_strength,
    seeded_table,
)

__all__ = ["values"]

_RUN = "transport"
#: Level of bets, which may stop at any time, and of single looks.
_LEVEL = 0.01
_FPR, _FPR_TOKENS = 0.01, 100
_HEAVY, _GAMMA = "heavywater:lognormal", "heavywater:gamma"
_SINKHORN, _SIMPLEX = "heavywater:lognormal,sinkhorn=0.05", "simplexwater:8"
_NAMES = {
    "gumbel": "Gumbel-max",
    _HEAVY: "HeavyWater, log-normal",
    _GAMMA: "HeavyWater, gamma",
    _SINKHORN: "HeavyWater, log-normal, by Sinkhorn",
    "synthid:30": "SynthID, m = 30",
    _SIMPLEX: "SimplexWater, r = 8",
}
_METHODS = {"algorithm-1": "Algorithm 1", "two-keys": "two keys"}
#: Watermarks of the figure on distortion that have none, with the bets that are quoted.
_TILTS = {
    "Gumbel-max": "uniform",
    "HeavyWater log-normal, exact": "rank",
    "HeavyWater gamma, exact": "rank",
    "SynthID, m = 30": "ones",
    "SimplexWater, exact": "values",
}


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    table = experiment_table(_RUN, "watermarks")
    table = table[table["alpha"] == _LEVEL]
    bets = table[table["kind"] == "betting"]
    return {
        "run_measured": run_measured_at(_RUN),
        "tilt_measured": run_measured_at("transport_tilt"),
        "level": f"{_LEVEL:g}",
        **_without_speculation(bets, experiment_table(_RUN, "speed")),
        **_verdict(bets, table[table["kind"] == "fixed length"]),
        **_with_speculation(bets),
        **_surprise(experiment_table(_RUN, "speed")),
        **_false_positives(experiment_table(_RUN, "tpr")),
        **_tilt(figure_table("transport_tilt")),
        **_solvers(),
        **_milliseconds(),
        **_completion(),
        **_crossings(),
    }


def _without_speculation(bets: pd.DataFrame, speed: pd.DataFrame) -> dict[str, object]:
    """Mean tokens to the verdict by watermark and temperature, and how many fewer than Gumbel-max takes."""
    plain = bets[bets["method"] == "basic"]
    temperatures = sorted(plain["temperature"].unique())
    head = ["no speculation"]
    for temperature in temperatures:
        head += [f"T = {temperature:.1f}", "fewer"]
    rows = []
    for watermark, name in _NAMES.items():
        cells = [name]
        for temperature in temperatures:
            found = plain[(plain["watermark"] == watermark) & (plain["temperature"] == temperature)]
            digits = 0 if plain[plain["temperature"] == temperature]["mean"].min() >= 20 else 1
            cells += _tokens(found.iloc[0], digits) if len(found) else ["", ""]
        rows.append(cells)
    require(set(plain["watermark"]) == set(_NAMES), "the table has all watermarks")
    texts = plain["texts"].unique()
    require(len(texts) == 1, "every row has as many texts")
    lengths = [
        (part["tokens"] / part["texts"]).unique()
        for _, part in speed[speed["method"] == "basic"].groupby("temperature")
    ]
    require(all(len(values) == 1 for values in lengths), "texts of one temperature are equally long")
    return {
        "without_speculation": markdown_table(head, rows),
        "temperatures": listed([f"{temperature:.1f}" for temperature in temperatures]),
        "lengths": listed([number(values[0], 0) for values in lengths]),
        "texts": int(texts[0]),
    }


def _tokens(row: pd.Series, digits: int) -> list[str]:
    mean = plus_minus(row["mean"], row["mean_error"], digits)
    if pd.isna(row["fewer"]):
        return [mean, ""]
    shares = [number(round(100 * row[name]), 0) for name in ("fewer", "fewer_low", "fewer_high")]
    return [mean, f"{shares[0]}% ({shares[1]} to {shares[2]})"]


def _verdict(bets: pd.DataFrame, looks: pd.DataFrame) -> dict[str, object]:
    """What the template says of who is ahead, and the numbers that it quotes."""

    def at(temperature: float, watermark: str, table: pd.DataFrame = bets) -> pd.Series:
        return one_row(table, method="basic", temperature=temperature, watermark=watermark)

    cold = at(0.3, _HEAVY)
    require(cold["fewer"] > 0 > cold["fewer_low"], "HeavyWater is ahead at 0.3, but within chance")
    for watermark in (_HEAVY, _GAMMA):
        middle, hot = at(0.5, watermark), at(1.0, watermark)
        require(middle["fewer_low"] < 0 < middle["fewer_high"], "there is no difference to be seen at 0.5")
        require(hot["fewer_high"] < 0, "Gumbel-max is ahead at 1.0")
    exact, soft = at(0.5, _HEAVY), at(0.5, _SINKHORN)
    gamma = abs(at(0.5, _GAMMA)["mean"] - exact["mean"])
    require(soft["mean"] - exact["mean"] > 10 * gamma, "the solver matters far more than the scores")
    behind = bets[(bets["watermark"] == _SIMPLEX) & (bets["method"] == "basic")]
    require((behind["fewer_high"] < 0).all(), "SimplexWater falls behind at every temperature")
    missed = {watermark: at(1.0, watermark, looks)["mean"] for watermark in (_SIMPLEX, "gumbel")}
    of_bets = at(1.0, _SIMPLEX)["mean"] / at(1.0, "gumbel")["mean"]
    of_looks = missed[_SIMPLEX] / missed["gumbel"]
    require(of_looks < of_bets, "bets on SimplexWater lose part of it by learning")
    return {
        "sinkhorn_times": number(soft["mean"] / exact["mean"], 1),
        "simplex_bets": number(of_bets, 1),
        "simplex_looks": number(of_looks, 1),
    }


def _with_speculation(bets: pd.DataFrame) -> dict[str, object]:
    part = bets[bets["method"] != "basic"]
    require(part["temperature"].nunique() == part["texts"].nunique() == 1, "there is one temperature")
    rows = []
    for row in part.sort_values("mean").to_dict("records"):
        inner = row["watermark"].removeprefix("completed:")
        name = _NAMES[inner] + (", completed" if inner != row["watermark"] else "")
        mean = plus_minus(row["mean"], row["mean_error"], 0)
        rows.append([f"{_METHODS[row['method']]}, {name}", mean, percent(row["detected"])])
    head = ["speculation", "tokens to the verdict", "share that gets it"]
    return {
        "with_speculation": markdown_table(head, rows),
        "speculative_texts": int(part["texts"].iloc[0]),
        "speculative_temperature": f"{part['temperature'].iloc[0]:.1f}",
    }


def _surprise(speed: pd.DataFrame) -> dict[str, object]:
    """Mean of -log P(token) - Ent(P): zero for an unbiased watermark."""
    found = agreement(
        speed["excess_surprise"] / speed["excess_surprise_error"], "no watermark changes LOGPPL"
    )
    return {
        "surprise_cells": found["count"],
        "surprise_largest": number(found["largest"], 1),
        "surprise_bound": number(found["bound"], 1),
    }


def _false_positives(tpr: pd.DataFrame) -> dict[str, object]:
    """Measured on human text."""
    where = {"prompts": "both", "temperature": 0.5, "watermark": _HEAVY, "method": "basic"}
    found = {}
    for name, detector in (("z_test", "z-test"), ("rank_test", "likelihood ratio of ranks")):
        row = one_row(tpr, **where, tokens=_FPR_TOKENS, detector=detector)
        low, high = row["fpr_low"], row["fpr_high"]
        if name == "z_test":
            require(low > _FPR, "the z-test convicts more than its level")
        else:
            require(low <= _FPR <= high, "the rank test convicts what its level says")
        found[name] = percent_between(row["fpr"], low, high, 1)
    return {**found, "fpr": percent(_FPR), "fpr_tokens": _FPR_TOKENS}


def _tilt(table: pd.DataFrame) -> dict[str, object]:
    """Tokens to detect without distortion, and from which distortion on a tilt beats Gumbel-max."""
    temperatures = sorted(table["temperature"].unique())
    rows = []
    for watermark, bet in _TILTS.items():
        found = [
            one_row(table, temperature=temperature, watermark=watermark, bet=bet)["tokens"]
            for temperature in temperatures
        ]
        rows.append([watermark, *(number(tokens, 0 if tokens >= 20 else 1) for tokens in found)])
    gumbel = table[table["watermark"] == "Gumbel-max"].set_index("temperature")["tokens"]
    exact = table[(table["watermark"] == "HeavyWater log-normal, exact") & (table["bet"] == "rank")]
    close = exact["tokens"] / exact["temperature"].map(gumbel)
    require((close < 1.1).all(), "exact transport comes close to Gumbel-max without distortion")
    heads = [f"T = {temperature:.1f}" for temperature in temperatures]
    needed = [
        [
            name.removesuffix(", Sinkhorn"),
            *(_needed(table, name, temperature) for temperature in temperatures),
        ]
        for name in ("HeavyWater log-normal, Sinkhorn", "HeavyWater gamma, Sinkhorn")
    ]
    return {
        "tilt": markdown_table(["tokens to detect", *heads], rows),
        "tilt_head": HEAD,
        "tilt_level": f"{ALPHA:g}",
        "tilt_needed": markdown_table(["by Sinkhorn, read by ranks", *heads], needed),
    }


def _needed(table: pd.DataFrame, watermark: str, temperature: float) -> str:
    """The distortion at which a tilted watermark takes as many tokens as Gumbel-max, between those tried."""
    part = table[table["temperature"] == temperature]
    gumbel = one_row(part, watermark="Gumbel-max")["tokens"]
    soft = part[(part["watermark"] == watermark) & (part["bet"] == "rank")].sort_values("kl")
    tokens = soft["tokens"].to_numpy()
    require((np.diff(tokens) < 0).all() and tokens[0] > gumbel > tokens[-1], "a tilt overtakes Gumbel-max")
    return number(float(np.interp(gumbel, tokens[::-1], soft["kl"].to_numpy()[::-1])), 3)


def _plan(p: np.ndarray, solver: Exact | Sinkhorn) -> tuple[np.ndarray, Plan]:
    """Scores of HeavyWater [n, k] and the transport of `p: [n]` to side information."""
    decoder = heavy_water()
    scores = decoder.scores.rows(np.arange(len(p)), seeded_table(decoder.seed))
    return scores, solver(p, scores)


def _solvers() -> dict[str, object]:
    """On the paper's P: what Sinkhorn gives up; and with Q, how often a shared key makes drafts agree."""
    scores, exact = _plan(PAPER_P, Exact())
    _, soft = _plan(PAPER_P, Sinkhorn())
    gap = detection_gap(PAPER_P, scores, soft) / detection_gap(PAPER_P, scores, exact)
    strength = plan_strength(PAPER_P, soft) / plan_strength(PAPER_P, exact)
    require(
        gap < 0.8 and strength < 0.5, "Sinkhorn gives up a good part of the gap, and most of the strength"
    )
    # Columns are the laws given s, of which all are equally likely.
    drafts = _plan(PAPER_Q, Exact())[1].laws
    shared = float(overlap(exact.laws.T, drafts.T).mean())
    gumbel, most = Setting(PAPER_P, PAPER_Q).agreement.value, float(overlap(PAPER_P, PAPER_Q))
    require(gumbel < shared < most, "HeavyWater accepts more than Gumbel-max where one key is shared")
    return {
        "gap_lost": percent(1 - gap),
        "strength_lost": percent(1 - strength),
        "regularisation": f"{Sinkhorn().regularisation:g}",
        "values": f"{scores.shape[1]:,}",
        "shared": number(shared, 3),
        "shared_gumbel": number(gumbel, 3),
        "shared_most": number(most, 1),
        "shared_strength": number(plan_strength(PAPER_P, exact), 3),
        "shared_strength_most": number(float(entropy(PAPER_P)), 3),
    }


def _milliseconds() -> dict[str, object]:
    """One position on one core."""
    table = benchmark_table("transport")
    rows = []
    for what in ("HeavyWater, exact", "HeavyWater, Sinkhorn", "SimplexWater 8, exact"):
        row = one_row(table, what=what, law="all", part="decoder, warm")
        spread = f"{number(row['lower_quartile'], 1)} to {number(row['upper_quartile'], 1)}"
        rows.append([what.replace("Water 8", "Water, r = 8"), number(row["median"], 1), spread])
    return {
        "milliseconds": markdown_table(["watermark and solver", "ms a position, median", "quartiles"], rows),
        "transport_benchmark_measured": measured_at(table),
    }


def _completion() -> dict[str, object]:
    """Strength under Algorithm 1 before and after, and what the race tells."""
    table, checked = statement_table("transport_completion"), statement_table("summary")
    rows = []
    for row in table.to_dict("records"):
        name = row["decoder"]
        predicted = one_row(checked, setting=f"{name}, Algorithm 1: strength Ent(P)", expected_red=False)
        require(not predicted["red"], f"{name}, completed, reaches Ent(P)")
        score, gumbel = row["race_score"] - 1, row["gumbel_race_score"] - 1
        rows.append(
            [
                name,
                number(row["plain_strength"], 3),
                plus_minus(row["completed_strength"], predicted["standard_error"], 3),
                number(predicted["predicted"], 3),
                percent(score / gumbel),
            ]
        )
    head = ["decoder", "strength, plain", "completed", "Ent(P)", "what the race tells, of Gumbel-max's score"]
    own = checked[checked["statement"] == "Completion"]
    papers = checked[checked["statement"].str.startswith("HeavyWater")]
    require(own["as_expected"].all() and papers["as_expected"].all(), "all statements are confirmed")
    return {
        "completion": markdown_table(head, rows),
        "completion_predictions": int((~own["expected_red"]).sum()),
        "paper_predictions": int((~papers["expected_red"]).sum()),
    }


def _crossings() -> dict[str, object]:
    """The mass of the heavier token from which on heavy tails have the larger gap."""
    found = {name: crossing(LAWS[name].gap, LAWS["gumbel"].gap, 0.7, 0.99) for name in CROSSINGS}
    for name, where in found.items():
        beyond = (1 + where) / 2
        require(LAWS[name].gap(beyond) > LAWS["gumbel"].gap(beyond), f"{name} is ahead from {where:.3f} on")
    return {f"crossing_{name}": number(where, 3) for name, where in found.items()}
