"""Tokens a second of this detector of Transformers' green lists on one core, beside Transformers' own.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.formats.bench_kgw [--texts N] [--out FOLDER]

Texts are the Markdown and Python files of this repository in the tokens of the built-in model, 200 each,
under one key (left-hash, gamma 0.25). Both take turns: Transformers' detector reads a few, as its rate does
not depend on how many; ours reads one text with nothing remembered, then all with nothing remembered, all
again, and once more, when the lists of all seeds that came twice are there. That both find the same tokens
green is checked first. Times are of the processor; medians of turns, and ratios are of rates of one turn.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table
from transformers import LlamaConfig, WatermarkDetector, WatermarkingConfig

from paper_repro.measuring import OutOption, Tables
from tradeoff.detection import Evidence, GreenPairs, detect
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.keyed import HfKgwSettings, Stream
from tradeoff.keyed.hf_kgw import _lists_of
from tradeoff.llm.models.loading import load_tokenizer

N, KEY, LENGTH = 49_152, 15485863, 200
SETTINGS = HfKgwSettings(N)
#: Texts that Transformers' detector reads in a turn.
THEIRS = 3
RUNS = 5


def texts_of(folder: Path, count: int) -> list[np.ndarray]:
    """The first texts of LENGTH tokens of the repository's files."""
    tokenizer = load_tokenizer("builtin")
    found: list[np.ndarray] = []
    for path in sorted([*folder.rglob("*.md"), *folder.rglob("*.py")]):
        ids = np.array(tokenizer.encode(path.read_text(encoding="utf-8")), dtype=np.int64)
        found += [ids[i : i + LENGTH] for i in range(0, len(ids) - LENGTH + 1, LENGTH)]
    rng = np.random.default_rng(0)
    return [found[i] for i in rng.permutation(len(found))[:count]]


def main(
    texts: Annotated[int, typer.Option(help="How many texts are read.")] = 2000, out: OutOption = None
) -> None:
    with exit_on_bad_input():
        torch.set_num_threads(1)
        corpus = texts_of(Path(__file__).parents[3], texts)
        prf, ours = SETTINGS(KEY), GreenPairs(SETTINGS)
        config = LlamaConfig(vocab_size=N, bos_token_id=N - 1)
        theirs = WatermarkDetector(config, "cpu", WatermarkingConfig(hashing_key=KEY))
        check(corpus[0], theirs)

        def read(some: list[np.ndarray]) -> None:
            for ids in some:
                detect(ours, Evidence(ids, prf))

        def rate(work: Callable[[], object], count: int) -> float:
            start = time.process_time()
            work()
            return count * LENGTH / (time.process_time() - start)

        rates: dict[str, list[float]] = defaultdict(list)
        read(corpus[:1])
        for turn in range(RUNS):
            few = corpus[turn * THEIRS : (turn + 1) * THEIRS]
            rates["Transformers"].append(rate(partial(read_by, theirs, few), THEIRS))
            _lists_of.cache_clear()
            rates["one text"].append(rate(partial(read, [corpus[-1 - turn]]), 1))
            _lists_of.cache_clear()
            rates["all, first"].append(rate(partial(read, corpus), len(corpus)))
            rates["all, again"].append(rate(partial(read, corpus), len(corpus)))
            rates["all, third"].append(rate(partial(read, corpus), len(corpus)))
        different = len(np.unique(np.concatenate(corpus)))
        table = Table(
            f"{len(corpus):,} texts of {LENGTH} tokens, {different:,} different ones",
            "tokens a second",
            "ratio",
        )
        rows: list[dict[str, object]] = []
        for name, found in rates.items():
            ratios = [one / other for one, other in zip(found, rates["Transformers"], strict=True)]
            middle, ratio = statistics.median(found), statistics.median(ratios)
            table.add_row(name, f"{middle:,.0f}", f"{ratio:.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
            rows.append(
                {
                    "what": name,
                    "texts": len(corpus),
                    "tokens_per_second": round(middle),
                    "ratio": round(ratio, 2),
                    "ratio_low": round(min(ratios), 2),
                    "ratio_high": round(max(ratios), 2),
                }
            )
        stdout().print(table)
        Tables(out).write("kgw", rows)


def read_by(detector: WatermarkDetector, texts: list[np.ndarray]) -> None:
    for ids in texts:
        detector(torch.from_numpy(ids)[None])


def check(ids: np.ndarray, theirs: WatermarkDetector) -> None:
    """Both find the same tokens green."""
    found = theirs(torch.from_numpy(ids)[None], return_dict=True)
    green = SETTINGS(KEY).lists(Stream.SHARED, ids[:-1, None], ids[1:, None], SETTINGS.gamma)
    if int(green.sum()) != round(float(found.green_fraction[0]) * (len(ids) - 1)):
        raise ValueError("the detectors disagree on green tokens; repair one of them")


if __name__ == "__main__":
    typer.run(main)
