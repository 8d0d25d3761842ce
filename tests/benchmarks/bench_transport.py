"""Milliseconds a position that optimal transport takes on one core: the top 50 tokens, k = 1,024.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_transport [--out tests/benchmarks/results]

Solvers alone, on score rows that are already there, and the whole decoder, S(P, s) for one s. A token's row
of scores is computed at first sight and remembered: "cold" is a position all of whose tokens are new, "warm"
one whose tokens have all been seen. Plans are never remembered here, as every law comes once. Laws are
Zipf-like and Dirichlet at several entropies over 50,000 tokens, no model is needed. Medians, with quartiles
over positions.

The aim, Sinkhorn under 15 ms a position, warm, on one core, stands beside its rows.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable

import numpy as np
import typer
from rich.table import Table

from paper_repro.measuring import OutOption, Tables
from tradeoff.decoders import SimplexScores
from tradeoff.decoders.transport import SideInformation, Transport, TransportWarning
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.laws import entropy
from tradeoff.optimal_transport.scores import RandomScores, Scores, remembered_rows
from tradeoff.optimal_transport.solvers import Exact, Sinkhorn, Solver

N = 50_000
HEAD = 50
POSITIONS = 15
#: Milliseconds, of Sinkhorn's iterations with 1,024 values.
AIM = "< 15"
_PARTS = ("solver alone", "decoder, warm", "decoder, cold")
_WHAT: dict[str, tuple[Scores, Solver]] = {
    "HeavyWater, Sinkhorn": (RandomScores(), Sinkhorn()),
    "HeavyWater, exact": (RandomScores(), Exact()),
    "SimplexWater 8, Sinkhorn": (SimplexScores(8), Sinkhorn()),
    "SimplexWater 8, exact": (SimplexScores(8), Exact()),
    "SimplexWater 10, Sinkhorn": (SimplexScores(10), Sinkhorn()),
    "SimplexWater 10, exact": (SimplexScores(10), Exact()),
}


def zipf(rng: np.random.Generator, exponent: float) -> np.ndarray:
    """1/rank^exponent over tokens in random order: [N]."""
    weights = np.arange(1, N + 1) ** -exponent
    return rng.permutation(weights / weights.sum())


def dirichlet(rng: np.random.Generator, concentration: float) -> np.ndarray:
    """Dirichlet on 200 random tokens: [N]."""
    law = np.zeros(N)
    law[rng.choice(N, 200, replace=False)] = rng.dirichlet(np.full(200, concentration))
    return law


LAWS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "Zipf 3": lambda rng: zipf(rng, 3.0),
    "Zipf 1.5": lambda rng: zipf(rng, 1.5),
    "Zipf 1.1": lambda rng: zipf(rng, 1.1),
    "Dirichlet 0.005": lambda rng: dirichlet(rng, 0.005),
    "Dirichlet 0.05": lambda rng: dirichlet(rng, 0.05),
    "Dirichlet 1": lambda rng: dirichlet(rng, 1.0),
}


def milliseconds(call: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def quartiles(times: list[float]) -> dict[str, float]:
    """Columns lower_quartile, median, upper_quartile."""
    low, middle, high = np.percentile(times, [25, 50, 75]).tolist()
    return {"lower_quartile": low, "median": middle, "upper_quartile": high}


def spread(times: list[float]) -> str:
    """ "median (quartile, quartile)"."""
    low, middle, high = quartiles(times).values()
    return f"{middle:.1f} ({low:.1f}, {high:.1f})"


def measure(scores: Scores, solver: Solver, laws: list[np.ndarray]) -> tuple[list[float], ...]:
    """Milliseconds of the solver alone, of the decoder warm, and of the decoder cold, one a position."""
    decoder = Transport(scores, solver, head=HEAD)
    alone, warm, cold = [], [], []
    for law in laws:
        table = KeyedPrf(Key.new())
        zeta = SideInformation(np.array(3), table)
        # A law that differs in its last digits: other plans are solved, the same rows are looked up.
        first, second = law, law * (1 + 1e-12 * np.arange(N) / N)
        cold.append(milliseconds(lambda p=first, z=zeta: decoder(p, z)))
        warm.append(milliseconds(lambda p=second, z=zeta: decoder(p, z)))
        ids = np.argsort(law)[-HEAD:]
        ids = ids[law[ids] > 2.0**-20]
        rows, head = remembered_rows(scores, table)(ids), law[ids] / law[ids].sum()
        alone.append(milliseconds(lambda p=head, f=rows: solver(p, f)))
    return alone, warm, cold


def main(out: OutOption = None) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure_all(Tables(out))


def measure_all(tables: Tables) -> None:
    """Time every solver on every law."""
    warnings.simplefilter("ignore", TransportWarning)
    console = stdout()
    console.print(
        f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}, load "
        f"{os.getloadavg()[0]:.1f}; top {HEAD} of {N:,} tokens, {POSITIONS} positions a law"
    )
    table = Table("what", "law", "entropy", *_PARTS, box=None)
    for k, column in enumerate(table.columns):
        column.justify, column.no_wrap = "left" if k < 2 else "right", True
    rng = np.random.default_rng(0)
    laws = {name: [draw(rng) for _ in range(POSITIONS)] for name, draw in LAWS.items()}
    rows: list[dict[str, object]] = []

    def add(what: str, law: str, mean: float, times: tuple[list[float], ...]) -> None:
        for part, values in zip(_PARTS, times, strict=True):
            rows.append({"what": what, "law": law, "entropy": mean, "part": part, **quartiles(values)})

    for what, (scores, solver) in _WHAT.items():
        # POT is imported, and code paths are warmed up.
        measure(scores, solver, [laws["Zipf 1.5"][0]])
        everything: tuple[list[float], ...] = ([], [], [])
        for name, drawn in laws.items():
            times = measure(scores, solver, drawn)
            for whole, part in zip(everything, times, strict=True):
                whole += part
            mean = float(np.mean([entropy(law) for law in drawn]))
            table.add_row(what, name, f"{mean:.2f}", *(spread(part) for part in times))
            add(what, name, mean, times)
        every = f"all; warm aim {AIM}" if isinstance(solver, Sinkhorn) else "all"
        table.add_row(what, every, "", *(spread(part) for part in everything), style="bold")
        add(what, "all", math.nan, everything)
        table.add_section()
    console.print(table)
    console.print("Milliseconds a position: median (quartiles over positions). Entropies in nats.")
    tables.write("transport", rows)


if __name__ == "__main__":
    typer.run(main)
