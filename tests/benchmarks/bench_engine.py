"""Speed and memory of the engine on the built-in pair.

    python -m tests.benchmarks.bench_engine [--dtype float32] [--runs 5] [--tokens 48] [--out FOLDER]

Four comparisons, each of runs that alternate so that a machine whose speed drifts drifts for both:
  - time per token at batch 1 against Transformers' assisted generation, same K, dtype and sampling;
  - tokens per second at batch 16 against the same;
  - what the watermark costs over unwatermarked speculative sampling, per round (K drafts, one verification,
    one more token) at batch 1 and 16, since how many tokens a round gives is a matter of luck;
  - peak memory of a batch-16 run, over the weights (in a process of its own).

All runs sample at temperature 1 with nothing cut and never stop early. The draft leaves out 5 of 30
layers, so speculation cannot be faster than the target alone here; the engine is what is measured.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import torch
import typer
from rich.table import Table

from paper_repro.measuring import OutOption, Tables
from tradeoff.decoders import parse_decoder
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.kernels import Method, OneRace, Standard, make_method
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.llm.encoding import encode_prompts
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.generation.rounds import Speculator
from tradeoff.llm.generation.rows import GeneratedText, Row
from tradeoff.llm.models.pair import ModelPair, load_pair
from tradeoff.texts.corpus import builtin_prompts
from tradeoff.texts.prompts import Prompt

LOOKAHEAD = 3
WIDE = 16
PRF = KeyedPrf(Key(b"key of the benchmark"), 4)


def engine(pair: ModelPair, method: Method, batch: int, tokens: int) -> Engine:
    settings = EngineSettings(method=method, prf=PRF, lookahead=LOOKAHEAD, max_tokens=tokens, ignore_eos=True)
    return Engine(pair, settings, batch)


def timed(
    pair: ModelPair, method: Method, batch: int, tokens: int, prompts: list[Prompt]
) -> dict[str, float]:
    """One run: ms per token, tokens per second, and the median ms of a round with a full batch."""
    machine = engine(pair, method, batch, tokens)
    rounds: list[float] = []
    plain_round = Speculator.round

    def timed_round(self: Speculator, rows: Sequence[Row]) -> None:
        full, start = len(rows) == batch, time.perf_counter()
        plain_round(self, rows)
        if full:
            rounds.append(1000 * (time.perf_counter() - start))

    start = time.perf_counter()
    with patch.object(Speculator, "round", timed_round):
        texts: list[GeneratedText] = list(machine.generate(prompts))
    seconds = time.perf_counter() - start
    count = sum(len(text.token_ids) for text in texts)
    return {
        "ms per token": 1000 * seconds / count,
        "ms per round": statistics.median(rounds),
        "tokens per second": count / seconds,
    }


def transformers_run(pair: ModelPair, tokens: int, prompts: list[Prompt], seed: int) -> dict[str, float]:
    """Assisted generation of Transformers, one text at a time (it knows no other way)."""
    config = pair.draft.generation_config
    config.num_assistant_tokens = LOOKAHEAD
    config.num_assistant_tokens_schedule = "constant"
    config.assistant_confidence_threshold = 0.0
    torch.manual_seed(seed)
    start, count = time.perf_counter(), 0
    for prompt in prompts:
        ids = torch.tensor([prompt.token_ids], device=pair.device)
        out = pair.target.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            assistant_model=pair.draft,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            pad_token_id=0,
        )
        count += out.shape[1] - ids.shape[1]
    seconds = time.perf_counter() - start
    return {"ms per token": 1000 * seconds / count, "tokens per second": count / seconds}


def memory(dtype: str, tokens: int, batch: int) -> None:
    """Print weights, resident memory with the models loaded, and its peak over a batch run, in MB."""
    pair = load_pair(dtype=dtype, progress=False)
    weights = sum(p.numel() * p.element_size() for p in pair.target.parameters()) / 1e6
    loaded = float(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    # The peak of loading (which unpacks a compressed file) is not the engine's.
    Path("/proc/self/clear_refs").write_text("5")
    list(engine(pair, OneRace(), batch, tokens).generate(_prompts(pair, batch)))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = float(status["VmHWM"].split()[0]) * 1024 / 1e6
    print(weights, loaded, peak)


def main(
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    runs: Annotated[int, typer.Option(help="Paired runs of each comparison.")] = 5,
    tokens: Annotated[int, typer.Option(help="Tokens a text.")] = 48,
    method: Annotated[str, typer.Option(help="Watermarked method.")] = "one-race",
    watermark: Annotated[str, typer.Option(help="Its watermark.")] = "gumbel",
    out: OutOption = None,
    only_memory: Annotated[bool, typer.Option("--only-memory", hidden=True)] = False,
) -> None:
    """Time the engine against Transformers, the watermark against none, and measure memory."""
    with exit_on_bad_input():
        if only_memory:
            memory(dtype, tokens, WIDE)
        else:
            measure(dtype, runs, tokens, method, watermark, Tables(out))


def measure(dtype: str, runs: int, tokens: int, method: str, watermark: str, tables: Tables) -> None:
    """Alternate the runs, print and write the comparisons, and the memory of a run of its own."""
    pair = load_pair(dtype=dtype)
    console = stdout()
    marked, plain = make_method(method, parse_decoder(watermark)), Standard()
    prompts = _prompts(pair, WIDE)
    few = prompts[:4]
    timed(pair, plain, 1, 8, few)
    transformers_run(pair, 8, few, 0)
    rows: dict[str, list[dict[str, float]]] = {
        name: [] for name in ("transformers", "plain 1", "marked 1", "plain 16", "marked 16")
    }
    for run in range(runs):
        rows["transformers"].append(transformers_run(pair, tokens, few, run))
        rows["marked 1"].append(timed(pair, marked, 1, tokens, few))
        rows["plain 1"].append(timed(pair, plain, 1, tokens, few))
        rows["marked 16"].append(timed(pair, marked, WIDE, tokens, prompts))
        rows["plain 16"].append(timed(pair, plain, WIDE, tokens, prompts))
    table = Table(
        "comparison",
        "ours",
        "other",
        "ratio: median (lowest to highest of pairs)",
        title=f"{dtype}, K = {LOOKAHEAD}, {torch.get_num_threads()} threads, {runs} paired runs, medians",
    )

    settings = {"dtype": dtype, "lookahead": LOOKAHEAD, "tokens": tokens, "threads": torch.get_num_threads()}
    compared: list[dict[str, object]] = []

    def compare(title: str, name: str, ours: str, theirs: str) -> None:
        a, b = [r[name] for r in rows[ours]], [r[name] for r in rows[theirs]]
        ratios = sorted(x / y for x, y in zip(a, b, strict=True))
        ours_median, other_median = statistics.median(a), statistics.median(b)
        table.add_row(
            title,
            f"{ours_median:.1f}",
            f"{other_median:.1f}",
            f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})",
        )
        compared.append(
            {"comparison": title, "ours": ours_median, "other": other_median}
            | {"ratio": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1], "runs": runs}
            | settings
        )

    label = f"{method}, {watermark}"
    compare(f"ms per token, batch 1: {label} / Transformers", "ms per token", "marked 1", "transformers")
    compare("ms per token, batch 1: standard / Transformers", "ms per token", "plain 1", "transformers")
    compare("tokens per second: batch 16 / Transformers", "tokens per second", "marked 16", "transformers")
    compare(f"ms per round, batch 1: {label} / standard", "ms per round", "marked 1", "plain 1")
    compare(f"ms per round, batch 16: {label} / standard", "ms per round", "marked 16", "plain 16")
    console.print(table)
    command = [sys.executable, "-m", "tests.benchmarks.bench_engine", "--only-memory", "--dtype", dtype]
    figures = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    weights, loaded, peak = map(float, figures)
    console.print(
        f"memory of a batch-{WIDE} run: weights {weights:.0f} MB, resident when loaded {loaded:.0f} MB, "
        f"peak {peak:.0f} MB (weights + {peak - weights:.0f} MB)"
    )
    tables.write("engine", compared)
    megabytes = {"weights": weights, "loaded": loaded, "peak": peak, "batch": WIDE}
    tables.write("engine_memory", [megabytes | settings])


def _prompts(pair: ModelPair, count: int) -> list[Prompt]:
    return encode_prompts(pair.tokenizer, builtin_prompts("continuation")[:count])


if __name__ == "__main__":
    typer.run(main)
