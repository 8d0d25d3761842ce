"""Hu and Huang's impossibility, where the paper starts: no kernel with a random coin reaches both bounds.

Statement (section 2, Eq. 6, after Hu and Huang 2024): a kernel that keeps the watermark's strength accepts
less often than 1 - TV(Q, P) for some pair, and one that keeps that efficiency loses strength.

Assumptions: P != Q, an unbiased degenerate decoder (Gumbel-max here), a truly random acceptance coin.

Prediction: keep-strength has strength Ent(P) and misses 1 - TV by 1 - TV - sum_i pi_ii, with pi the race
coupling (`tradeoff.curves.pairs`); keep-efficiency accepts 1 - TV and misses Ent(P) by
sum_j Q_j h(a_j) + TV Ent((P-Q)_+), a = min(1, P/Q) (`tradeoff.curves.hu_end_point_strength`).

Controls: the claims that either kernel reaches both; P = Q, where nothing is lost.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, dirichlet, finish, generator, panels
from sims.tools.kernel_laws import law_given_key, step
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.curves import PAPER_P, PAPER_Q, hu_end_point_strength
from tradeoff.decoders import GumbelMax, race_diagonal
from tradeoff.files import write_table
from tradeoff.kernels import KeepEfficiency, KeepStrength
from tradeoff.laws import entropy, kl_divergence, overlap
from tradeoff.plotting import method_look

__all__ = ["run"]

NAME = "Impossibility"
_RANDOM_PAIRS = 1_000
_PATH = np.linspace(0, 1, 11)


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, impossibility.csv and impossibility.png."""
    rng = generator(seed, "impossibility")
    p, q = PAPER_P, PAPER_Q
    most, sse = float(entropy(p)), float(overlap(p, q))
    kept = _measure(p, q, size, rng)
    strength, efficiency = float(race_diagonal(p, q).sum()), float(hu_end_point_strength(p, q))
    missed = f"misses 1 - TV = {sse:.4g} by {sse - strength:.4f}"
    lost = f"misses Ent(P) = {most:.4f} by {most - efficiency:.4f}"
    rows = [
        compare(NAME, f"keep-strength: acceptance, {missed}", strength, *kept["keep-strength", "SE"]),
        compare(NAME, "keep-strength: strength Ent(P)", most, *kept["keep-strength", "WS"]),
        compare(NAME, "keep-efficiency: acceptance 1 - TV", sse, *kept["keep-efficiency", "SE"]),
        compare(NAME, f"keep-efficiency: strength, {lost}", efficiency, *kept["keep-efficiency", "WS"]),
    ]
    ps, qs = dirichlet(rng, _RANDOM_PAIRS, 6), dirichlet(rng, _RANDOM_PAIRS, 6)
    gaps = overlap(ps, qs) - race_diagonal(ps, qs).sum(axis=-1)
    losses = entropy(ps) - hu_end_point_strength(ps, qs)
    least = f"least of {_RANDOM_PAIRS:,} random pairs with P ≠ Q"
    same = 1 - race_diagonal(p, p).sum()
    rows += [
        compare(NAME, f"keep-strength: efficiency missed, {least}", 1e-6, gaps.min(), relation="≥"),
        compare(NAME, f"keep-efficiency: strength missed, {least}", 1e-6, losses.min(), relation="≥"),
        compare(NAME, "keep-strength reaches 1 - TV", sse, *kept["keep-strength", "SE"], control=True),
        compare(NAME, "keep-efficiency reaches Ent(P)", most, *kept["keep-efficiency", "WS"], control=True),
        compare(NAME, "efficiency is missed where P = Q", 1e-6, same, relation="≥", control=True),
    ]
    seeds = max(size // 10, 2_000)
    _draw(_path(seeds, rng), seeds, out)
    return rows


def _measure(
    p: np.ndarray, q: np.ndarray, size: int, rng: np.random.Generator
) -> dict[tuple[str, str], tuple[float, float]]:
    """Simulated efficiency and strength of both kernels, each with its standard error."""
    measured = {}
    for method in (KeepStrength(GumbelMax()), KeepEfficiency(GumbelMax())):
        measured[method.name, "SE"] = mean_and_error(step(method, p, q, size, rng).accepted)
        # The coin of keep-strength is idle with a degenerate decoder: its law given zeta is a point mass.
        law = law_given_key(method, p, q, size, rng)
        measured[method.name, "WS"] = mean_and_error(kl_divergence(law, p))
    return measured


def _path(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """What each kernel misses along a path from Q to P, computed and simulated."""
    records = []
    for s in _PATH:
        q = (1 - s) * PAPER_Q + s * PAPER_P
        measured = _measure(PAPER_P, q, seeds, rng)
        sse, most = float(overlap(PAPER_P, q)), float(entropy(PAPER_P))
        records.append(
            {
                "tv": 1 - sse,
                "efficiency_missed": sse - float(race_diagonal(PAPER_P, q).sum()),
                "efficiency_missed_simulated": sse - measured["keep-strength", "SE"][0],
                "efficiency_error": measured["keep-strength", "SE"][1],
                "strength_missed": most - float(hu_end_point_strength(PAPER_P, q)),
                "strength_missed_simulated": most - measured["keep-efficiency", "WS"][0],
                "strength_error": measured["keep-efficiency", "WS"][1],
            }
        )
    return pd.DataFrame(records)


def _draw(table: pd.DataFrame, seeds: int, out: Path) -> None:
    """Exact lines, simulated points."""
    write_table(table, out / "impossibility.csv")
    figure, axes = panels(2)
    for axis, kind, method, what in (
        (axes[0], "efficiency", "keep-strength", "acceptance missed"),
        (axes[1], "strength", "keep-efficiency", "strength missed (nats)"),
    ):
        look = method_look(method)
        axis.plot(table["tv"], table[f"{kind}_missed"], label=f"{method}, computed", **look.stroke)
        missed = table[f"{kind}_missed_simulated"]
        bars = {"ms": 4, "capsize": 3, "label": f"{method}, simulated", **look.mixed("black", 0.4).points}
        axis.errorbar(table["tv"], missed, BAR * table[f"{kind}_error"], **bars)
        axis.set(title=method, xlabel="TV(Q, P)", ylabel=what)
        axis.legend(loc="upper left")
    caption = (
        f"n = {len(PAPER_P)}, target P of the paper, draft from Q to P; {seeds:,} seeds a point; 99% bars."
    )
    finish(figure, out / "impossibility.png", caption)
