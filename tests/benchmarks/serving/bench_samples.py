"""How many truly random tokens at their beginning tell several texts of one prompt apart.

    python -m tests.benchmarks.serving.bench_samples [--prompts 20] [--samples 8] [--out FOLDER]

Texts of the built-in model whose first h tokens are equal are equal to their end, as the key decides from
there: so the share of pairs with equal beginnings is counted, among texts without a watermark, for every h.
Then texts behind 8 such tokens: what share of the runs of 4 tokens of one are runs of another text of
the same prompt, beside the same of texts without a watermark, which is what the key adds to their likeness.
"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

import tradeoff as td
from paper_repro.measuring import OutOption, Tables
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.keyed import Key
from tradeoff.llm import ModelPair, load_pair
from tradeoff.texts import builtin_prompts

TEMPERATURES = (0.3, 0.7, 1.0)
BEGINNINGS = (0, 1, 2, 4, 6, 8, 12, 16)
RUN, TOKENS, UNMARKED = 4, 100, 8


def texts_of(
    pair: ModelPair, scheme: td.Scheme, temperature: float, tokens: int, samples: int, prompts: int
) -> list[list[list[int]]]:
    """[prompts][samples] token ids."""
    named = [*builtin_prompts("continuation")[: prompts // 2], *builtin_prompts("question")[: prompts // 2]]
    found = td.generate(
        named,
        scheme,
        Key(b"key of the benchmark") if scheme.marks else None,
        pair=pair,
        tokens=tokens,
        temperature=temperature,
        samples=samples,
        unmarked=UNMARKED if scheme.marks else 0,
        batch=32,
        ignore_eos=True,
        note=lambda _: None,
    )
    ids = [list(text.token_ids) for text in found]
    return [ids[i : i + samples] for i in range(0, len(ids), samples)]


def shared_runs(one: list[int], other: list[int]) -> float:
    """The share of the runs of the first text, behind its beginning, that the second has too."""
    first, second = (
        {tuple(text[i : i + RUN]) for i in range(UNMARKED, len(text) - RUN + 1)} for text in (one, other)
    )
    return len(first & second) / len(first)


def main(
    prompts: Annotated[int, typer.Option(help="Half of them continuations, half questions.")] = 20,
    samples: Annotated[int, typer.Option(help="Texts for every prompt.")] = 8,
    out: OutOption = None,
) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        pair, tables = load_pair(progress=False), Tables(out)
        standard, marked = td.Scheme.of("standard"), td.Scheme.of()
        equal = []
        for temperature in TEMPERATURES:
            texts = texts_of(pair, standard, temperature, max(BEGINNINGS), samples, prompts)
            for length in BEGINNINGS:
                same = [a[:length] == b[:length] for group in texts for a, b in combinations(group, 2)]
                equal.append(
                    {"temperature": temperature, "tokens": length, "pairs": len(same), "equal": sum(same)}
                )
        alike: list[dict[str, object]] = []
        for temperature in TEMPERATURES:
            row: dict[str, object] = {"temperature": temperature}
            for name, scheme in (("marked", marked), ("standard", standard)):
                # Long ones cost more, and tell more.
                texts = texts_of(pair, scheme, temperature, TOKENS, samples // 2, prompts // 2)
                means = [np.mean([shared_runs(a, b) for a, b in combinations(g, 2)]) for g in texts]
                row[name] = round(float(np.mean(means)), 4)
                row[f"{name}_error"] = round(float(np.std(means, ddof=1) / len(means) ** 0.5), 4)
            alike.append(row)
        for name, rows in (("samples", equal), ("samples_alike", alike)):
            table = Table(*rows[0])
            for row in rows:
                table.add_row(*map(str, row.values()))
            stdout().print(table)
            tables.write(name, rows)


if __name__ == "__main__":
    typer.run(main)
