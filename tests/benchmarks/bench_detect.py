"""Tokens a second of Gumbel-max detection on one core: hashes, uniforms, scores and the p-value.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_detect

Token ids are random, so that nearly all of them count. Medians.
"""

from __future__ import annotations

import numpy as np
from rich.table import Table

from tests.benchmarks.bench_figure_1 import median_time
from tradeoff.detection import Detector, Evidence, default_detector, detect
from tradeoff.display.console import stdout
from tradeoff.kernels.methods import Algorithm1, OneRace
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Prf

N = 49_152
TEXTS, LENGTH = 1_000, 200
LONG = 1_000_000
RUNS = 5
ASKED = 300_000


def tokens_per_second(texts: list[np.ndarray], prf: Prf, detector: Detector) -> float:
    """All texts, one after the other."""

    def run() -> None:
        for ids in texts:
            detect(detector, Evidence(ids, prf))

    run()
    return sum(map(len, texts)) / median_time(run, RUNS)


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    short = [rng.integers(0, N, LENGTH) for _ in range(TEXTS)]
    long = [rng.integers(0, N, LONG)]
    default, vllm = KeyedPrf(Key.new()), VllmPhilox(int(rng.integers(1 << 62)))
    one, two = default_detector(OneRace()), default_detector(Algorithm1())
    table = Table("detector", f"{TEXTS:,} texts of {LENGTH}", f"1 text of {LONG:,}", "asked for")
    for column in table.columns[1:]:
        column.justify = "right"
    for what, prf, detector, asked in (
        ("one-race, default function", default, one, f">= {ASKED:,}"),
        ("algorithm-1 (sum of both keys), default function", default, two, ""),
        ("one-race, vLLM's format", vllm, one, ""),
    ):
        rates = [f"{tokens_per_second(texts, prf, detector):,.0f}" for texts in (short, long)]
        table.add_row(what, *rates, asked)
    stdout().print(table)
    stdout().print("tokens a second")


if __name__ == "__main__":
    main()
