"""Drafts looked up in the prompt against no speculation, on prompts whose answers repeat them.

    python -m tests.benchmarks.bench_ngram [--n 2 --n 3] [--lookahead 6] [--temperature 0.5] [--out FOLDER]

Three kinds of prompts, made of the manual and the sources that every Python installation carries, in the chat
format of the built-in model: passages to summarise, passages with a question about them, and functions to
rewrite with a name changed. Texts are marked with Gumbel-max; the joint race with drafts that are looked up
writes the same texts as no speculation, so that the time of a prompt compares like with like. Runs alternate,
one text at a time, and the interval is of the mean of ratios over prompts.
"""

from __future__ import annotations

import fnmatch
import inspect
import shlex
import statistics
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table
from scipy import stats

from paper_repro.measuring import OutOption, Tables
from tradeoff.decoders import GumbelMax
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.kernels import Basic, JointRace
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.llm.encoding import encode_prompts
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.generation.rows import GeneratedText
from tradeoff.llm.models.ngram import NgramDraft
from tradeoff.llm.models.pair import load_pair
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.corpus import human_paragraphs
from tradeoff.texts.prompts import Prompt

PROMPTS = 12
PRF = KeyedPrf(Key(b"key of the benchmark"), 4)
#: A function, a name in it, and the name to write instead.
EDITS: list[tuple[Callable[..., object], str, str]] = [
    (textwrap.dedent, "text", "source"),
    (textwrap.indent, "prefix", "margin"),
    (shlex.quote, "s", "argument"),
    (shlex.join, "split_command", "words"),
    (shlex.split, "comments", "with_comments"),
    (fnmatch.filter, "names", "paths"),
    (fnmatch.fnmatchcase, "name", "path"),
    (inspect.cleandoc, "doc", "docstring"),
    (inspect.unwrap, "memo", "seen"),
    (statistics.mean, "data", "values"),
    (statistics.pstdev, "data", "values"),
    (statistics.fmean, "weights", "masses"),
]


def prompts_of() -> dict[str, list[tuple[str, str]]]:
    """(id, prompt) pairs by kind."""
    passages = [text for text in human_paragraphs(60) if len(text.split()) <= 120][: 2 * PROMPTS]
    summaries, questions = passages[:PROMPTS], passages[PROMPTS:]
    return {
        "summary": [
            (f"s{k}", f"Summarise this passage in its own words:\n\n{text}")
            for k, text in enumerate(summaries)
        ],
        "question about a passage": [
            (f"p{k}", f"{text}\n\nWhat does the passage say? Quote its most important sentences.")
            for k, text in enumerate(questions)
        ],
        "code edit": [
            (
                f"e{k}",
                f"Rename `{old}` to `{new}` in this function and write out all of it:\n\n"
                f"```python\n{inspect.getsource(function)}```",
            )
            for k, (function, old, new) in enumerate(EDITS)
        ],
    }


def seconds(engine: Engine, prompt: Prompt) -> tuple[float, GeneratedText]:
    """Of one text."""
    start = time.perf_counter()
    (text,) = engine.generate([prompt])
    return time.perf_counter() - start, text


def main(
    n: Annotated[
        list[int] | None, typer.Option(help="Tokens that must agree; 2, 3 and 4 if left out.")
    ] = None,
    lookahead: Annotated[int, typer.Option(help="Drafts a step.")] = 6,
    temperature: Annotated[float, typer.Option(help="Of all.")] = 0.5,
    tokens: Annotated[int, typer.Option(help="Longest text.")] = 100,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    out: OutOption = None,
) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure(n or [2, 3, 4], lookahead, temperature, tokens, dtype, Tables(out))


def measure(
    n: list[int], lookahead: int, temperature: float, tokens: int, dtype: str, tables: Tables
) -> None:
    """Time every prompt with all, in turns."""
    settings = EngineSettings(
        method=JointRace(),
        prf=PRF,
        sampling=Sampling(temperature),
        lookahead=lookahead,
        max_tokens=tokens,
    )
    pair = load_pair(draft=f"ngram:{n[0]}", dtype=dtype)
    engines = {size: Engine(replace(pair, draft=NgramDraft(size)), settings) for size in n}
    engines[0] = Engine(pair, replace(settings, method=Basic(GumbelMax())))
    shown = Table(
        "prompts",
        "n",
        "ms a token",
        "no speculation",
        "ratio (95% interval)",
        "AATPS",
        "equal",
        title=f"K = {lookahead}, T = {temperature}, {dtype}, {torch.get_num_threads()} threads",
    )
    common = {"lookahead": lookahead, "temperature": temperature, "tokens": tokens, "dtype": dtype}
    rows: list[dict[str, object]] = []
    for kind, named in prompts_of().items():
        prompts = encode_prompts(pair.tokenizer, named, chat=True)
        for engine in engines.values():
            engine.warm_up(prompts[0])
        times: dict[int, list[float]] = {size: [] for size in engines}
        texts: dict[int, list[GeneratedText]] = {size: [] for size in engines}
        for turn, prompt in enumerate(prompts):
            order = list(engines)
            for size in order[turn % len(order) :] + order[: turn % len(order)]:
                took, text = seconds(engines[size], prompt)
                times[size].append(1000 * took / len(text.token_ids))
                texts[size].append(text)
        for size in n:
            ratios = np.array(times[size]) / np.array(times[0])
            half = float(stats.t.ppf(0.975, len(ratios) - 1) * stats.sem(ratios))
            mean = float(ratios.mean())
            row = {
                "prompts": kind,
                "n": size,
                "texts": len(prompts),
                "equal": sum(a.token_ids == b.token_ids for a, b in zip(texts[size], texts[0], strict=True)),
                "ours_ms": statistics.median(times[size]),
                "other_ms": statistics.median(times[0]),
                "ratio": mean,
                "ratio_low": mean - half,
                "ratio_high": mean + half,
                "tokens_a_step": statistics.fmean(
                    len(text.token_ids) / len(text.accepted) for text in texts[size]
                ),
            }
            rows.append(row | common)
            shown.add_row(
                kind,
                f"{size}",
                f"{row['ours_ms']:.1f}",
                f"{row['other_ms']:.1f}",
                f"{mean:.2f} ({mean - half:.2f} to {mean + half:.2f})",
                f"{row['tokens_a_step']:.2f}",
                f"{row['equal']} of {len(prompts)}",
            )
    stdout().print(shown)
    tables.write("ngram", [row | {"threads": torch.get_num_threads()} for row in rows])


if __name__ == "__main__":
    typer.run(main)
