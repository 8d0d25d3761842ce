"""Tokens a second of Gumbel-max detection on one core: hashes, uniforms, scores and the p-value.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_detect [--out tests/benchmarks/results]

Token ids are random, so that nearly all of them count. Medians.
"""

from __future__ import annotations

import numpy as np
import typer
from rich.table import Table

from tests.benchmarks.measured import OutOption, Tables, seconds_of, spread_of
from tradeoff.detection import Detector, Evidence, default_detector, detect
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.kernels import Algorithm1, OneRace
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Prf

N = 49_152
TEXTS, LENGTH = 1_000, 200
LONG = 1_000_000
RUNS = 5
ASKED = 300_000


def tokens_per_second(texts: list[np.ndarray], prf: Prf, detector: Detector) -> list[float]:
    """Of every run through all texts, one after the other."""

    def run() -> None:
        for ids in texts:
            detect(detector, Evidence(ids, prf))

    run()
    return [sum(map(len, texts)) / seconds for seconds in seconds_of(run, RUNS)]


def main(out: OutOption = None) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure(Tables(out))


def measure(tables: Tables) -> None:
    """Time every detector on many short texts and on a long one."""
    rng = np.random.default_rng(0)
    short = [rng.integers(0, N, LENGTH) for _ in range(TEXTS)]
    long = [rng.integers(0, N, LONG)]
    default, vllm = KeyedPrf(Key.new()), VllmPhilox(int(rng.integers(1 << 62)))
    one, two = default_detector(OneRace()), default_detector(Algorithm1())
    table = Table("detector", f"{TEXTS:,} texts of {LENGTH}", f"1 text of {LONG:,}", "asked for")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = []
    for what, prf, detector, asked in (
        ("one-race, default function", default, one, f">= {ASKED:,}"),
        ("algorithm-1 (sum of both keys), default function", default, two, ""),
        ("one-race, vLLM's format", vllm, one, ""),
    ):
        cells = []
        for texts in (short, long):
            rates = spread_of(tokens_per_second(texts, prf, detector))
            rows.append({"detector": what, "texts": len(texts), "tokens": len(texts[0]), **rates})
            cells.append(f"{rates['median']:,.0f}")
        table.add_row(what, *cells, asked)
    stdout().print(table)
    stdout().print("tokens a second")
    tables.write("detect", rows)


if __name__ == "__main__":
    typer.run(main)
