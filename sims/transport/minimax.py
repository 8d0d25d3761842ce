"""HeavyWater, Theorem 2: the simplex code has the largest worst-case gap among binary codes.

Statement: over binary codes of m words and k values of side information, the least D over {P: max P <= λ} is
largest for the simplex code. Without its zero word (m <= k = 2^r - 1) that is min(1-λ, (k+1)/(4k)); with it
(m = k + 1) the worst pair has (1-λ)(m-2)/(2(m-1)).

Assumption: λ >= 1/2. D by the formula of Proposition 1, which is checked there against linear programmes.

Prediction: among all 512 codes of 3 words and all 170,544 of 4 words at k = 7 (up to the order of the side
information) the best has the value of the simplex code without its zero word, and so has the code itself.
Among all 4,096 codes of 4 words at k = 3, where the zero word is needed, the best has the value with it.
No random code of 7 words at k = 7 does better than the simplex code. Other codes may be as good.

Controls: the code with its zero word against the value without; four words of three bits without the zero
word against the same; the worst pair with the zero word on the light token.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import finish, generator, panels
from sims.tools.rows import Row, compare
from tradeoff.decoders import SimplexScores
from tradeoff.files import write_table
from tradeoff.optimal_transport import seeded_table, simplex_gap, two_atom_gap, worst_pair_gap, zero_word_gap
from tradeoff.plotting import (
    COLORS,
    labelled,
    legend_below,
)

__all__ = ["run"]

NAME = "HeavyWater: Theorem 2"
_LAMBDAS = np.array([0.5, 0.6, 0.75, 0.9, 0.95])


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, transport_minimax.csv and transport_minimax.png."""
    rng = generator(seed, "transport minimax")
    small, large = (SimplexScores(r).rows(np.arange(2**r - 1), seeded_table(0)) for r in (2, 3))
    with_zero = [np.concatenate([np.zeros((1, code.shape[1])), code]) for code in (small, large)]
    sets = {
        "3 words, k = 3": (_all_codes(3, 3), small, simplex_gap(_LAMBDAS, 3)),
        "4 words, k = 3": (_all_codes(4, 3), with_zero[0], zero_word_gap(_LAMBDAS, 4)),
        "4 words, k = 7": (_codes_up_to_order(4, 7), large[:4], simplex_gap(_LAMBDAS, 7)),
    }
    parts, rows = [], []
    for name, (codes, simplex, value) in sets.items():
        worst = np.array([worst_pair_gap(lam, codes) for lam in _LAMBDAS])
        own = np.array([float(worst_pair_gap(lam, simplex)) for lam in _LAMBDAS])
        best = worst.max(axis=1)
        setting = f"{name}, all {len(codes):,} codes, {len(_LAMBDAS)} λ"
        rows += [
            compare(NAME, f"{setting}: largest |best worst D - formula|", 0.0, np.abs(best - value).max()),
            compare(
                NAME, f"{name}: largest |simplex code's worst D - formula|", 0.0, np.abs(own - value).max()
            ),
        ]
        parts.append(
            pd.DataFrame(
                {
                    "codes": name,
                    "lambda": _LAMBDAS,
                    "best": best,
                    "simplex": own,
                    "formula": value,
                    "mean": worst.mean(axis=1),
                    "as_good": (worst > best[:, None] - 1e-12).sum(axis=1),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    random = rng.integers(0, 2, (min(size, 100_000), 7, 7))
    worst = np.array([worst_pair_gap(lam, random) for lam in _LAMBDAS])
    bound = simplex_gap(_LAMBDAS, 7)
    unlike = np.array([float(worst_pair_gap(lam, with_zero[1])) for lam in _LAMBDAS])
    light = np.array([float(two_atom_gap(lam, 4 / 7, 0.0)) for lam in _LAMBDAS])
    four = table.loc[table["codes"] == "4 words, k = 3", "best"].to_numpy()
    rows += [
        compare(
            NAME,
            f"{len(random):,} random codes of 7 words, k = 7: largest worst D - formula",
            0.0,
            (worst - bound[:, None]).max(),
            relation="≤",
        ),
        compare(
            NAME,
            "8 words, k = 7, zero word included: largest |worst D - formula with it|",
            0.0,
            np.abs(unlike - zero_word_gap(_LAMBDAS, 8)).max(),
        ),
        compare(
            NAME,
            "zero word included, against the formula without: least worst D - formula",
            0.0,
            (unlike - bound).min(),
            relation="≥",
            control=True,
        ),
        compare(
            NAME,
            "best of 4 words, k = 3, against the formula without the zero word: least difference",
            0.0,
            (four - simplex_gap(_LAMBDAS, 3)).min(),
            relation="≥",
            control=True,
        ),
        compare(
            NAME,
            "zero word on the light token: largest |D - formula with it|",
            0.0,
            np.abs(light - zero_word_gap(_LAMBDAS, 8)).max(),
            control=True,
        ),
    ]
    _draw(table, random.shape[0], float(worst.max(axis=1)[0]), out)
    return rows


def _all_codes(m: int, k: int) -> np.ndarray:
    """Every code of m words of k bits, [2^(m k), m, k]."""
    return np.array(list(itertools.product([0, 1], repeat=m * k))).reshape(-1, m, k)


def _codes_up_to_order(m: int, k: int) -> np.ndarray:
    """Every code up to the order of the side information, which D does not depend on: [codes, m, k]."""
    columns = np.array(list(itertools.product([0, 1], repeat=m)), dtype=np.int8)
    chosen = np.array(list(itertools.combinations_with_replacement(range(len(columns)), k)))
    return np.swapaxes(columns[chosen], 1, 2)


def _draw(table: pd.DataFrame, tried: int, best: float, out: Path) -> None:
    write_table(table, out / "transport_minimax.csv")
    figure, axes = panels(3, height=3.2)
    for panel, (name, part) in zip(axes, table.groupby("codes"), strict=True):
        panel.plot(part["lambda"], part["formula"], color=COLORS["black"], lw=1.2, label="formula")
        panel.plot(
            part["lambda"], part["best"], "o", ms=8, mfc="none", color=COLORS["vermilion"], label="best code"
        )
        panel.plot(part["lambda"], part["simplex"], ".", ms=7, color=COLORS["blue"], label="simplex code")
        panel.plot(part["lambda"], part["mean"], ":", color=COLORS["grey"], label="mean of all codes")
        panel.set(
            xlabel="λ",
            ylabel="least D over max P ≤ λ" if panel is axes[0] else "",
            title=name.replace("4 words, k = 3", "4 words, k = 3,\nzero word included"),
            ylim=(0, None),
        )
    legend_below(figure, labelled(axes[0]), columns=4)
    finish(
        figure,
        out / "transport_minimax.png",
        "All binary codes of a size by the formula of Proposition 1, at k = 7 up to the order of the side "
        f"information. Best of {tried:,} random codes of 7 words at λ = {_LAMBDAS[0]:g}: {best:.4f}.",
    )
