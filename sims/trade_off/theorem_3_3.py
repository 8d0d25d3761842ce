"""Theorem 3.3: SynthID's tournament is a martingale that settles on one token.

Statement: E T_g(p) = p for one round; the laws P, T_g1(P), T_g2 T_g1(P), ... are a bounded martingale,
which converges to a point mass, so that SynthID with m = infinity is degenerate and unbiased.

Assumption: the bits g are fair and independent for every token.

Prediction: the average over all g is p, exactly, and the average of sum p^2 grows by
1/4 (sum p^2 - 2 sum p^3 + (sum p^2)^2) a round (derived: T_g(p)_w = p_w (1 + X_w) with X_w = g_w - sum p g
of mean 0 and variance 1/4 (1 - 2 p_w + sum p^2)). The growth is positive unless p is a point mass, and
sum p^2 <= 1, which proves convergence. Simulated tournaments have law P at every m, compensated growth 0,
no entropy left after 200 rounds, and half of those on the paper's P have settled after 43 rounds.

Controls: one bit for all tokens (nothing ever settles); bits that favour one token (bias).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sims.tools.common import BAR, dirichlet, finish, generator, panels, spread
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.curves import PAPER_P, PAPER_Q
from tradeoff.decoders import SETTLED, SynthID, TournamentBits
from tradeoff.files import write_table
from tradeoff.kernels import open_uniform
from tradeoff.laws import categorical, entropy
from tradeoff.plotting import (
    COLORS,
    labelled,
    legend_below,
    whole_numbers,
)

__all__ = ["run"]

NAME = "Theorem 3.3"
_ROUNDS = 200
_MEDIAN = 43
LAWS = {
    "P of the paper": PAPER_P,
    "Q of the paper": PAPER_Q,
    "uniform, n = 4": np.full(4, 0.25),
    "1/k, n = 20": 1 / np.arange(1, 21) / (1 / np.arange(1, 21)).sum(),
    "(0.9, 0.1)": np.array([0.9, 0.1]),
}


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, theorem_3_3.csv and theorem_3_3.png."""
    rng = generator(seed, "theorem 3.3")
    rows = _one_round(rng)
    seeds = max(size // 10, 5_000)
    tournaments = {name: _tournaments(p, seeds, rng) for name, p in LAWS.items()}
    for name, played in tournaments.items():
        rows.append(goodness_of_fit(NAME, f"{name}: token drawn after 10 rounds", played.counts, LAWS[name]))
        setting = f"{name}: Σp² after {_ROUNDS} rounds less its growth"
        rows.append(compare(NAME, setting, float((LAWS[name] ** 2).sum()), *played.compensated))
        setting = f"{name}: mean entropy after {_ROUNDS} rounds"
        rows.append(compare(NAME, setting, 1e-3, float(played.entropy[-1]), relation="≤"))
    settled = tournaments["P of the paper"].settled
    early, late = settled <= _MEDIAN - 1, settled <= _MEDIAN
    rows += [
        compare(
            NAME,
            f"P of the paper: settled after {_MEDIAN - 1} rounds",
            0.5,
            *mean_and_error(early),
            relation="≤",
        ),
        compare(
            NAME, f"P of the paper: settled after {_MEDIAN} rounds", 0.5, *mean_and_error(late), relation="≥"
        ),
    ]
    common = _tournaments(PAPER_P, 2_000, rng, common=True)
    setting = f"one bit for all tokens: entropy after {_ROUNDS} rounds"
    rows.append(compare(NAME, setting, 1e-3, float(common.entropy[-1]), relation="≤", control=True))
    _draw(_table(tournaments), seeds, out)
    return rows


def _one_round(rng: np.random.Generator) -> list[Row]:
    """Identities of one round, over all 64 bit vectors and 100 random laws of 6 tokens."""
    bits = np.array(list(itertools.product((0, 1), repeat=6)), dtype=np.int64)
    p = dirichlet(rng, 100, 6, 0.5)[:, None]
    after = SynthID(1)(p, TournamentBits(lambda _: bits))
    mean_gap = np.abs(after.mean(axis=1) - p[:, 0]).max()
    squares = (after**2).sum(axis=-1).mean(axis=1)
    square_gap = np.abs(squares - (p[:, 0] ** 2).sum(axis=-1) - _growth(p[:, 0])).max()
    risen = (entropy(after).mean(axis=1) - entropy(p[:, 0])).max()
    # Bits that are 1 for the first token three times out of four.
    unfair = np.where(bits[:, 0] == 1, 1.5, 0.5)[:, None] / len(bits)
    bias = np.abs((after * unfair).sum(axis=1) - p[:, 0]).max()
    setting = "one round, 100 random p, all 64 g"
    return [
        compare(NAME, f"{setting}: largest |E T_g(p) - p|", 0.0, mean_gap),
        compare(NAME, f"{setting}: growth of Σp² less its formula", 0.0, square_gap),
        compare(NAME, f"{setting}: largest rise of E Ent", 0.0, risen, relation="≤"),
        compare(NAME, "bits that favour a token: largest |E T_g(p) - p|", 0.0, bias, control=True),
    ]


def _growth(p: np.ndarray) -> np.ndarray:
    """Expected growth of sum p^2 in one round: [..., n] -> [...]."""
    squares = (p**2).sum(axis=-1)
    return (squares - 2 * (p**3).sum(axis=-1) + squares**2) / 4


class _Played:
    """What a batch of tournaments on one P left: [_ROUNDS + 1] mean entropies with errors, [seeds] rounds to
    settle (_ROUNDS + 1 for never), token counts after 10 rounds, and mean sum p^2 less its growth."""

    def __init__(self, p: np.ndarray, seeds: int):
        self.entropy = np.full(_ROUNDS + 1, float(entropy(p)))
        self.error = np.zeros(_ROUNDS + 1)
        self.settled = np.full(seeds, _ROUNDS + 1)
        self.counts = np.zeros(len(p), dtype=np.int64)
        self.compensated = (0.0, 0.0)


def _tournaments(p: np.ndarray, seeds: int, rng: np.random.Generator, *, common: bool = False) -> _Played:
    """Play _ROUNDS rounds; `common` gives all tokens the same bit."""
    played, one = _Played(p, seeds), SynthID(1)
    law, growth = np.array(spread(p, seeds)), np.zeros(seeds)
    for m in range(1, _ROUNDS + 1):
        growth += _growth(law)
        zeta = one.draw(rng, (seeds,), 1 if common else len(p))
        law = one(law, zeta)
        played.entropy[m], played.error[m] = mean_and_error(entropy(law))
        done = (law.max(axis=-1) >= 1 - SETTLED) & (played.settled > m)
        played.settled[done] = m
        if m == 10:
            token = categorical(law, open_uniform(rng, (seeds,)))
            played.counts = np.bincount(token, minlength=len(p))
    played.compensated = mean_and_error((law**2).sum(axis=-1) - growth)
    return played


def _table(tournaments: dict[str, _Played]) -> pd.DataFrame:
    """By rounds: mean entropy left with its standard error, and the share that is settled."""
    rounds = np.arange(_ROUNDS + 1)
    table = pd.DataFrame({"rounds": rounds})
    for name, played in tournaments.items():
        table[f"entropy, {name}"] = played.entropy
        table[f"entropy error, {name}"] = played.error
        table[f"settled, {name}"] = (played.settled[:, None] <= rounds).mean(axis=0)
    return table


def _draw(table: pd.DataFrame, seeds: int, out: Path) -> None:
    write_table(table, out / "theorem_3_3.csv")
    figure, axes = panels(2)
    rounds = table["rounds"]
    styles = (("blue", "-"), ("orange", "--"), ("green", "-."), ("vermilion", ":"), ("purple", "-"))
    for name, (colour, style) in zip(LAWS, styles, strict=True):
        look: dict[str, Any] = {"color": COLORS[colour], "ls": style, "label": name}
        entropy, error = table[f"entropy, {name}"], BAR * table[f"entropy error, {name}"]
        low = np.maximum(entropy - error, 1e-7)
        axes[0].fill_between(rounds, low, entropy + error, color=COLORS[colour], alpha=0.2, lw=0)
        axes[0].semilogy(rounds, entropy.where(entropy > 1e-7), **look)
        axes[1].plot(rounds, table[f"settled, {name}"], **look)
    axes[0].set_ylim(1e-6, 6)
    axes[0].set(xlabel="rounds", ylabel="mean entropy left (nats)", title="Entropy falls to 0")
    axes[1].set(
        xlabel="rounds",
        ylabel="share of tournaments settled",
        title=f"Rounds until the top mass is 1 − {SETTLED:g}",
    )
    whole_numbers(*axes)
    legend_below(figure, labelled(axes[1]), columns=3)
    finish(
        figure,
        out / "theorem_3_3.png",
        f"n as stated (paper: {len(PAPER_P)}); {seeds:,} tournaments each; 99% bands (left).",
    )
