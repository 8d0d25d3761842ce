"""HeavyWater, Proposition 1: the gap of two atoms, and that no law as predictable does worse.

Statement: for binary scores, a token of mass λ >= 1/2 and one other, D = min{(1-λ)(1+a-b), (1-λ)a + λb,
λ(1-a+b)}, a and b the shares of side information with (f_heavy, f_light) = (1, 0) and (0, 1); words of equal
weight have min(1-λ, d_H/(2k)). D is concave in P; over {P: max P <= λ} it is least for two atoms.

Assumption: side information uniform on k values, λ >= 1/2, binary scores (concavity: any scores).

Prediction: the formula is the optimum of the linear programme (HiGHS) for random words, and so is the
library's transport. Random laws with max P <= λ, near the corners and far from them, have no smaller D than
the worst pair, which the corners reach.

Controls: the formula with a and b exchanged; the distance alone, (1-λ) d_H/k and min(1-λ, d_H/(2k)), for
words of any weight; laws whose largest mass exceeds λ.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linprog

from sims.tools.common import dirichlet, finish, generator, panels
from sims.tools.rows import Row, compare
from tradeoff.files import write_table
from tradeoff.optimal_transport import (
    Exact,
    detection_gap,
    equal_weight_gap,
    pair_frequencies,
    two_atom_gap,
    worst_pair_gap,
)
from tradeoff.plotting import COLORS

__all__ = ["run"]

NAME = "HeavyWater: Proposition 1"
#: Tokens and values of side information of the codes that whole sets of laws are tried on.
_M, _K, _CODES = 5, 8, 8


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, transport_two_atoms.csv and transport_two_atoms.png."""
    rng = generator(seed, "transport two atoms")
    pairs = _pairs(min(max(size // 1_000, 100), 400), rng)
    tried = _laws(min(max(size // 1_000, 100), 400), rng)
    even = pairs[pairs["equal_weight"]]
    inside, outside = tried[tried["inside"]], tried[~tried["inside"]]
    corners = inside[inside["corner"]].groupby("code")
    words = f"{len(pairs)} random pairs of words, k = 2 to 12"
    laws = f"{len(inside):,} laws with max P <= λ, {_CODES} codes of {_M} words"

    def off(column: str, table: pd.DataFrame = pairs) -> float:
        return float((table[column] - table["programme"]).abs().max())

    rows = [
        compare(NAME, f"{words}: largest |formula - linear programme|", 0.0, off("formula")),
        compare(NAME, f"{words}: largest |library's transport - programme|", 0.0, off("library")),
        compare(
            NAME,
            f"{len(even)} pairs of equal weight: largest |min(1-λ, d/2k) - programme|",
            0.0,
            off("distance", even),
        ),
        compare(NAME, f"{laws}: least D - D of the worst pair", 0.0, inside["excess"].min(), relation="≥"),
        compare(
            NAME,
            "their corners: largest |least D - D of the worst pair|",
            0.0,
            corners["excess"].min().abs().max(),
        ),
        compare(
            NAME,
            "concavity, 200 pairs of laws, log-normal scores: least D(mean) - mean D",
            0.0,
            _concavity(200, rng),
            relation="≥",
        ),
    ]
    rows += [
        compare(NAME, f"{what}: largest |formula - programme|", 0.0, off(column), control=True)
        for what, column in (
            ("a and b exchanged", "exchanged"),
            ("(1-λ) d/k", "twice_the_distance"),
            ("min(1-λ, d/2k) for any weights", "distance"),
        )
    ]
    rows.append(
        compare(
            NAME,
            "laws with a larger mass than λ: least D - D of the worst pair",
            0.0,
            outside["excess"].min(),
            relation="≥",
            control=True,
        )
    )
    _draw(pairs, tried, out)
    return rows


def _programme(p: np.ndarray, scores: np.ndarray) -> float:
    """max E_pi f - E_{P x Unif} f over couplings."""
    m, k = scores.shape
    solution = linprog(
        -scores.ravel(),
        A_eq=np.concatenate([np.kron(np.eye(m), np.ones(k)), np.kron(np.ones(m), np.eye(k))]),
        b_eq=np.concatenate([p, np.full(k, 1 / k)]),
        method="highs-ds",
    )
    return -float(solution.fun) - float(p @ scores.mean(axis=-1))


def _gap(p: np.ndarray, scores: np.ndarray) -> float:
    return detection_gap(p, scores, Exact()(p, scores))


def _pairs(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Random λ and pairs of words: D by every way of finding it. A third of the pairs have equal weight."""
    records = []
    for index in range(count):
        k, lam = int(rng.integers(2, 13)), float(rng.uniform(0.5, 1))
        code = (rng.random((2, k)) < rng.random((2, 1))).astype(float)
        if index % 3 == 0:
            code[1] = rng.permutation(code[0])
        p, distance = np.array([lam, 1 - lam]), float(np.abs(code[0] - code[1]).sum())
        shares = pair_frequencies(code)
        a, b = shares[0, 1], shares[1, 0]
        records.append(
            {
                "k": k,
                "lambda": lam,
                "equal_weight": code[0].sum() == code[1].sum(),
                "programme": _programme(p, code),
                "library": _gap(p, code),
                "formula": float(two_atom_gap(lam, a, b)),
                "exchanged": float(two_atom_gap(lam, b, a)),
                "distance": float(equal_weight_gap(lam, distance, k)),
                "twice_the_distance": (1 - lam) * distance / k,
            }
        )
    return pd.DataFrame(records)


def _laws(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """For random codes and λ: laws, their largest mass and D less that of the worst pair.

    All corners of {max P <= λ}, mixtures of them with random laws in it, and corners of a larger λ.
    """
    records = []
    for code_index in range(_CODES):
        code, lam = rng.integers(0, 2, (_M, _K)).astype(float), float(rng.uniform(0.6, 0.9))
        worst = float(worst_pair_gap(lam, code))
        corner = _corners(lam)
        random = dirichlet(rng, count, _M, 0.3)
        # Towards the uniform law until no mass exceeds λ.
        shrink = np.minimum(1.0, (lam - 1 / _M) / (random.max(axis=-1) - 1 / _M))
        random = 1 / _M + shrink[:, None] * (random - 1 / _M)
        share = rng.random((count, 1)) ** 3
        mixed = (1 - share) * corner[rng.integers(len(corner), size=count)] + share * random
        for p, at_corner in [(p, True) for p in (*corner, *_corners((1 + lam) / 2))] + [
            (p, False) for p in mixed
        ]:
            largest = float(p.max())
            records.append(
                (code_index, lam, largest, at_corner, largest <= lam + 1e-12, _gap(p, code) - worst)
            )
    return pd.DataFrame(records, columns=["code", "lambda", "largest", "corner", "inside", "excess"])


def _corners(lam: float) -> np.ndarray:
    """The corners of {P: max P <= λ}: λ on one token and the rest on another."""
    heavy, light = np.nonzero(~np.eye(_M, dtype=bool))
    return lam * np.eye(_M)[heavy] + (1 - lam) * np.eye(_M)[light]


def _concavity(count: int, rng: np.random.Generator) -> float:
    scores = rng.lognormal(size=(count, 4, 12))
    p, q = dirichlet(rng, count, 4, 0.5), dirichlet(rng, count, 4, 0.5)
    return min(
        _gap((p[i] + q[i]) / 2, scores[i]) - (_gap(p[i], scores[i]) + _gap(q[i], scores[i])) / 2
        for i in range(count)
    )


def _draw(pairs: pd.DataFrame, tried: pd.DataFrame, out: Path) -> None:
    table = pd.concat([pairs.assign(part="pairs"), tried.assign(part="laws")], ignore_index=True)
    write_table(table, out / "transport_two_atoms.csv")
    figure, axes = panels(2)
    axes[0].plot([0, 0.5], [0, 0.5], color=COLORS["black"], lw=1)
    axes[0].plot(
        pairs["programme"], pairs["exchanged"], "x", ms=5, color=COLORS["orange"], label="a and b exchanged"
    )
    axes[0].plot(pairs["programme"], pairs["formula"], ".", ms=5, color=COLORS["blue"], label="formula")
    axes[0].set(xlabel="D, linear programme", ylabel="D, formula", title="Two atoms, binary scores")
    axes[0].legend(loc="upper left")
    for inside, color, label in ((True, "green", "max P ≤ λ"), (False, "purple", "max P > λ")):
        part = tried[tried["inside"] == inside]
        axes[1].plot(
            part["largest"] - part["lambda"], part["excess"], ".", ms=3, color=COLORS[color], label=label
        )
    axes[1].axhline(0, color=COLORS["black"], lw=1)
    axes[1].set(xlabel="max P − λ", ylabel="D − D of the worst pair", title="Two atoms are the worst law")
    axes[1].legend(loc="upper right")
    finish(
        figure,
        out / "transport_two_atoms.png",
        f"Left: {len(pairs)} pairs of words, k = 2 to 12. Right: {len(tried):,} laws, {_CODES} codes of {_M} "
        f"words, k = {_K}; all values exact.",
    )
