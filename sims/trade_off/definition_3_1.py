"""Definition 3.1: watermark strength is one number, computed in three ways.

Statement: for an unbiased decoder, E_zeta KL(P_zeta || P) = Ent(P) - E_zeta Ent(P_zeta) = I(w; zeta).

Assumption: unbiasedness, E_zeta P_zeta = P.

Prediction: for SynthID with m rounds over three tokens zeta has 2^(3m) values, so that the strength is a
finite sum; expected KL, entropy drop and the mutual information of simulated pairs (w, zeta) all equal it.
The last is the plug-in estimate, from counts alone, with Miller and Madow's correction for its bias.

Control: a biased decoder, which first sharpens P to P^2 / sum P^2. The three then differ.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, finish, generator, panels, spread
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.curves import PAPER_P
from tradeoff.decoders import SynthID, TournamentBits
from tradeoff.files import write_table
from tradeoff.kernels import open_uniform
from tradeoff.laws import categorical, entropy, kl_divergence
from tradeoff.plotting import COLORS, legend_beside

__all__ = ["all_tournaments", "run"]

NAME = "Definition 3.1"
_P = np.array([0.5, 0.3, 0.2])
_ROUNDS = (1, 2, 3)


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, definition_3_1.csv and definition_3_1.png."""
    rng = generator(seed, "definition 3.1")
    rows, records = [], []
    for rounds in _ROUNDS:
        laws = all_tournaments(_P, rounds)
        strength = float(kl_divergence(laws, _P).mean())
        drop = float(entropy(_P) - entropy(laws).mean())
        kl, falls, information = _three_ways(laws, size, rng)
        setting = f"SynthID m = {rounds}, n = 3"
        rows += [
            compare(NAME, f"{setting}: entropy drop, all {len(laws)} zeta", strength, drop),
            compare(NAME, f"{setting}: expected KL, simulated", strength, *kl),
            compare(NAME, f"{setting}: entropy drop, simulated", strength, *falls),
            compare(NAME, f"{setting}: mutual information of (w, zeta)", strength, *information),
        ]
        records.append(_record(rounds, strength, kl, falls, information))
    decoder = SynthID(30)
    laws = decoder(spread(PAPER_P, size), decoder.draw(rng, (size,), len(PAPER_P)))
    gap = kl_divergence(laws, PAPER_P) - (entropy(PAPER_P) - entropy(laws))
    rows.append(
        compare(NAME, "SynthID m = 30, P of the paper: KL less entropy drop", 0.0, *mean_and_error(gap))
    )
    biased = all_tournaments(_P**2 / (_P**2).sum(), 2)
    kl_biased = float(kl_divergence(biased, _P).mean())
    drop = float(entropy(_P) - entropy(biased).mean())
    information = _three_ways(biased, size, rng)[2]
    what = "biased decoder (P sharpened), m = 2"
    rows += [
        compare(NAME, f"{what}: entropy drop", kl_biased, drop, control=True),
        compare(NAME, f"{what}: mutual information", kl_biased, *information, control=True),
    ]
    _draw(pd.DataFrame(records), size, out)
    return rows


def all_tournaments(p: np.ndarray, rounds: int) -> np.ndarray:
    """P_zeta for every zeta in {0,1}^(n rounds), all equally likely: [2^(n rounds), n]."""
    bits = np.array(list(itertools.product((0, 1), repeat=len(p) * rounds)), dtype=np.int64)
    bits = bits.reshape(-1, rounds, len(p))
    word = (bits << np.arange(rounds)[:, None]).sum(axis=1)
    return SynthID(rounds)(spread(p, len(word)), TournamentBits(lambda _: word))


def _three_ways(
    laws: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Simulated expected KL, entropy drop, and plug-in mutual information, each with its standard error."""
    zeta = rng.integers(len(laws), size=size)
    drawn = laws[zeta]
    token = categorical(drawn, open_uniform(rng, (size,)))
    counts = np.bincount(zeta * laws.shape[1] + token, minlength=laws.size).reshape(laws.shape)
    joint = counts / size
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.log(joint / joint.sum(axis=0) / joint.sum(axis=1, keepdims=True))
    density = np.where(counts > 0, density, 0.0)
    seen = (counts > 0).sum() - (counts.sum(axis=0) > 0).sum() - (counts.sum(axis=1) > 0).sum() + 1
    plug_in = float((joint * density).sum())
    error = math.sqrt(max(float((joint * density**2).sum()) - plug_in**2, 0.0) / size)
    return (
        mean_and_error(kl_divergence(drawn, _P)),
        mean_and_error(entropy(_P) - entropy(drawn)),
        (plug_in - seen / (2 * size), error),
    )


def _record(rounds: int, strength: float, *ways: tuple[float, float]) -> dict[str, float]:
    record: dict[str, float] = {"rounds": rounds, "exact": strength}
    for name, (value, error) in zip(("kl", "entropy_drop", "information"), ways, strict=True):
        record |= {name: value, f"{name}_error": error}
    return record


def _draw(table: pd.DataFrame, size: int, out: Path) -> None:
    write_table(table, out / "definition_3_1.csv")
    figure, (axis,) = panels(height=3.4)
    styles = (
        ("kl", "E KL(Pζ ‖ P)", "o", "blue"),
        ("entropy_drop", "Ent(P) − E Ent(Pζ)", "s", "orange"),
        ("information", "plug-in I(w; ζ)", "D", "green"),
    )
    for k, (name, label, mark, colour) in enumerate(styles):
        axis.errorbar(
            table["rounds"] + 0.12 * (k - 1),
            table[name] - table["exact"],
            BAR * table[f"{name}_error"],
            fmt=mark,
            ms=5,
            capsize=3,
            color=COLORS[colour],
            label=label,
        )
    axis.axhline(0, color=COLORS["black"], lw=1)
    axis.set_xticks(_ROUNDS)
    axis.set(xlabel="rounds m", ylabel="estimate − exact strength (nats)", title="Strength in three ways")
    legend_beside(axis)
    finish(figure, out / "definition_3_1.png", f"SynthID, n = 3; {size:,} seeds; 99% bars.")
