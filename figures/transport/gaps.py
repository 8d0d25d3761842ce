"""Detection gaps of optimal-transport watermarks: which score is best in text of which predictability.

    python -m figures transport_gaps           pdf, png and csv of both figures in figures/results
    python -m figures transport_gaps --check   every reference value, beside what is computed

Two tokens of mass lambda and 1 - lambda, the worst law as predictable as that, and side information of
infinitely many values (`tradeoff.optimal_transport.gaps`): transport_gaps is the gap D against lambda, in
standard deviations of the score, with the points from which heavy tails beat Gumbel scores; transport_tails,
as Figure C.5 of "HeavyWater and SimplexWater", the integral of the difference of two scores beyond a
threshold.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from figures.reference import Reference, print_references
from figures.transport.solvers import MANY_TOKENS, solver_rows
from tradeoff.decoders import SimplexScores
from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.laws import entropy
from tradeoff.optimal_transport import (
    GUMBEL_DEVIATION,
    LAWS,
    Exact,
    binary_gap,
    crossing,
    detection_gap,
    estimated_gap,
    gumbel_sampling_gap,
    pair_frequencies,
    seeded_table,
    simplex_gap,
    two_atom_gap,
    worst_pair_gap,
    zero_word_gap,
)
from tradeoff.plotting import (
    COLORS,
    WIDTH,
    Axes,
    Figure,
    Look,
    add_note,
    label_ends,
    new_figure,
    save_figure,
    watermark_look,
)

__all__ = ["CROSSINGS", "GAPS", "compute", "compute_tails", "draw", "draw_transport_gaps", "references"]

RESULTS = Path("figures/results")
DEFAULT_DRAWS = 1_000_000
#: D against lambda by score.
GAPS: dict[str, Callable[[float], float]] = {
    "fair bits (SimplexWater)": lambda lam: float(binary_gap(lam)),
    **{law.name: law.gap for law in LAWS.values()},
    "Gumbel sampling, −log(1 − U)": lambda lam: float(gumbel_sampling_gap([lam, 1 - lam])),
}
#: Scores look like the watermark that has them.
_LOOKS = dict(
    zip(
        GAPS,
        [
            watermark_look("simplexwater"),
            Look(COLORS["sky"], ":"),
            watermark_look("gumbel").varied("--").mixed("white", 0.5),
            watermark_look("heavywater"),
            watermark_look("heavywater:gamma"),
            watermark_look("gumbel"),
        ],
        strict=True,
    )
)
#: Scores that share a row of panels; Gumbel scores are in both.
_TAILS = {
    "light tails": ("fair bits (SimplexWater)", LAWS["gaussian"].name, LAWS["gumbel"].name),
    "heavy tails": (
        LAWS["gumbel"].name,
        LAWS["lognormal"].name,
        LAWS["gamma"].name,
        "Gumbel sampling, −log(1 − U)",
    ),
}
#: Score laws that cross the Gumbel scores, and about where.
CROSSINGS = {"gamma": 0.89, "lognormal": 0.92}
_LAMBDAS = (0.75, 0.9, 0.95, 0.99)
#: D at these lambda. Printed to three digits elsewhere, where three are rounded wrongly: Gumbel at .75 and .9
#: (.439, .254), whose D is the entropy of lambda times sqrt(6)/pi = .43845 and .25347, and log-normal at .95
#: (.170), which two quadratures put at .16949.
_TABLE = {
    "fair bits (SimplexWater)": (0.500, 0.200, 0.100, 0.020),
    "Gumbel": (0.438, 0.253, 0.155, 0.044),
    "log-normal(0, 1)": (0.350, 0.242, 0.169, 0.064),
    "gamma(0.2, 1)": (0.342, 0.259, 0.183, 0.065),
    "Gumbel sampling, −log(1 − U)": (0.417, 0.255, 0.162, 0.048),
}


def compute(points: int = 97) -> pd.DataFrame:
    """D by score: columns score, lambda (`points` values, denser towards 1), gap.

    Raises:
        ValueError: for fewer than 2 points.
    """
    if points < 2:
        raise ValueError(f"points={points} must be at least 2, for a line; 97 is usual")
    grid = 1 - np.geomspace(0.5, 0.002, points)
    records = [(name, lam, gap(lam)) for name, gap in GAPS.items() for lam in grid.tolist()]
    return pd.DataFrame(records, columns=["score", "lambda", "gap"])


def compute_tails(points: int = 161) -> pd.DataFrame:
    """E[Delta; Delta > t] by score law: columns score, threshold (deviations), integral, exceedance.

    Raises:
        ValueError: for fewer than 2 points.
    """
    if points < 2:
        raise ValueError(f"points={points} must be at least 2, for a line; 161 is usual")
    t = np.linspace(0, 8, points)
    above = (t < 2) / 4
    parts = [("fair bits (SimplexWater)", 2 * above, above)]
    parts += [(law.name, law.tail_integral(t), law.exceedance(t)) for law in LAWS.values()]
    tables = [
        pd.DataFrame({"score": name, "threshold": t, "integral": integral, "exceedance": exceedance})
        for name, integral, exceedance in parts
    ]
    return pd.concat(tables, ignore_index=True)


def references(draws: int = DEFAULT_DRAWS, seed: int = 0) -> list[Reference]:
    """Every reference value: closed forms against exact transport, tail integrals, simulations, solvers.

    Args:
        draws: values of side information of the simulated gaps.
        seed: of their generator.

    Raises:
        ValueError: for fewer than 10,000 draws.
    """
    if draws < 10_000:
        raise ValueError(f"draws={draws} must be at least 10000, for a standard error in the tail")
    rng = np.random.default_rng(seed)
    return [*_exact_rows(rng), *_table_rows(), *_simulated_rows(draws, rng), *solver_rows(rng)]


def _gap(p: np.ndarray, scores: np.ndarray) -> float:
    return detection_gap(p, scores, Exact()(p, scores))


def _exact_rows(rng: np.random.Generator) -> list[Reference]:
    """Formulas against exact transport, which is the linear programme solved by network simplex."""
    off, equal = [], []
    for index in range(200):
        lam, k = float(rng.uniform(0.5, 1)), int(rng.integers(2, 13))
        code = (rng.random((2, k)) < rng.random((2, 1))).astype(float)
        if index % 2:
            code[1] = rng.permutation(code[0])
            distance = float(np.abs(code[0] - code[1]).sum())
            equal.append(min(1 - lam, distance / (2 * k)) - _gap(np.array([lam, 1 - lam]), code))
        a = pair_frequencies(code)
        off.append(float(two_atom_gap(lam, a[0, 1], a[1, 0])) - _gap(np.array([lam, 1 - lam]), code))
    rows = [
        Reference("two atoms, 200 pairs of words: D - transport's", float(np.abs(off).max()), 0, 1e-9),
        Reference("  of equal weight: min(1-λ, d/2k) - transport's", float(np.abs(equal).max()), 0, 1e-9),
    ]
    for lam, r in itertools.product((0.6, 0.9), (2, 3, 5)):
        k = 2**r - 1
        code = SimplexScores(r).rows(np.arange(k), seeded_table(0))
        zero = np.concatenate([np.zeros((1, k)), code])
        p, corner = np.zeros(k), np.zeros(k + 1)
        p[[0, 1]] = corner[[0, 1]] = lam, 1 - lam
        rows += [
            Reference(f"simplex code, k = {k}, λ = {lam:g}", _gap(p, code), float(simplex_gap(lam, k)), 1e-9),
            Reference("  with its zero word", _gap(corner, zero), float(zero_word_gap(lam, k + 1)), 1e-9),
        ]
    codes = np.array(list(itertools.product([0, 1], repeat=12))).reshape(-1, 4, 3)
    for lam in (0.6, 0.9):
        best = float(worst_pair_gap(lam, codes).max())
        rows.append(Reference(f"best of all codes, m = 4, k = 3, λ = {lam:g}", best, (1 - lam) / 3, 1e-9))
    return rows


def _table_rows() -> list[Reference]:
    rows = [
        Reference(f"{name}, λ = {lam:g}", GAPS[name](lam), value, 5e-4)
        for name, values in _TABLE.items()
        for lam, value in zip(_LAMBDAS, values, strict=True)
    ]
    for lam in _LAMBDAS:
        raw = LAWS["gumbel"].gap(lam) * GUMBEL_DEVIATION
        h = float(entropy(np.array([lam, 1 - lam])))
        rows.append(Reference(f"Gumbel, unscaled, λ = {lam:g}: H(P)", raw, h, 1e-9))
    for name, where in CROSSINGS.items():
        at = crossing(LAWS[name].gap, LAWS["gumbel"].gap, 0.7, 0.99)
        rows.append(Reference(f"{LAWS[name].name} overtakes Gumbel at λ", at, where, 5e-3))
    return rows


def _simulated_rows(draws: int, rng: np.random.Generator) -> list[Reference]:
    """Exact transport of simulated scores, and Gumbel sampling, against the tail integrals."""
    samples: dict[str, Callable[[], np.ndarray]] = {
        "gaussian": lambda: rng.normal(size=draws),
        "gumbel": lambda: rng.gumbel(size=draws),
        "lognormal": lambda: rng.lognormal(size=draws),
        "gamma": lambda: rng.standard_gamma(0.2, size=draws),
    }
    rows = []
    for name, law in LAWS.items():
        heavy, light = samples[name]() / law.deviation, samples[name]() / law.deviation
        for lam in _LAMBDAS:
            found = estimated_gap(lam, heavy, light)
            rows.append(_within(f"{law.name}, λ = {lam:g}", found.value, law.gap(lam), found.standard_error))
    heavy, light = rng.integers(0, 2, (2, draws)) / 0.5
    # At 3/4 two of the formula's three terms are equal, and an estimate is no longer normal.
    for lam in _LAMBDAS[1:]:
        found = estimated_gap(lam, heavy, light)
        rows.append(
            _within(f"fair bits, λ = {lam:g}", found.value, float(binary_gap(lam)), found.standard_error)
        )
    for lam in _LAMBDAS:
        p = np.array([lam, 1 - lam])
        u = rng.random((draws, 2))
        winner = np.argmin(-np.log1p(-u) / p, axis=-1)
        statistic = -np.log(np.take_along_axis(u, winner[:, None], axis=-1)) - 1
        error = float(statistic.std()) / math.sqrt(draws)
        gap = float(gumbel_sampling_gap(p))
        rows.append(_within(f"Gumbel sampling, λ = {lam:g}", float(statistic.mean()), gap, error))
    p = MANY_TOKENS
    scores = rng.gumbel(size=(draws // 10, len(p)))
    best = np.argmax(scores + np.log(p), axis=-1)
    own = np.take_along_axis(scores, best[:, None], axis=-1) - np.euler_gamma
    error = float(own.std()) / math.sqrt(len(own))
    rows.append(_within("argmax(f + log P), 16 tokens: H(P)", float(own.mean()), float(entropy(p)), error))
    return rows


def _within(name: str, value: float, reference: float, error: float) -> Reference:
    return Reference(f"{name}, simulated", value, reference, 4 * error, error)


def draw_transport_gaps(out: Path = RESULTS) -> list[Path]:
    """Compute and draw both figures.

    Args:
        out: folder for the pdf, png and csv.

    Returns:
        The files written.

    Raises:
        FileError: if a file cannot be written.
    """
    output_folder(out)
    gaps, tails = compute(), compute_tails()
    written = []
    for name, table, figure in (
        ("transport_gaps", gaps, _gap_figure(gaps)),
        ("transport_tails", tails, _tail_figure(gaps, tails)),
    ):
        paths = [out / f"{name}.{suffix}" for suffix in ("pdf", "png", "csv")]
        save_figure(figure, paths[:2])
        write_table(table, paths[2])
        written += paths
    return written


def _gap_figure(gaps: pd.DataFrame) -> Figure:
    figure, grid = new_figure(2, 2, size=(WIDTH, 5.6))
    gumbel = gaps.loc[gaps["score"] == "Gumbel", "gap"].to_numpy()
    for (left, right), (kind, names) in zip(grid, _TAILS.items(), strict=True):
        ends = []
        for name in names:
            part, look = gaps[gaps["score"] == name], _LOOKS[name]
            ratio = part["gap"] / gumbel
            left.plot(part["lambda"], part["gap"], lw=1.6, label=name, **look.stroke)
            right.plot(1 - part["lambda"], ratio, lw=1.6, label=name, **look.stroke)
            ends.append((float(ratio.iloc[-1]), name, look.color))
        for name, law in LAWS.items():
            if name in CROSSINGS and law.name in names:
                at, color = crossing(law.gap, LAWS["gumbel"].gap, 0.7, 0.99), _LOOKS[law.name].color
                marker = {"marker": "o", "ms": 6, "mfc": "white", "mew": 1.6, "zorder": 5, "color": color}
                left.plot(at, law.gap(at), **marker)
                right.plot(1 - at, 1, **marker)
        left.set(xlabel="λ, mass of the heavier token", ylabel="gap D (standard deviations)", ylim=(0, None))
        left.set_title(f"Detection gap, {kind}")
        right.set(xscale="log", xlabel="1 − λ", ylabel="gap / gap of Gumbel scores", ylim=(0, 2.2))
        right.set_title("Relative to Gumbel scores")
        _falling(right)
        label_ends(right, ends)
    places = " and ".join(
        f"{LAWS[name].name}: λ = {crossing(LAWS[name].gap, LAWS['gumbel'].gap, 0.7, 0.99):.3f}"
        for name in CROSSINGS
    )
    add_note(
        figure,
        "Two tokens, side information of infinitely many values; all exact. Circles: from there on heavy "
        f"tails have a larger gap than Gumbel scores ({places}).",
    )
    return figure


def _tail_figure(gaps: pd.DataFrame, tails: pd.DataFrame) -> Figure:
    figure, grid = new_figure(2, 2, size=(WIDTH, 5.6))
    for (left, right), (kind, names) in zip(grid, _TAILS.items(), strict=True):
        ends = []
        for name in [name for name in names if name in set(tails["score"])]:
            style = {**_LOOKS[name].stroke, "lw": 1.6, "label": name}
            part, quantile = tails[tails["score"] == name], gaps[gaps["score"] == name]
            left.plot(part["threshold"], part["integral"].where(part["integral"] > 0), **style)
            right.plot(1 - quantile["lambda"], quantile["gap"], **style)
            ends.append((float(quantile["gap"].iloc[-1]), name, _LOOKS[name].color))
        left.set(
            yscale="log", xlabel="threshold t (standard deviations)", ylabel="E[Δ; Δ > t]", ylim=(1e-4, 1)
        )
        left.set_title(f"Tail integral, {kind}")
        right.set(xscale="log", yscale="log", xlabel="1 − λ = P(Δ > t)", ylabel="E[Δ; Δ > t]", ylim=(2e-3, 1))
        right.set_title("Beyond a quantile: the gap")
        _falling(right)
        label_ends(right, ends)
    add_note(
        figure,
        "Δ is the difference of two independent scores of variance 1; all exact. For fair bits Δ has an atom "
        "at 2, of which the quantile takes a part.",
    )
    return figure


def _falling(right: Axes) -> None:
    """The axis of 1 - lambda, falling: the more predictable the further right."""
    right.set_xticks([0.5, 0.1, 0.02, 0.005])
    right.set_xticks([], minor=True)
    right.xaxis.set_major_formatter("{x:g}")
    right.set_xlim(0.55, 0.0018)


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    draws: Annotated[
        int, typer.Option(help="Simulated values of side information, for --check.")
    ] = DEFAULT_DRAWS,
    seed: Annotated[int, typer.Option(help="Seed of their generator.")] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Print every reference value and exit 1 if one is missed.")
    ] = False,
) -> None:
    """Draw the detection gaps of transport watermarks, or check their reference values."""
    with exit_on_bad_input():
        if check:
            raise typer.Exit(0 if print_references(stdout(), references(draws, seed)) else 1)
        print_written(stdout(), draw_transport_gaps(out))
