"""Overlap and cost of the built-in drafts.

    python -m tests.benchmarks.bench_drafts [--out tests/benchmarks/results]

Overlap: sum_w min(P(w), Q(w)) of target and draft, averaged over the positions of texts that the target
samples at that temperature from prompts on which no draft was fitted; the standard error takes texts as the
independent units. Cost: one decoding step of one text with a warm key/value cache, medians; all models take
their turns within one run, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

from paper_repro.measuring import OutOption, Tables, spread_of
from tradeoff.display.console import exit_on_bad_input, stderr, stdout
from tradeoff.llm.fitting.distil import mean_overlap
from tradeoff.llm.fitting.fit_jump import held_out_texts
from tradeoff.llm.models.huggingface import PreTrainedModel, growing_cache, next_logits
from tradeoff.llm.models.pair import ModelPair, load_pair

TEMPERATURES = (1.0, 0.7, 0.5)
DTYPES = ("float32", "bfloat16")
_CONTEXT = 128


def pairs(dtype: str) -> dict[str, ModelPair]:
    """The built-in target with each of its drafts."""
    return {
        "layer-skip (default)": load_pair(dtype=dtype, device="cpu", progress=False),
        "jump": load_pair(draft="jump", dtype=dtype, device="cpu", progress=False),
    }


@torch.no_grad()
def step_times(models: dict[str, PreTrainedModel], runs: int) -> dict[str, list[float]]:
    """Milliseconds of every decoding step of each model, in turns, after a context of 128 tokens."""
    context = torch.arange(100, 100 + _CONTEXT)[None]
    caches, times = {}, {name: [] for name in models}
    for name, model in models.items():
        caches[name] = growing_cache(model)
        next_logits(model, context, 1, cache=caches[name])
    for run in range(runs + 2):
        for name, model in models.items():
            start = time.perf_counter()
            next_logits(model, context[:, :1], 1, cache=caches[name])
            # The first two rounds warm up.
            if run >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def main(
    texts: Annotated[int, typer.Option(help="Texts a temperature, a multiple of 3.")] = 48,
    length: Annotated[int, typer.Option(help="Tokens of a text, prompt included.")] = 192,
    every: Annotated[int, typer.Option(help="Look at every so-manieth position.")] = 4,
    runs: Annotated[int, typer.Option(help="Timed steps of each model.")] = 60,
    seed: Annotated[int, typer.Option(help="Seed of the texts.")] = 1000,
    out: OutOption = None,
) -> None:
    """Measure and print."""
    console, progress = stdout(), stderr()
    with exit_on_bad_input():
        for name, value, least in (("texts", texts, 6), ("length", length, 80), ("every", every, 1)):
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
        if runs < 1 or seed < 0:
            raise ValueError(f"runs={runs} must be at least 1 and seed={seed} not negative")
        tables = Tables(out)
        overlaps: list[dict[str, object]] = []
        drafts = pairs("float32")
        first = next(iter(drafts.values()))
        table = Table("draft", *(f"overlap, T = {t}" for t in TEMPERATURES), title="Mean overlap, float32")
        cells: dict[str, list[str]] = {name: [] for name in drafts}
        for index, temperature in enumerate(TEMPERATURES):
            with progress.status(f"sampling {texts} texts at temperature {temperature}"):
                rng = np.random.default_rng([seed, index])
                sampled = held_out_texts(first, texts, temperature, rng, length=length)
                for name, pair in drafts.items():
                    mean, error = mean_overlap(
                        pair.target, pair.draft, sampled, temperature, pair.vocabulary_size, every
                    )
                    cells[name].append(f"{mean:.3f} ± {error:.3f}")
                    found = {"overlap": mean, "overlap_error": error, "texts": texts}
                    overlaps.append({"draft": name, "temperature": temperature, **found})
        for name, row in cells.items():
            table.add_row(name, *row)
        console.print(table)
        tables.write("drafts_overlap", overlaps)

        steps: list[dict[str, object]] = []
        table = Table("model", *(f"{dtype}, ms" for dtype in DTYPES), title="One decoding step, batch 1")
        cells = {name: [] for name in ("target", *drafts)}
        for dtype in DTYPES:
            loaded = pairs(dtype)
            target = loaded["jump"].target
            models = {"target": target} | {name: pair.draft for name, pair in loaded.items()}
            for name, times in step_times(models, runs).items():
                spread = spread_of(times)
                cells[name].append(f"{spread['median']:.1f}")
                steps.append({"model": name, "dtype": dtype, **spread, "threads": torch.get_num_threads()})
        for name, row in cells.items():
            table.add_row(name, *row)
        console.print(table)
        console.print(f"{torch.get_num_threads()} threads, context of {_CONTEXT} tokens, {runs} steps each")
        tables.write("drafts_step", steps)


if __name__ == "__main__":
    typer.run(main)
