"""Texts a second of several workers with one thread each, against one of them.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_workers [--workers 2] [--texts 48] [--out FOLDER]

One is this process itself; the others are processes of this machine, or actors of a running Ray cluster
(`--workers ray:2`). Both generate the same texts in the same shards. Runs alternate, after one of each that
loads the models and is thrown away, and the ratio is the median of ratios of neighbours.
"""

from __future__ import annotations

import statistics
from typing import Annotated

import torch
import typer

from paper_repro.measuring import OutOption, Tables, spread_of
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.keyed import Key
from tradeoff.llm import PairNames, SchemeRecipe, ShardedRun, encode_prompts, generate_sharded, load_tokenizer
from tradeoff.scheme import Scheme
from tradeoff.texts import builtin_prompts
from tradeoff.workers import Executor, executor_of


def public_key() -> Key:
    """Of a benchmark, which protects nothing; every worker makes it itself."""
    return Key(b"key of the benchmark")


def main(
    workers: Annotated[str, typer.Option(help="To compare with one: 2, ray:2.")] = "2",
    texts: Annotated[int, typer.Option(help="Texts of a run.", min=1, max=100)] = 48,
    tokens: Annotated[int, typer.Option(help="Tokens a text.", min=1)] = 40,
    batch: Annotated[int, typer.Option(help="Texts at a time, of each worker.", min=1)] = 4,
    repeats: Annotated[int, typer.Option(help="Pairs of runs.", min=1)] = 5,
    target: Annotated[str, typer.Option(help="As of `tradeoff generate`.")] = "builtin",
    draft: Annotated[str, typer.Option(help="As of `tradeoff generate`.")] = "builtin",
    out: OutOption = None,
) -> None:
    """Generate with one worker and with several, in turn."""
    with exit_on_bad_input():
        # The others have one thread each.
        torch.set_num_threads(1)
        names = PairNames(target, draft, dtype="float32")
        measure(workers, names, texts, tokens, batch, repeats, Tables(out))


def measure(
    workers: str, names: PairNames, texts: int, tokens: int, batch: int, repeats: int, tables: Tables
) -> None:
    """Tokens a second of both, and their ratio."""
    tokenizer = load_tokenizer(names.target, progress=False)
    prompts = encode_prompts(tokenizer, builtin_prompts("continuation")[:texts])
    further = {"max_tokens": tokens, "ignore_eos": True}
    recipe = SchemeRecipe(names, Scheme.of("joint-race"), public_key, further)
    run = ShardedRun(recipe, prompts, batch=batch)
    with executor_of(1) as one, executor_of(workers) as several:
        rates = [(_rate(one, run), _rate(several, run)) for _ in range(repeats + 1)][1:]
    rows: list[dict[str, object]] = []
    figures = {"1": [alone for alone, _ in rates], workers: [together for _, together in rates]}
    for name, found in figures.items():
        rows.append({"workers": name, "quantity": "tokens per second", **spread_of(found)})
    ratios = [together / alone for alone, together in rates]
    rows.append({"workers": workers, "quantity": "times one worker", **spread_of(ratios)})
    for row in rows:
        row |= {"texts": texts, "tokens": tokens, "batch": batch}
    tables.write("workers", rows)
    stdout().print(
        f"workers {workers}: {statistics.median(figures[workers]):.1f} tokens/s, one "
        f"{statistics.median(figures['1']):.1f}; {statistics.median(ratios):.2f} times as many "
        f"({min(ratios):.2f} to {max(ratios):.2f} over {repeats} pairs of runs)",
        soft_wrap=True,
    )


def _rate(executor: Executor, run: ShardedRun) -> float:
    (found,) = generate_sharded(executor, [run])
    return found.tokens / found.seconds


if __name__ == "__main__":
    typer.run(main)
