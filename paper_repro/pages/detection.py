"""How much of each watermark is found: preset `small`."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import pandas as pd

from paper_repro.pages.parts.formats import (
    EDIT_WORDS,
    at_most,
    between,
    listed,
    markdown_table,
    number,
    percent,
    percent_between,
    plus_minus,
)
from paper_repro.pages.parts.measured import benchmark_table, measured_at, run_measured_at
from paper_repro.pages.parts.tables import claim, claims, experiment_table, one_row, require, said
from paper_repro.presets import load_preset
from paper_repro.report.decided import Claim, Verdict

__all__ = ["values"]

_RUN = "small"
#: What a page on "1%" and "0.02" is about.
_FPR, _ALPHA = 0.01, 0.02
_SHOWN = (50, 100)
_SETTING = re.compile(r", [\w:]+, temperature [\d.]+, K = \d+$")


class _Row(NamedTuple):
    """A scheme with a detector; `verdict` where `tradeoff detect --sequential` reads it."""

    shown: str
    method: str
    watermark: str
    detector: str
    fitted: str
    verdict: bool = False


_GUMBEL = (
    _Row("no speculation, Aaronson", "basic", "gumbel", "Aaronson", "no", True),
    _Row("**`joint-race`**, Aaronson", "joint-race", "gumbel", "Aaronson", "no", True),
    _Row("`joint-race` by blocks, Aaronson", "joint-race, blocks", "gumbel", "Aaronson", "no", True),
    _Row("`one-race`, Aaronson", "one-race", "gumbel", "Aaronson", "no", True),
    _Row("`algorithm-1`, likelihood ratio", "algorithm-1", "gumbel", "likelihood ratio, two keys", "yes"),
    _Row("`algorithm-1`, sum of both keys", "algorithm-1", "gumbel", "sum of both keys", "no", True),
    _Row("`algorithm-1`, Ars-τ (the paper)", "algorithm-1", "gumbel", "Ars-τ", "yes"),
    _Row("`algorithm-1`, Ars-Prior (the paper)", "algorithm-1", "gumbel", "Ars-Prior", "yes"),
    _Row("`algorithm-1`, oracle (a bound)", "algorithm-1", "gumbel", "oracle", ""),
)
_BITS, _WEIGHTED, _BY_TOKEN = "mean of bits", "weighted mean of bits", "Bayes-Prior (per token)"
_SYNTHID = tuple(
    _Row(shown, method, "synthid:30", detector, fitted, detector == _WEIGHTED)
    for shown, method, detector, fitted in (
        ("no speculation, mean of bits", "basic", _BITS, "no"),
        ("no speculation, weighted mean of bits", "basic", _WEIGHTED, "no"),
        ("no speculation, Bayes", "basic", "Bayes", "yes"),
        ("**`joint-tournament`**, mean of bits", "joint-tournament", _BITS, "no"),
        ("`joint-tournament`, weighted mean of bits", "joint-tournament", _WEIGHTED, "no"),
        ("`joint-tournament`, Bayes", "joint-tournament", "Bayes", "yes"),
        ("`algorithm-1`, weighted mean of bits", "algorithm-1", _WEIGHTED, "no"),
        ("`algorithm-1`, Bayes-MLP (the paper)", "algorithm-1", "Bayes-MLP", "yes"),
        ("`algorithm-1`, Bayes-Prior, per-token mixture", "algorithm-1", _BY_TOKEN, "yes"),
        (
            "`algorithm-1`, Bayes-Prior, per-layer mixture",
            "algorithm-1",
            "Bayes-Prior (per layer)",
            "yes",
        ),
        ("`algorithm-1`, oracle (a bound)", "algorithm-1", "oracle", ""),
    )
)


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    tpr, speed = experiment_table(_RUN, "tpr"), experiment_table(_RUN, "speed")
    pooled = tpr[tpr["prompts"] == "both"]
    longest = pooled["tokens"].max()
    ours = one_row(pooled, method="joint-race", detector="Aaronson", tokens=longest)
    steps = speed[(speed["method"] == "joint-race") & (speed["lookahead"] == ours["lookahead"])]
    synthid = one_row(pooled, watermark="synthid:30", detector="oracle", tokens=longest)
    return {
        "measured": run_measured_at(_RUN),
        "context_width": load_preset(_RUN).context_width,
        "texts": int(ours["texts"]),
        "tokens": int(steps["tokens"].sum() / steps["texts"].sum()),
        "longest": int(longest),
        "lookahead": int(ours["lookahead"]),
        "temperature": f"{ours['temperature']:g}",
        "synthid_temperature": f"{synthid['temperature']:g}",
        "entropy": number((steps["logppl"] - steps["excess_surprise"]).mean(), 1),
        "first_tokens": said(_RUN, r"over the first (\d+) tokens of every text")[1],
        "alpha": f"{_ALPHA:g}",
        "gumbel": _schemes(_GUMBEL, pooled, speed),
        "synthid": _schemes(_SYNTHID, pooled, speed),
        "lengths": _lengths(pooled),
        **_hot(),
        **_deployed(pooled),
        **_planned(),
        **_false_positives(pooled, ours),
        **_token_aware(),
        **_segments(),
        **_edits(),
        **_claims(),
    }


def _schemes(rows: tuple[_Row, ...], tpr: pd.DataFrame, speed: pd.DataFrame) -> str:
    verdicts = experiment_table(_RUN, "sequential")
    head = ["scheme and detector", "fitted?", "tokens a step"]
    head += [*(f"TPR, {tokens} tokens" for tokens in _SHOWN), "to a verdict"]
    shown = []
    for row in rows:
        scheme = {"method": row.method, "watermark": row.watermark}
        cells = [row.shown, row.fitted, _tokens_a_step(speed, **scheme)]
        for tokens in _SHOWN:
            found = one_row(tpr, **scheme, detector=row.detector, tokens=tokens)
            cells.append(between(found["tpr"], found["tpr_low"], found["tpr_high"], 2))
        verdict = ""
        if row.verdict:
            read = one_row(verdicts, **scheme, kind="betting", alpha=_ALPHA)
            verdict = between(read["median"], read["median_low"], read["median_high"], 0)
        shown.append([*cells, verdict])
    return markdown_table(head, shown)


def _tokens_a_step(speed: pd.DataFrame, method: str, watermark: str) -> str:
    if method == "basic":
        return "1"
    rows = speed[(speed["method"] == method) & (speed["watermark"] == watermark) & (speed["lookahead"] == 3)]
    require(rows["texts"].nunique() == 1, "both sets of prompts have as many texts")
    return plus_minus(rows["aatps"].mean(), math.hypot(*rows["aatps_error"]) / len(rows), 2)


def _lengths(tpr: pd.DataFrame) -> str:
    rows = [row for row in (*_GUMBEL, *_SYNTHID) if row.verdict]
    lengths = sorted(tpr["tokens"].unique())
    shown = []
    for row in rows:
        where = {"method": row.method, "watermark": row.watermark, "detector": row.detector}
        found = [one_row(tpr, **where, tokens=tokens)["tpr"] for tokens in lengths]
        name = row.shown if row.watermark == "gumbel" else f"SynthID, {row.shown}"
        shown.append([name, *(percent(share) for share in found)])
    return markdown_table(["scheme and detector", *(f"{tokens}" for tokens in lengths)], shown)


def _hot() -> dict[str, object]:
    """Tokens to a verdict at temperature 1, of the run that has it."""
    read = one_row(
        experiment_table("sequential", "sequential"),
        method="joint-race",
        temperature=1.0,
        kind="betting",
        alpha=_ALPHA,
    )
    return {"hot_tokens": number(read["median"], 0)}


def _deployed(tpr: pd.DataFrame) -> dict[str, object]:
    """What is said for the joint methods."""
    tournament_steps = claim(_RUN, "AATPS of joint-tournament equals that of standard speculative sampling")
    standard = claim(_RUN, "AATPS of joint-race equals that of standard speculative sampling")
    for one in (standard, tournament_steps):
        require(one.seen, "joint methods accept as many drafts as standard speculative sampling")
    undrafted = claim(_RUN, "the joint race reaches no speculation")
    blocks_undrafted = claim(_RUN, "the joint race by blocks reaches no speculation")
    bits_undrafted = claim(_RUN, "the joint tournament reaches no speculation (mean of bits)")
    for one in (undrafted, blocks_undrafted, bits_undrafted):
        require(one.seen, "text of joint methods is found as text without speculation is")
    ars = claim(_RUN, "joint-race with Aaronson detects more than algorithm-1 with Ars-τ")
    require(ars.seen, "the joint race gains over Ars-τ")
    prior = claim(_RUN, "Ars-τ detects more than Ars-Prior")
    require(prior.seen, "Ars-τ is the better of the paper's two detectors")
    blocks = claim(_RUN, "Blocks give more tokens a step")
    require(blocks.seen, "blocks give more tokens a step")
    tournament = claim(
        _RUN, "joint-tournament with mean of bits detects more than algorithm-1 with weighted mean of bits"
    )
    require(tournament.seen, "the joint tournament gains over Algorithm 1")
    best = {"watermark": "synthid:30", "method": "joint-tournament", "tokens": _SHOWN[0]}
    bayes, mean = (one_row(tpr, **best, detector=detector)["tpr"] for detector in ("Bayes", _BITS))
    require(bayes > mean, "a Bayesian detector finds more than the mean of bits")
    race = claim(_RUN, "joint-race with Aaronson detects more than one-race with Aaronson")
    ratio = claim(_RUN, "joint-race with Aaronson detects more than algorithm-1 with likelihood ratio")
    return {
        "standard": _interval(standard),
        "tournament_steps": _interval(tournament_steps),
        "undrafted": _interval(undrafted),
        "blocks_undrafted": _interval(blocks_undrafted),
        "bits_undrafted": _interval(bits_undrafted),
        "ars": _interval(ars),
        "blocks": _interval(blocks),
        "tournament": _interval(tournament),
        "over_race": _decided(race),
        "over_ratio": _decided(ratio),
    }


def _decided(one: Claim) -> str:
    """The interval of a claim, and that it says nothing where it does."""
    return _interval(one) + ("" if one.seen else f", {one.remark}")


def _planned() -> dict[str, object]:
    power = experiment_table(_RUN, "power")
    return {"planning_error": at_most((power["predicted"] - power["measured"]).abs().max(), 2)}


def _false_positives(tpr: pd.DataFrame, ours: pd.Series) -> dict[str, object]:
    """FPR on human text, at the full length."""
    require(ours["fpr_low"] <= _FPR <= ours["fpr_high"], "the measured FPR agrees with the nominal one")
    all_rows = tpr[tpr["tokens"] == ours["tokens"]]
    passages = said(_RUN, r"measured on (\d+) passages of human text under (\d+) random keys")
    return {
        "fpr": percent(ours["fpr"], 2),
        "fpr_low": percent(ours["fpr_low"], 2),
        "fpr_high": percent(ours["fpr_high"], 2),
        "fpr_least": percent(all_rows["fpr"].min(), 2),
        "fpr_most": percent(all_rows["fpr"].max(), 2),
        "passages": passages[1],
        "keys": f"{int(passages[2]):,}",
    }


def _token_aware() -> dict[str, object]:
    """What a detector gains that knows which token it is."""
    found, null, toy = (benchmark_table(f"token_aware_{name}") for name in ("found", "null", "toy"))
    means = found[found["tokens"] == "all"]
    pooled, same = means[means["table"] == "all"], means[means["table"] == "same"]
    require((pooled["gain_low"] > 0).all(), "the table of all temperatures gains at every temperature")
    require(
        ((null["rate_low"] <= _FPR) & (null["rate_high"] >= _FPR)).all(),
        "the measured FPR agrees with the nominal one",
    )
    require((null["p_of_distance"] > 0.01).all(), "p-values under random keys look uniform")
    shown = [
        [
            f"{row['temperature']:.1f}",
            row["tokens"],
            *(percent(row[name]) for name in ("aaronson", "prior", "aware")),
            _gain(row),
        ]
        for _, row in found[(found["table"] == "all") & (found["tokens"] != "all")].iterrows()
    ]
    people, model = (one_row(null, text=text) for text in ("people", "model"))
    return {
        "aware": markdown_table(["T", "tokens", "Aaronson", "one prior", "`TokenAware`", "gain"], shown),
        "aware_unmarked": int(found["fitted_texts"].iloc[0]),
        "aware_unmarked_tokens": int(found["fitted_tokens"].iloc[0]),
        "aware_texts": int(found["texts"].iloc[0]),
        "aware_temperatures": listed([f"{t:.1f}" for t in pooled["temperature"]]),
        "aware_gains": listed([_gain(row) for _, row in pooled.iterrows()]),
        "aware_gains_same": listed([_gain(row) for _, row in same.iterrows()]),
        "prior_gains": listed([number(100 * (r["prior"] - r["aaronson"]), 1) for _, r in pooled.iterrows()]),
        "aware_keys": int(people["keys"]),
        "aware_passages": int(people["texts"]),
        "aware_fpr_people": _points(people, "rate", 2),
        "aware_fpr_model": _points(model, "rate", 2),
        "aware_uniform": listed([number(p, 2) for p in null["p_of_distance"]]),
        **{f"toy_{row['reader']}": _points(row, "found") for _, row in toy.iterrows()},
        "toy_entropy": number(toy["entropy"].iloc[0], 2),
        "toy_tokens": int(toy["tokens"].iloc[0]),
        "aware_measured": measured_at(pd.concat([found, null, toy])),
    }


def _gain(row: pd.Series) -> str:
    """In percentage points."""
    value, low, high = (100 * row[f"gain{end}"] for end in ("", "_low", "_high"))
    return between(value, low, high, 1)


def _segments() -> dict[str, object]:
    """What the search for segments finds, invents and costs."""
    found, false, cost = (benchmark_table(f"segments_{name}") for name in ("found", "false", "cost"))
    hot = found[found["temperature"] == 1]
    long = hot[hot["passage"] == hot["passage"].max()]
    require((long["found"] >= 0.95).all(), "nearly all of the longer passages are found at temperature 1")
    require((hot["overlap"] > 0.8).all(), "segments cover passages of temperature 1")
    largest = hot[hot["document"] == hot["document"].max()]
    require((largest["whole"] < largest["found"] / 2).all(), "the whole hides what its parts show")
    everything = one_row(false, tokens="all")
    lengths = [f"{int(tokens):,}" for tokens in false["tokens"] if tokens != "all"]
    require(everything["rate_low"] <= _FPR, "no more is invented than the level says")
    pieces, mean = cost[cost["tokens"] != "all"], one_row(cost, tokens="all")
    require(
        (pieces["difference"] > -0.02).all() and mean["difference_low"] > -0.02,
        "looking for parts costs little",
    )
    sizes, worst = pieces["tokens"].astype(int), pieces.loc[pieces["difference"].idxmin()]
    shown = [
        [
            f"{row['temperature']:.1f}",
            f"{row['passage']}",
            f"{row['document']:,}",
            _points(row, "found"),
            _points(row, "whole"),
            between(row["overlap"], row["overlap_low"], row["overlap_high"], 2),
        ]
        for _, row in found.iterrows()
    ]
    head = ["T", "hidden tokens", "of", "found", "found as a whole", "overlap"]
    return {
        "hidden": markdown_table(head, shown),
        "hidden_trials": int(found["trials"].iloc[0]),
        "hidden_measured": measured_at(pd.concat([found, false, cost])),
        "empty": f"{everything['documents']:,}",
        "empty_lengths": listed(lengths),
        "invented": f"{everything['false']}",
        "invented_rate": _points(everything, "rate", 2),
        "pieces_temperature": f"{worst['temperature']:.1f}",
        "pieces_least": sizes.min(),
        "pieces_most": sizes.max(),
        "pieces_found_least": percent(pieces["whole"].min()),
        "pieces_found_most": percent(pieces["whole"].max()),
        "pieces_lost": _difference(mean),
        "dearest": worst["tokens"],
        "dearest_pieces": f"{worst['pieces']:,}",
        "dearest_lost": f"{worst['lost']}",
        "dearest_gained": f"{worst['gained']}",
        "dearest_points": _difference(worst),
    }


def _difference(row: pd.Series) -> str:
    """In percentage points."""
    value, low, high = (100 * row[f"difference{end}"] for end in ("", "_low", "_high"))
    return between(value, low, high, 1)


def _points(row: pd.Series, name: str, digits: int = 0) -> str:
    return percent_between(row[name], row[f"{name}_low"], row[f"{name}_high"], digits)


def _edits() -> dict[str, object]:
    table = experiment_table(_RUN, "edits")
    ours = table[(table["method"] == "joint-race") & (table["detector"] == "Aaronson")]
    shown = []
    for edit, words in EDIT_WORDS.items():
        part = ours[ours["edit"] == edit]
        require(len(part), f"texts were tried with {words}")
        whole = len(part) == 1 and part["share"].iloc[0] == 1
        found = [
            percent(row["tpr"]) if whole else f"{percent(row['tpr'])} after {percent(row['share'])}"
            for _, row in part.iterrows()
        ]
        shown.append([words, ", ".join(found)])
    most = one_row(ours, edit="substitution", share=0.3)
    require(most["tpr"] < 0.15, "little is left after three tokens in ten were replaced")
    return {
        "unedited": percent(one_row(ours, edit="none")["tpr"]),
        "edits": markdown_table(["edit", "found, after which share of the text was changed"], shown),
    }


def _claims() -> dict[str, object]:
    found = claims(_RUN)
    rows = [[_SETTING.sub("", one.words), _interval(one), _answer(one)] for one in found]
    surprise = [one for one in found if one.words.startswith("LOGPPL unchanged")]
    require(all(one.seen for one in surprise), "no scheme changes LOGPPL")
    mixture = claim(_RUN, "Bayes-Prior (per token) detects more than Bayes-Prior (per layer)")
    network = claim(_RUN, "Bayes-MLP detects more than Bayes-Prior (per token)")
    both = claim(_RUN, "Bayes-MLP detects more than Bayes-Prior (per layer)")
    require(both.seen and not network.seen, "Bayes-MLP is above Bayes-Prior per layer, not per token")
    require(mixture.value > both.value / 2, "most of that gain is the mixture")
    plain = claim(_RUN, "sum of both keys detects more than Ars-τ")
    require(plain.seen, "the plain sum of both keys detects more than Ars-τ")
    return {
        "claims": markdown_table(["claim", "difference, with its 95% interval", "seen?"], rows),
        "surprise": at_most(max(max(abs(one.low), abs(one.high)) for one in surprise), 3),
        "mixture": _interval(mixture),
        "network": _interval(network),
        "both": _interval(both),
        "plain": _interval(plain),
    }


def _answer(one: Claim) -> str:
    """Whether a claim was seen, and why not if it is undecided."""
    if one.verdict is Verdict.UNDECIDED:
        return f"undecided: {one.remark}"
    return "yes" if one.seen else "**no**: the contrary is seen"


def _interval(one: Claim) -> str:
    value, low, high = (f"{x:+.{one.unit.digits}f}".replace("-", "−") for x in (one.value, one.low, one.high))
    return f"{value} ({low} to {high})"
