"""Where the time of a round goes, and what reading the weights alone would take.

    python -m tests.benchmarks.bench_round [--method joint-race] [--tokens 32] [--out FOLDER]

Built-in pair, temperature 1, at batch 1 and 16: passes of draft and target, laws, keyed draws of drafts,
verdicts, the last token, and the rest; means over the rounds of full batches. The last row is no part of a
round: a sum over all weights that its passes read, about what they would take if memory alone counted.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from rich.table import Table

from paper_repro.measuring import OutOption, Tables
from tests.benchmarks.bench_engine import LOOKAHEAD, PRF, WIDE
from tradeoff.decoders import parse_decoder
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.kernels import Method, make_method
from tradeoff.llm.encoding import encode_prompts
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.generation.rounds import Speculator
from tradeoff.llm.generation.rows import Row
from tradeoff.llm.generation.slots import Feeder
from tradeoff.llm.models.pair import ModelPair, load_pair
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.corpus import builtin_prompts

READ = "weights of these passes, read alone"
ROUND = "a round"
#: Of the models.
PASSES = ("passes of the target", "passes of the draft")


def seconds_at(device: torch.device) -> float:
    """The time now, on a GPU when all that was asked of it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def watched(method: Method, target: Any, batch: int) -> Iterator[dict[str, list[float]]]:
    """Seconds of the parts of rounds of full batches, call by call."""
    times: dict[str, list[float]] = defaultdict(list)
    inside, device = [False], target.device

    def timed(owner: Any, name: str, part: Callable[..., str]) -> Any:
        plain = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            start = seconds_at(device)
            found = plain(*args, **kwargs)
            if inside[0]:
                times[part(*args)].append(seconds_at(device) - start)
            return found

        return patch.object(owner, name, call)

    plain_round = Speculator.round

    def timed_round(self: Speculator, rows: Sequence[Row]) -> None:
        inside[0], start = len(rows) == batch, seconds_at(device)
        plain_round(self, rows)
        if inside[0]:
            times[ROUND].append(seconds_at(device) - start)
        inside[0] = False

    def passes_of(self: Feeder, *_: object) -> str:
        return PASSES[0] if self.model is target else PASSES[1]

    kind = type(method)
    with ExitStack() as stack:
        for context in (
            patch.object(Speculator, "round", timed_round),
            timed(Feeder, "logits", passes_of),
            timed(Sampling, "probabilities", lambda *_: "laws, in float64"),
            timed(kind, "candidates", lambda *_: "drafts from their laws"),
            timed(Speculator, "_verdicts", lambda *_: "verdicts"),
            timed(Speculator, "_last_tokens", lambda *_: "the last token"),
        ):
            stack.enter_context(context)
        yield times


def reading(models: Sequence[torch.nn.Module]) -> float:
    """Median seconds to add up all weights of models, each as often as it stands there."""

    def once() -> float:
        start = time.perf_counter()
        for model in models:
            for weight in model.parameters():
                weight.sum()
        return time.perf_counter() - start

    with torch.inference_mode():
        return median(once() for _ in range(7))


def parts_of(
    pair: ModelPair, method: Method, batch: int, tokens: int, read: float
) -> list[dict[str, object]]:
    """Rows of the table for one batch size; reading the weights takes `read` seconds."""
    settings = EngineSettings(method=method, prf=PRF, lookahead=LOOKAHEAD, max_tokens=tokens, ignore_eos=True)
    engine = Engine(pair, settings, batch)
    prompts = encode_prompts(pair.tokenizer, builtin_prompts("continuation")[:batch])
    engine.warm_up(prompts[0])
    with watched(method, pair.target, batch) as times:
        list(engine.generate(prompts))
    rounds = len(times[ROUND])
    whole = sum(times.pop(ROUND)) / rounds
    rows = [(part, len(calls) / rounds, sum(calls) / rounds) for part, calls in times.items()]
    rows.sort(key=lambda row: -row[2])
    rows.append(("the rest", 1.0, whole - sum(seconds for *_, seconds in rows)))
    rows.append((ROUND, 1.0, whole))
    rows.append((READ, 1.0, read))
    return [
        {
            "part": part,
            "batch": batch,
            "calls": calls,
            "ms": 1000 * seconds,
            "share": seconds / whole,
            "rounds": rounds,
        }
        for part, calls, seconds in rows
    ]


def main(
    method: Annotated[str, typer.Option(help="Watermarked method.")] = "joint-race",
    watermark: Annotated[str, typer.Option(help="Its watermark.")] = "gumbel",
    tokens: Annotated[int, typer.Option(help="Tokens a text.")] = 32,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    out: OutOption = None,
) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure(method, watermark, tokens, dtype, Tables(out))


def measure(method: str, watermark: str, tokens: int, dtype: str, tables: Tables) -> None:
    """Both batch sizes."""
    pair = load_pair(dtype=dtype)
    made = make_method(method, parse_decoder(watermark))
    # Once for both, as it is the same.
    read = reading([*[pair.draft_model] * LOOKAHEAD, pair.target])
    rows = [row for batch in (1, WIDE) for row in parts_of(pair, made, batch, tokens, read)]
    shown = Table("batch", "part", "calls", "ms", "share", title=f"{method}, {watermark}, {dtype}")
    for row in rows:
        shown.add_row(
            f"{row['batch']}",
            f"{row['part']}",
            f"{row['calls']:.1f}",
            f"{row['ms']:.1f}",
            f"{row['share']:.0%}",
        )
    stdout().print(shown)
    settings = {"method": method, "dtype": dtype, "lookahead": LOOKAHEAD, "threads": torch.get_num_threads()}
    tables.write("round", [row | settings for row in rows])


if __name__ == "__main__":
    typer.run(main)
