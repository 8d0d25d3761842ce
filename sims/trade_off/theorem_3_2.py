"""Theorem 3.2: watermark strength is at most Ent(P), with equality only for degenerate decoders.

Statement: if E_zeta P_zeta = P, then WS <= Ent(P), and equality holds iff P_zeta is a point mass almost
surely.

Assumption: unbiasedness.

Prediction: Gumbel-max and SynthID with m = infinity have strength Ent(P). SynthID with m = 1 .. 200 rounds
stays below it; the gap E Ent(P_zeta) falls with every round (entropy is concave, a round is a martingale)
and is gone at m = 200.

Controls: SynthID with m = 1, which is not degenerate, reaches Ent(P); decoders that are degenerate but
biased: the argmax after 2 rounds (equality fails), Gumbel-max on the uniform law (the bound fails).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from sims.tools.common import BAR, dirichlet, finish, generator, panels, spread
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.curves import PAPER_P
from tradeoff.decoders import Decoder, GumbelMax, SynthID, one_hot
from tradeoff.files import write_table
from tradeoff.laws import entropy, kl_divergence
from tradeoff.plotting import (
    COLORS,
    whole_numbers,
)

__all__ = ["run"]

NAME = "Theorem 3.2"
_ROUNDS = 200
_RANDOM_LAWS = 32
#: Strongest decoders, and how much slower than a race each is.
DEGENERATE: list[tuple[Decoder, int]] = [(GumbelMax(), 1), (SynthID(math.inf), 8)]


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, theorem_3_2.csv and theorem_3_2.png."""
    rng = generator(seed, "theorem 3.2")
    p, most = PAPER_P, float(entropy(PAPER_P))
    rows = []
    for decoder, slower in DEGENERATE:
        law = decoder(spread(p, size // slower), decoder.draw(rng, (size // slower,), len(p)))
        setting = f"{decoder.name}, P of the paper: strength Ent(P)"
        rows.append(compare(NAME, setting, most, *mean_and_error(kl_divergence(law, p))))
    rows.append(_random_laws(size, rng))
    seeds = max(size // 10, 2_000)
    table = _rounds(p, seeds, rng)
    write_table(table, out / "theorem_3_2.csv")
    first, last = table.iloc[0], table.iloc[-1]
    rows += [
        compare(
            NAME, "SynthID m = 1: strength", most, first["strength"], first["strength_error"], relation="≤"
        ),
        compare(
            NAME, f"SynthID m = {_ROUNDS}: strength Ent(P)", most, last["strength"], last["strength_error"]
        ),
        compare(NAME, f"SynthID m = {_ROUNDS}: entropy left", 1e-3, last["gap"], relation="≤"),
        _monotone(table),
        compare(
            NAME,
            "SynthID m = 1 reaches Ent(P)",
            most,
            first["strength"],
            first["strength_error"],
            control=True,
        ),
    ]
    rows += _biased(p, size, rng)
    _draw(table, seeds, out)
    return rows


def _random_laws(size: int, rng: np.random.Generator) -> Row:
    """Gumbel-max on random P: the mean of KL(P_zeta || P) - Ent(P) over seeds and laws is 0."""
    laws = dirichlet(rng, _RANDOM_LAWS, 20, 0.5)
    p = np.repeat(laws, max(size // _RANDOM_LAWS, 1), axis=0)
    law = GumbelMax()(p, GumbelMax().draw(rng, (len(p),), p.shape[1]))
    gap = kl_divergence(law, p) - entropy(p)
    setting = f"Gumbel-max, {_RANDOM_LAWS} random P, n = 20: strength - Ent(P)"
    return compare(NAME, setting, 0.0, *mean_and_error(gap))


def _rounds(p: np.ndarray, seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """Strength and entropy left after every number of rounds, on the same tournaments."""
    one, law, before, records = SynthID(1), np.array(spread(p, seeds)), spread(p, seeds), []
    for m in range(1, _ROUNDS + 1):
        # A round of its own bits on the law so far is one more round of the same tournament.
        before, law = law, one(law, one.draw(rng, (seeds,), len(p)))
        strength, gap = mean_and_error(kl_divergence(law, p)), mean_and_error(entropy(law))
        fall = mean_and_error(entropy(before) - entropy(law))
        records.append((m, *strength, *gap, *fall))
    names = ("rounds", "strength", "strength_error", "gap", "gap_error", "fall", "fall_error")
    return pd.DataFrame(records, columns=list(names))


def _monotone(table: pd.DataFrame) -> Row:
    """No round lets the entropy rise: the least p-value of all rounds, by Bonferroni."""
    # Where all tournaments have settled to rounding noise there is nothing left to fall.
    moving = table[table["fall_error"] > 1e-9]
    z = moving["fall"] / moving["fall_error"]
    p_value = min(1.0, len(moving) * float(stats.norm.cdf(z.min())))
    worst = moving.loc[z.idxmin()]
    setting = f"SynthID m = 1 .. {len(moving)}: least fall of the gap, over its error"
    return Row(NAME, setting, 0.0, "≥", worst["fall"], worst["fall_error"], "z, Bonferroni", z.min(), p_value)


def _biased(p: np.ndarray, size: int, rng: np.random.Generator) -> list[Row]:
    """Controls: point masses that do not average to P."""
    most, two = float(entropy(p)), SynthID(2)
    settled = one_hot(np.argmax(two(spread(p, size), two.draw(rng, (size,), len(p))), axis=-1), p)
    flat = np.full_like(p, 1 / len(p))
    uniform = GumbelMax()(spread(flat, size), GumbelMax().draw(rng, (size,), len(p)))
    cut, beyond = (mean_and_error(kl_divergence(law, p)) for law in (settled, uniform))
    return [
        compare(NAME, "argmax after 2 rounds (degenerate, biased)", most, *cut, control=True),
        compare(NAME, "race at rates 1/n (degenerate, biased)", most, *beyond, relation="≤", control=True),
    ]


def _draw(table: pd.DataFrame, seeds: int, out: Path) -> None:
    most = float(entropy(PAPER_P))
    figure, axes = panels(2)
    axes[0].axhline(most, color=COLORS["black"], lw=1, ls="--", label="Ent(P): Gumbel-max, SynthID, m = ∞")
    low, high = (table["strength"] + s * BAR * table["strength_error"] for s in (-1, 1))
    axes[0].fill_between(table["rounds"], low, high, color=COLORS["sky"], alpha=0.5, lw=0)
    axes[0].plot(table["rounds"], table["strength"], color=COLORS["blue"], label="SynthID, simulated")
    axes[0].set(xlabel="rounds m", ylabel="strength (nats)", title="Strength")
    axes[0].legend(loc="lower right")
    low, high = (table["gap"] + s * BAR * table["gap_error"] for s in (-1, 1))
    axes[1].fill_between(table["rounds"], np.maximum(low, 1e-12), high, color=COLORS["sky"], alpha=0.5, lw=0)
    axes[1].semilogy(table["rounds"], np.maximum(table["gap"], 1e-12), color=COLORS["blue"])
    axes[1].set_ylim(1e-6, 3)
    axes[1].set(xlabel="rounds m", ylabel="Ent(P) − strength (nats)", title="Gap: mean entropy left")
    whole_numbers(*axes)
    caption = f"P of the paper, n = {len(PAPER_P)}; {seeds:,} tournaments; 99% bands."
    finish(figure, out / "theorem_3_2.png", caption)
