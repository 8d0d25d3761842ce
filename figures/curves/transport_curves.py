"""Trade-off curves of transport watermarks and of completed ones, on the paper's P and Q.

    python -m figures transport_curves      pdf, png and csv in figures/results

Every class of `tradeoff.curves.families`, in four groups:

- SimplexWater and HeavyWater on both sides, beside Gumbel-max;
- different decoders for target and draft. Two decoders that read side information of one k share it, others
  are driven independently, and then their tokens agree by chance only;
- SynthID of finitely many rounds, plain and completed;
- SimplexWater and HeavyWater by Sinkhorn's iterations, which leave much to true randomness, plain and
  completed, and by exact transport, completed.

Transport decoders have k values of side information. All are gone through, those of the residual's key too,
and the curves are exact. What reads a race beside them, or tournament bits, is simulated; its standard errors
are in the csv.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from tradeoff.curves import (
    CLASSES,
    DEFAULT_SEEDS,
    PAPER_P,
    PAPER_Q,
    Curve,
    Setting,
    curve,
    draw_curve,
    draw_points,
    style_axes,
)
from tradeoff.decoders import Completed, Decoder, GumbelMax, SynthID, heavy_water, simplex_water
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.laws import entropy, overlap
from tradeoff.optimal_transport import Sinkhorn
from tradeoff.plotting import COLORS, Figure, Line2D, new_figure, save_figure

__all__ = ["GROUPS", "Pair", "compute", "curves_table", "draw", "draw_transport_curves"]

RESULTS = Path("figures/results")
GAMMA = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Pair:
    """A decoder for each side, and how its curves are drawn."""

    target: Decoder
    draft: Decoder
    label: str
    color: str


def _both(decoder: Decoder, label: str, color: str) -> Pair:
    return Pair(decoder, decoder, label, color)


_GUMBEL = _both(GumbelMax(), "Gumbel-max", "black")
_HEAVY, _SIMPLEX = heavy_water(), simplex_water(8)
GROUPS: dict[str, tuple[Pair, ...]] = {
    "one decoder": (
        _GUMBEL,
        _both(_HEAVY, "HeavyWater, log-normal,\nk = 1024", "vermilion"),
        _both(_SIMPLEX, "SimplexWater, r = 8", "blue"),
        _both(simplex_water(4), "SimplexWater, r = 4", "sky"),
    ),
    "two decoders": (
        Pair(
            _HEAVY,
            heavy_water("gamma"),
            "HeavyWater log-normal | gamma,\none s (k = 1024)",
            "vermilion",
        ),
        Pair(
            heavy_water(k=_SIMPLEX.scores.k),
            _SIMPLEX,
            "HeavyWater | SimplexWater,\none s (k = 255)",
            "blue",
        ),
        Pair(_HEAVY, GumbelMax(), "HeavyWater | Gumbel-max,\nindependent", "orange"),
        Pair(GumbelMax(), _SIMPLEX, "Gumbel-max | SimplexWater r = 8,\nindependent", "black"),
    ),
    "SynthID, completed": (
        _both(SynthID(5), "m = 5", "sky"),
        _both(Completed(SynthID(5)), "m = 5, completed", "blue"),
        _both(SynthID(30), "m = 30", "orange"),
        _both(Completed(SynthID(30)), "m = 30, completed", "vermilion"),
    ),
    "transport, completed": (
        _both(heavy_water(solver=Sinkhorn()), "HeavyWater, Sinkhorn", "orange"),
        _both(Completed(heavy_water(solver=Sinkhorn())), "HeavyWater, Sinkhorn,\ncompleted", "vermilion"),
        _both(Completed(_HEAVY), "HeavyWater, exact,\ncompleted", "purple"),
        _both(simplex_water(8, solver=Sinkhorn()), "SimplexWater, Sinkhorn", "sky"),
        _both(Completed(simplex_water(8, solver=Sinkhorn())), "SimplexWater, Sinkhorn,\ncompleted", "blue"),
        _both(Completed(_SIMPLEX), "SimplexWater, exact,\ncompleted", "green"),
    ),
}
_TITLES = {
    "one decoder": "the same decoder on both sides",
    "two decoders": "target | draft",
    "SynthID, completed": "SynthID, plain and completed",
    "transport, completed": "transport, plain and completed",
}
#: The classes of every column of panels, with their lines.
_COLUMNS = {
    "Linear class and time sharing": {"time-sharing": ":", "linear": "-"},
    "Hu's and Google's classes": {"hu": "-", "google": "--"},
}
#: (group, label of the pair, class) -> curve.
Curves = dict[tuple[str, str, str], Curve]


def compute(
    p: np.ndarray,
    q: np.ndarray,
    *,
    gamma: np.ndarray = GAMMA,
    seeds: int = DEFAULT_SEEDS,
    seed: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> Curves:
    """All curves of all groups for one pair (P, Q).

    Args:
        p, q: target and draft [n].
        gamma: [points], in [0, 1].
        seeds, seed: Monte Carlo seeds where zeta has too many values, and the seed of their generator.
        report: called with what is being computed.
    """
    # Some pairs are in two groups.
    known: dict[tuple[Decoder, Decoder], dict[str, Curve]] = {}
    curves: Curves = {}
    for group, pairs in GROUPS.items():
        for pair in pairs:
            both = (pair.target, pair.draft)
            if both not in known:
                report(pair.label.replace("\n", " "))
                setting = Setting(p, q, *both, seeds, seed)
                known[both] = {family: curve(family, setting, gamma) for family in CLASSES}
            curves |= {(group, pair.label, family): c for family, c in known[both].items()}
    return curves


def curves_table(curves: Curves) -> pd.DataFrame:
    """Every point of every curve: one row each."""
    decoders = {(group, pair.label): pair for group, pairs in GROUPS.items() for pair in pairs}
    tables = []
    for (group, label, family), c in curves.items():
        pair = decoders[group, label]
        names = {"group": group, "class": family, "target": pair.target.name, "draft": pair.draft.name}
        tables.append(c.table().assign(**names))
    table = pd.concat(tables, ignore_index=True)
    first = ["group", "class", "target", "draft"]
    return table[[*first, *[column for column in table.columns if column not in first]]]


def draw_transport_curves(
    out: Path = RESULTS, *, seeds: int = DEFAULT_SEEDS, seed: int = 0, gamma: np.ndarray = GAMMA
) -> list[Path]:
    """Compute and draw the figure on the paper's P and Q.

    Args:
        out: folder for the pdf, png and csv.
        seeds, seed: Monte Carlo seeds where zeta has too many values, and the seed of their generator.
        gamma: [points], in [0, 1].

    Returns:
        The files written.

    Raises:
        FileError: if a file cannot be written.
        ValueError: if there are fewer than 4 seeds.
    """
    output_folder(out)
    spinner = (SpinnerColumn(), Words(), TimeElapsedColumn())
    with Progress(*spinner, console=stderr(), transient=True) as progress:
        task = progress.add_task("curves", total=None)

        def report(what: str) -> None:
            progress.update(task, description=what)

        curves = compute(PAPER_P, PAPER_Q, gamma=gamma, seeds=seeds, seed=seed, report=report)
    written = [out / f"transport_curves.{suffix}" for suffix in ("pdf", "png", "csv")]
    save_figure(_figure(curves, seeds), written[:2])
    write_table(curves_table(curves), written[2])
    return written


def _figure(curves: Curves, seeds: int) -> Figure:
    sse, most = float(overlap(PAPER_P, PAPER_Q)), float(entropy(PAPER_P))
    figure, grid = new_figure(len(GROUPS), len(_COLUMNS), size=(13.2, 3.5 * len(GROUPS) + 1.4))
    for row, (group, pairs) in zip(grid, GROUPS.items(), strict=True):
        for axes, (column, families) in zip(row, _COLUMNS.items(), strict=True):
            for pair in pairs:
                for family, style in families.items():
                    c = curves[group, pair.label, family]
                    draw_curve(axes, c, color=COLORS[pair.color], label="_", style=style)
                full = curves[group, pair.label, next(iter(families))]
                end = {"marker": "o", "color": COLORS[pair.color], "label": "_"}
                draw_points(axes, full.efficiency[-1:], full.strength[-1:], **end)
            draw_points(axes, [sse], [0], marker="x", color=COLORS["black"], label="_")
            draw_points(axes, [sse], [most], marker="*", color=COLORS["purple"], label="_")
            style_axes(axes, f"{column}: {_TITLES[group]}")
            axes.set_ylim(-0.06 * most, 1.09 * most)
        row[-1].set_ylabel("")
        lines = [Line2D([], [], color=COLORS[pair.color], lw=2.4, label=pair.label) for pair in pairs]
        row[-1].legend(
            handles=lines, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5
        )
    _legend_of_lines(figure)
    worst = max(float(max(c.efficiency_error.max(), c.strength_error.max())) for c in curves.values())
    figure.supxlabel(
        f"P and Q of the paper, n = {len(PAPER_P)}. Transport decoders and Gumbel-max exact; others from "
        f"{seeds:,} seeds, standard error below {math.ceil(worst * 1e4) / 1e4:.4f}. Pale: dominated.",
        fontsize=8.5,
        color="#444444",
    )
    return figure


def _legend_of_lines(figure: Figure) -> None:
    """What line styles and marks mean, under all panels."""
    grey = COLORS["grey"]
    handles = [Line2D([], [], color=grey, ls=":", lw=2, label="time sharing")]
    handles += [
        Line2D([], [], color=grey, ls="-", lw=2, label="linear (left), Hu (right)"),
        Line2D([], [], color=grey, ls="--", lw=2, label="Google"),
    ]
    marks = (
        ("o", grey, 8, "both watermarks on (γ = 1)"),
        ("x", COLORS["black"], 8, "standard speculative sampling"),
        ("*", COLORS["purple"], 14, "optimum (1 − TV, Ent)"),
    )
    handles += [
        Line2D([], [], color=color, marker=marker, ms=size, mew=2, mec=color, ls="", label=label)
        for marker, color, size, label in marks
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=6, frameon=False, fontsize=9)


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    seeds: Annotated[int, typer.Option(help="Monte Carlo seeds where zeta has many values.")] = DEFAULT_SEEDS,
    seed: Annotated[int, typer.Option(help="Seed of their generator.")] = 0,
) -> None:
    """Draw trade-off curves of transport watermarks and completed ones."""
    with exit_on_bad_input():
        print_written(stdout(), draw_transport_curves(out, seeds=seeds, seed=seed))
