"""Seconds a position that the limit of races takes on one core, and how tight it is.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_race_limit [--out tests/benchmarks/results]

Targets are 1/rank^1.2 over tokens in random order, drafts the same with each token's mass distorted by a
log-normal factor; no model is needed. "known" is what is exact: the joint race's score, with that of
Gumbel-max and its efficiency; "limit" is the bound at full efficiency, solver and certificate; "curve" is the
bound below it as well, with all prices. Beside the times: the joint race's score over the upper confidence
limit at 99.9%, all positions of a size together. Medians, with the extremes over positions.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import typer
from rich.table import Table

from paper_repro.measuring import OutOption, Tables, spread_of
from tradeoff.curves import RacePair, race_limit, race_limit_curve
from tradeoff.display.console import exit_on_bad_input, stdout

TOKENS = (50, 200, 2_000, 10_000)
POSITIONS = 3
#: For each certificate.
RACES = 1_000


def zipf(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Target and draft, [n]."""
    p = rng.permutation(np.arange(1, n + 1) ** -1.2)
    q = p * np.exp(rng.normal(size=n))
    return p / p.sum(), q / q.sum()


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def known(p: np.ndarray, q: np.ndarray) -> tuple[float, float, float]:
    """What is exact."""
    pair = RacePair(p, q)
    return pair.joint_score, pair.gumbel_score, pair.agreement


def main(out: OutOption = None) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure(Tables(out))


def measure(tables: Tables) -> None:
    """Time each part at every size."""
    console = stdout()
    console.print(
        f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}, load "
        f"{os.getloadavg()[0]:.1f}; {POSITIONS} positions a size, {RACES:,} races a position"
    )
    table = Table("tokens", "what", "seconds a position", "joint race / limit", box=None)
    for column in table.columns[2:]:
        column.justify = "right"
    rows: list[dict[str, object]] = []
    for n in TOKENS:
        rng = np.random.default_rng(n)
        laws = [zipf(n, rng) for _ in range(POSITIONS)]
        # One number above 1 - TV would be refused; 0 is below that of every pair.
        parts: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
            "known": known,
            "limit": lambda p, q: race_limit(p, q, races=RACES),
            "curve": lambda p, q: race_limit_curve(p, q, [0.0], races=RACES),
        }
        found = race_limit(*map(np.stack, zip(*laws, strict=True)), races=RACES)
        share = found.joint_race / found.limit
        for what, call in parts.items():
            spread = spread_of([seconds(lambda c=call, pair=pair: c(*pair)) for pair in laws])
            rows.append({"tokens": n, "what": what, **spread, "joint race / limit": share})
            times = f"{spread['median']:.3f} ({spread['lowest']:.3f} to {spread['highest']:.3f})"
            table.add_row(f"{n:,}", what, times, f"{share:.4f}" if what == "limit" else "")
        table.add_section()
    console.print(table)
    tables.write("race_limit", rows)


if __name__ == "__main__":
    typer.run(main)
