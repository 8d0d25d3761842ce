"""Timings of the theory core, beside a plain Monte Carlo of equal accuracy.

    python -m tests.benchmarks.bench_figure_1 [--out tests/benchmarks/results]

The Monte Carlo is vectorised over seeds in cache-sized batches and uses as many seeds as the largest
standard error of 1e-3 needs; like any user without the closed forms it has to search for theta, which it
does by bounded scalar minimisation on its sample. The exact curves are the median of 21 runs.
"""

from __future__ import annotations

import time

import numpy as np
import typer
from rich.table import Table
from scipy.optimize import minimize_scalar

from figures.curves.figure_1 import GAMMA, compute
from paper_repro.measuring import OutOption, Tables, seconds_of, spread_of
from tradeoff.curves.example import PAPER_P, PAPER_Q
from tradeoff.curves.families import curve
from tradeoff.curves.setting import Setting
from tradeoff.decoders import GumbelMax
from tradeoff.decoders.races import race_coupling, race_diagonal
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.laws import acceptance_probability, entropy, excess, overlap, plogp

FAMILIES = ("linear", "hu", "google", "time-sharing")
WANTED_ERROR = 1e-3
_BATCH = 20_000


def exact_curves() -> list:
    """All Gumbel-max curves of Figure 1."""
    setting = Setting(PAPER_P, PAPER_Q)
    return [curve(name, setting, GAMMA) for name in FAMILIES]


def plain_monte_carlo(seeds: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The same curves by simulation: {class: (strengths, their standard errors)}, [points] each."""
    p, q = PAPER_P, PAPER_Q
    n, rng, decoder = len(p), np.random.default_rng(0), GumbelMax()
    accept, rest = acceptance_probability(p, q), excess(p, q)
    sums = {name: np.zeros((2, len(GAMMA))) for name in (*FAMILIES[:3], "efficiency")}
    kept: list[tuple[np.ndarray, np.ndarray]] = []

    def add(name: str, k: int, values: np.ndarray) -> None:
        sums[name][:, k] += values.sum(), (values**2).sum()

    for start in range(0, seeds, _BATCH):
        size = min(_BATCH, seeds - start)
        race = decoder.draw(rng, (size,), n)
        p_z, q_z = decoder(p, race), decoder(q, race)
        r_z = decoder(rest, decoder.draw(rng, (size,), n))
        kept.append((p_z, q_z))
        a = (q_z * accept).sum(axis=-1, keepdims=True)
        for k, gamma in enumerate(GAMMA):
            linear = (1 - gamma) * p + gamma * p_z
            hu = (1 - gamma) * (a * q_z + (1 - a) * rest) + gamma * p_z
            google = (1 - gamma) * (a * q_z + (1 - a) * r_z) + gamma * p_z
            for name, law in (("linear", linear), ("hu", hu), ("google", google)):
                add(name, k, entropy(p) + plogp(law).sum(axis=-1))
            add("efficiency", k, overlap(hu, q_z))
    for gamma in GAMMA:

        def loss(theta: float, gamma: float = gamma) -> float:
            total = 0.0
            for p_z, q_z in kept:
                total += np.minimum((1 - gamma) * p + gamma * p_z, (1 - theta) * q + theta * q_z).sum()
            return -total / seeds

        minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-3})
    results = {}
    for name, (first, second) in sums.items():
        mean = first / seeds
        results[name] = (mean, np.sqrt(np.maximum(second / seeds - mean**2, 0) / seeds))
    return results


def main(out: OutOption = None) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure(Tables(out))


def measure(tables: Tables) -> None:
    """Time the closed forms, then plain Monte Carlo."""
    console = stdout()
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(151_936), 2)
    small = rng.dirichlet(np.ones(1000), 2)
    table = Table("what", "seconds (median)", "asked for")
    table.columns[1].justify = "right"
    rows = []
    for what, asked, times in (
        ("pi_ii for n = 151,936", "< 0.2", seconds_of(lambda: race_diagonal(p, q), 11)),
        ("full pi for n = 1,000", "< 10", seconds_of(lambda: race_coupling(*small), 11)),
        ("Gumbel-max curves of Figure 1, exact", "< 2", seconds_of(exact_curves, 21)),
        (
            "all curves of Figure 1, SynthID at 200,000 seeds",
            "< 20",
            seconds_of(lambda: compute(PAPER_P, PAPER_Q), 3),
        ),
    ):
        rows.append({"what": what, **spread_of(times)})
        table.add_row(what, f"{rows[-1]['median']:.4f}", asked)
    exact = float(rows[2]["median"])
    console.print(table)

    pilot = plain_monte_carlo(4_000)
    worst = max(float(error.max()) for _, error in pilot.values())
    seeds = int(np.ceil(4_000 * (worst / WANTED_ERROR) ** 2))
    start = time.perf_counter()
    results = plain_monte_carlo(seeds)
    spent = time.perf_counter() - start
    reached = max(float(error.max()) for _, error in results.values())
    off = max(
        float(np.abs(results[name][0] - c.strength).max())
        for name, c in zip(FAMILIES[:3], exact_curves()[:3], strict=True)
    )
    console.print(
        f"plain Monte Carlo of the same curves: {seeds:,} seeds, standard error {reached:.2e}, largest "
        f"difference in strength {off:.1e}: {spent:.1f} s\n"
        f"ratio to the exact curves: {spent / exact:,.0f} (asked for: > 1,000)"
    )
    # Two more rows: in the last, how many times as long the simulation takes.
    rows.append({"what": "plain Monte Carlo of the Gumbel-max curves", **spread_of([spent])})
    rows.append({"what": "ratio of plain Monte Carlo to the exact curves", **spread_of([spent / exact])})
    tables.write("figure_1", rows)


if __name__ == "__main__":
    typer.run(main)
