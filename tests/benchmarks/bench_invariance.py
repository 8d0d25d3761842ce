"""How many texts come out the same at batch 1 and batch 16, in float32 on the built-in pair.

    python -m tests.benchmarks.bench_invariance [--texts 100 --tokens 24 --method one-race --out FOLDER]

A text depends on the batch only through the last digits of matrix products, which decide a token where two
candidates (or a coin and its threshold) nearly tie.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import Progress

from paper_repro.measuring import OutOption, Tables
from tradeoff.decoders import GumbelMax
from tradeoff.display.console import exit_on_bad_input, stderr, stdout
from tradeoff.kernels import make_method
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.llm.encoding import encode_prompts
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.models.pair import load_pair
from tradeoff.texts.corpus import builtin_prompts


def main(
    texts: Annotated[int, typer.Option(help="Texts, at most 100.", min=1, max=100)] = 100,
    tokens: Annotated[int, typer.Option(help="Tokens a text.", min=1)] = 24,
    method: Annotated[str, typer.Option(help="Any method that takes Gumbel-max.")] = "one-race",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    out: OutOption = None,
) -> None:
    """Generate every text twice and compare."""
    with exit_on_bad_input():
        measure(texts, tokens, method, dtype, Tables(out))


def measure(texts: int, tokens: int, method: str, dtype: str, tables: Tables) -> None:
    """Generate every text in a batch of 1 and of 16."""
    pair = load_pair(dtype=dtype)
    settings = EngineSettings(
        method=make_method(method, GumbelMax()),
        prf=KeyedPrf(Key(b"key of the benchmark"), 4),
        max_tokens=tokens,
        ignore_eos=True,
    )
    prompts = encode_prompts(pair.tokenizer, builtin_prompts("continuation")[:texts])
    found: dict[int, dict[str, list[int]]] = {1: {}, 16: {}}
    with Progress(console=stderr(), transient=True) as progress:
        for batch, result in found.items():
            task = progress.add_task(f"batch {batch}", total=len(prompts))
            for text in Engine(pair, settings, batch).generate(prompts):
                result[text.prompt.id] = text.token_ids
                progress.advance(task)
    same = sum(found[1][prompt.id] == found[16][prompt.id] for prompt in prompts)
    stdout().print(
        f"{same} of {len(prompts)} texts of {tokens} tokens are the same at batch 1 and 16 ({dtype})"
    )
    row = {"method": method, "dtype": dtype, "tokens": tokens, "texts": len(prompts), "same": same}
    tables.write("invariance", [row])


if __name__ == "__main__":
    typer.run(main)
