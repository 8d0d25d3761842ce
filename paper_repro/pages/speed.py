"""Tokens a step against theory, and how long things take."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from paper_repro.pages.parts.formats import markdown_table, number, percent, plus_minus
from paper_repro.pages.parts.measured import (
    agreement,
    benchmark_table,
    benchmark_was_run,
    measured_at,
    run_measured_at,
)
from paper_repro.pages.parts.tables import experiment_table, one_row, require

__all__ = ["values"]

_RUNS = ("small", "sequential", "transport")
_CELL = ["temperature", "watermark", "method", "lookahead"]


class _Comparison(NamedTuple):
    """A row of the engine's benchmark: how the page calls it, and digits of its two sides and its ratio."""

    name: str
    shown: str
    digits: int


_COMPARISONS = (
    _Comparison(
        "ms per token, batch 1: one-race, gumbel / Transformers",
        "ms per token, one text: `one-race` / Transformers' assisted generation",
        2,
    ),
    _Comparison(
        "ms per token, batch 1: standard / Transformers",
        "ms per token, one text: `standard` / Transformers' assisted generation",
        2,
    ),
    _Comparison(
        "tokens per second: batch 16 / Transformers",
        "tokens per second: batch 16 / Transformers (one text at a time)",
        1,
    ),
    _Comparison(
        "ms per round, batch 1: one-race, gumbel / standard",
        "ms per round, one text: `one-race` / `standard`",
        2,
    ),
    _Comparison(
        "ms per round, batch 16: one-race, gumbel / standard",
        "ms per round, batch 16: `one-race` / `standard`",
        2,
    ),
)
#: What `bench_drafts` calls the models, and what the page does.
_MODELS = {
    "layer-skip (default)": "layer-skip, 25 of 30 layers (the default)",
    "jump": "`jump`, 4 layers, 1.4M parameters of its own",
    "target": "(the target)",
}
_EXACT = {
    "pi_ii for n = 151,936": ("all π_ii for n = 151,936", 2),
    "full pi for n = 1,000": ("full π for n = 1,000", 2),
    "Gumbel-max curves of Figure 1, exact": ("the four Gumbel-max curves of Figure 1, exact", 3),
    "plain Monte Carlo of the Gumbel-max curves": (
        "plain vectorised Monte Carlo of the same, standard error 1e-3",
        0,
    ),
    "ratio of plain Monte Carlo to the exact curves": ("ratio", 0),
}


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    return {
        **_acceptance(),
        **_engine(),
        **_round(benchmark_table("round")),
        **_drafts(),
        **_exact_curves(),
        **_detection(),
        **_prf(),
        **_invariance(),
    }


def _acceptance() -> dict[str, object]:
    """Every scheme with drafts, both sets of prompts in one row, and what chance makes of the deviations."""
    speed = pd.concat([experiment_table(run, "speed").assign(run=run) for run in _RUNS], ignore_index=True)
    drafted = speed[speed["lookahead"] > 0]
    rows = []
    for (run, *cell), part in drafted.groupby(["run", *_CELL], sort=False):
        require(part["texts"].nunique() == 1, "both sets of prompts have as many texts")
        temperature, watermark, method, lookahead = cell
        means = part.mean(numeric_only=True)

        def shown(name: str, digits: int, part: pd.DataFrame = part) -> str:
            error = math.hypot(*part[f"{name}_error"]) / len(part)
            return plus_minus(part[name].mean(), error, digits)

        # Blocks accept with probabilities of the whole: no rate is theirs.
        rates = [""] * 3
        if part["acceptance_z"].notna().all():
            z = (part["acceptance"] - part["expected"]).sum() / math.hypot(*part["acceptance_error"])
            rates = [number(means[name], 3) for name in ("acceptance", "expected")]
            rates.append(f"{z:+.1f}".replace("-", "−"))
        rows.append(
            [
                f"`{run}`",
                f"{temperature:.1f}",
                f"`{method}`" + (f", {watermark}" if watermark != "none" else ""),
                f"{lookahead}",
                f"{part['texts'].sum()}",
                shown("aatps", 2),
                shown("logppl", 2),
                shown("excess_surprise", 3),
                *rates,
            ]
        )
    head = [
        "preset",
        "T",
        "method",
        "K",
        "texts",
        "AATPS",
        "LOGPPL",
        "− entropy",
        "accepted",
        "expected",
        "z",
    ]
    accepted = agreement(drafted["acceptance_z"].dropna(), "schemes accept what theory says")
    surprise = agreement(
        speed["excess_surprise"] / speed["excess_surprise_error"], "no scheme changes LOGPPL"
    )
    return {
        "acceptance": markdown_table(head, rows),
        "acceptance_measured": " ".join(f"`{run}`: {run_measured_at(run)}" for run in _RUNS),
        **{f"z_{name}": value for name, value in _shown(accepted).items()},
        **{f"surprise_{name}": value for name, value in _shown(surprise).items()},
    }


def _shown(found: dict[str, float]) -> dict[str, object]:
    return {
        "count": found["count"],
        "squares": number(found["squares"], 1),
        "p": number(found["p"], 2),
        "largest": number(found["largest"], 1),
        "bound": number(found["bound"], 1),
    }


def _engine() -> dict[str, object]:
    table, memory = benchmark_table("engine"), benchmark_table("engine_memory")
    rows = []
    for name, shown, digits in _COMPARISONS:
        row = one_row(table, comparison=name)
        ratio, low, high = (number(row[column], digits) for column in ("ratio", "lowest", "highest"))
        rows.append([shown, number(row["ours"], 1), number(row["other"], 1), f"{ratio} ({low} to {high})"])
    settings = one_row(memory)
    for name in ("dtype", "lookahead", "tokens", "threads"):
        require((table[name] == settings[name]).all(), f"comparisons and memory have one {name}")
    return {
        "engine": markdown_table(["comparison", "ours", "other", "ratio (lowest to highest)"], rows),
        "engine_runs": int(table["runs"].iloc[0]),
        "engine_dtype": settings["dtype"],
        "engine_tokens": int(settings["tokens"]),
        "engine_lookahead": int(settings["lookahead"]),
        "engine_threads": int(settings["threads"]),
        "engine_batch": int(settings["batch"]),
        "engine_peak": number(settings["peak"], 0),
        "engine_over": number(settings["peak"] - settings["weights"], 0),
        "engine_measured": measured_at(pd.concat([table, memory])),
    }


def _round(table: pd.DataFrame) -> dict[str, object]:
    """Parts of a round, at both batch sizes."""
    batches = sorted(table["batch"].unique())
    parts = table[table["batch"] == batches[0]]["part"]
    rows = []
    for part in parts:
        found = [one_row(table, batch=batch, part=part) for batch in batches]
        cells = [cell for row in found for cell in (number(row["ms"], 1), percent(row["share"]))]
        rows.append([part, *cells])
    head = ["part", *(cell for batch in batches for cell in (f"ms, batch {batch}", "share"))]
    passes = table["part"].str.startswith("passes")
    shares = table[passes].groupby("batch")["share"].sum()
    require((shares > 0.7).all(), "most of a round are passes of the models")
    return {
        "round": markdown_table(head, rows),
        "round_method": one_row(table[["method"]].drop_duplicates())["method"],
        "round_rounds": " and ".join(str(one_row(table, batch=b, part="a round")["rounds"]) for b in batches),
        "round_passes": " and ".join(percent(share) for share in shares),
        "round_measured": measured_at(table),
    }


def _drafts() -> dict[str, object]:
    overlap, step = benchmark_table("drafts_overlap"), benchmark_table("drafts_step")
    temperatures = sorted(overlap["temperature"].unique(), reverse=True)
    rows = []
    for model, shown in _MODELS.items():
        cells = [""] * len(temperatures)
        if model != "target":
            found = [one_row(overlap, draft=model, temperature=temperature) for temperature in temperatures]
            cells = [plus_minus(row["overlap"], row["overlap_error"], 3) for row in found]
        times = [one_row(step, model=model, dtype=dtype)["median"] for dtype in ("bfloat16", "float32")]
        rows.append([shown, *cells, *(number(time, 1) for time in times)])
    head = ["draft", *(f"overlap, T = {t:.1f}" for t in temperatures), "ms a step, bfloat16", "float32"]
    draft, target = (
        one_row(step, model=model, dtype="float32")["median"] for model in ("layer-skip (default)", "target")
    )
    cost = draft / target
    three = experiment_table("small", "speed")
    aatps = three[(three["method"] == "joint-race") & (three["lookahead"] == 3)]["aatps"].mean()
    # A step of K drafts and one verification, in steps of the target, against the tokens that it gives.
    require(1 + 3 * cost > aatps, "speculation does not pay on the built-in pair")
    fast = one_row(step, model="jump", dtype="float32")["median"] / target
    require(fast < 0.5, "`jump` is fast")
    return {
        "drafts": markdown_table(head, rows),
        "drafts_texts": int(overlap["texts"].iloc[0]),
        "drafts_threads": int(step["threads"].iloc[0]),
        "drafts_measured": measured_at(pd.concat([overlap, step])),
        "draft_cost": percent(cost),
        "jump_cost": percent(fast),
        "break_even": number(1 + 3 * cost, 1),
        "aatps_of_three": number(aatps, 1),
    }


def _exact_curves() -> dict[str, object]:
    table = benchmark_table("figure_1")
    rows = []
    for name, (shown, digits) in _EXACT.items():
        rows.append([shown, f"{one_row(table, what=name)['median']:,.{digits}f}"])
    require(
        one_row(table, what="ratio of plain Monte Carlo to the exact curves")["median"] > 1000,
        "closed forms are thousands of times faster",
    )
    return {
        "exact_curves": markdown_table(["what", "seconds, median"], rows),
        "exact_curves_measured": measured_at(table),
    }


def _detection() -> dict[str, object]:
    if not benchmark_was_run("detect"):
        return {"detection": None}
    table, lines = benchmark_table("detect"), one_row(benchmark_table("detect_lines"))
    turns = table[table["ratio"].notna()]
    base = one_row(turns, kind="no watermark", what="vLLM's detector")
    rows = []
    for what, format_ in turns[["what", "format"]].drop_duplicates().itertuples(index=False):
        cells = []
        for kind in ("no watermark", "watermarked"):
            row = one_row(turns, kind=kind, what=what, format=format_)
            ratio, low, high = (number(row[name], 1) for name in ("ratio", "ratio_lowest", "ratio_highest"))
            cells += [f"{row['median']:,.0f}", f"{ratio} ({low} to {high})"]
        rows.append([what, f"`{format_}`", *cells])
    head = ["what", "format", "tokens a second, no watermark", "ratio", "watermarked", "ratio"]
    alone = table[table["ratio"].isna()].to_dict("records")
    sizes = [f"{row['texts']:,} of {row['tokens']:,}" for row in alone]
    others = [
        [row["what"], f"`{row['format']}`", size, f"{row['median']:,.0f}"]
        for row, size in zip(alone, sizes, strict=True)
    ]
    return {
        "detection": markdown_table(head, rows),
        "detection_alone": markdown_table(["what", "format", "texts, tokens", "tokens a second"], others),
        "detection_texts": f"{base['texts']:,} texts of {base['tokens']:,} tokens",
        "detection_runs": int(base["runs"]),
        "detection_vllm": base["vllm"],
        "detection_measured": measured_at(table),
        "lines": f"{lines['lines']:,} lines of {lines['tokens']} token ids",
        "lines_seconds": "{} ({} to {})".format(
            *(number(lines[name], 0) for name in ("median", "lowest", "highest"))
        ),
    }


def _prf() -> dict[str, object]:
    if not benchmark_was_run("prf"):
        return {"prf": None}
    table = benchmark_table("prf")
    rows = [[row["what"], number(row["median"], 2)] for row in table.to_dict("records")]
    return {"prf": markdown_table(["what", "milliseconds, median"], rows), "prf_measured": measured_at(table)}


def _invariance() -> dict[str, object]:
    if not benchmark_was_run("invariance"):
        return {"invariance": None}
    table = benchmark_table("invariance")
    row = one_row(table)
    return {
        "invariance": f"{row['same']} of {row['texts']} texts of {row['tokens']} tokens",
        "invariance_settings": f"`{row['method']}`, {row['dtype']}",
        "invariance_measured": measured_at(table),
    }
