"""Trade-off curves of transport watermarks and of completed ones, on the paper's P and Q.

    python -m figures transport_curves      pdf, png and csv in figures/results

Every class of `tradeoff.curves.families`, a panel a pair of decoders, in two pictures. transport_curves has

- SimplexWater and HeavyWater on both sides, beside Gumbel-max;
- different decoders for target and draft. Two decoders that read side information of one k share it, others
  are driven independently, and then their tokens agree by chance only;

and transport_completed

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

from figures.curves.panels import CLASS_NAMES, draw_plane
from tradeoff.curves import CLASSES, DEFAULT_SEEDS, PAPER_P, PAPER_Q, Curve, Setting, curve
from tradeoff.decoders import Completed, Decoder, GumbelMax, SynthID, heavy_water, simplex_water
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.laws import entropy, overlap
from tradeoff.optimal_transport import Sinkhorn
from tradeoff.plotting import (
    WIDTH,
    Figure,
    add_headline,
    add_note,
    labelled,
    legend_below,
    new_figure,
    save_figure,
)

__all__ = ["GROUPS", "Pair", "compute", "curves_table", "draw", "draw_transport_curves"]

RESULTS = Path("figures/results")
GAMMA = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Pair:
    """A decoder for each side, and what its panel is called."""

    target: Decoder
    draft: Decoder
    label: str


def _both(decoder: Decoder, label: str) -> Pair:
    return Pair(decoder, decoder, label)


_HEAVY, _SIMPLEX = heavy_water(), simplex_water(8)
GROUPS: dict[str, tuple[Pair, ...]] = {
    "one decoder": (
        _both(GumbelMax(), "Gumbel-max"),
        _both(_HEAVY, "HeavyWater, log-normal"),
        _both(_SIMPLEX, "SimplexWater, r = 8"),
        _both(simplex_water(4), "SimplexWater, r = 4"),
    ),
    "two decoders": (
        Pair(_HEAVY, heavy_water("gamma"), "HeavyWater, log-normal\n| HeavyWater, gamma"),
        Pair(heavy_water(k=_SIMPLEX.scores.k), _SIMPLEX, "HeavyWater, k = 255\n| SimplexWater, r = 8"),
        Pair(_HEAVY, GumbelMax(), "HeavyWater, log-normal\n| Gumbel-max"),
        Pair(GumbelMax(), _SIMPLEX, "Gumbel-max\n| SimplexWater, r = 8"),
    ),
    "SynthID, completed": (
        _both(SynthID(5), "SynthID, m = 5"),
        _both(Completed(SynthID(5)), "SynthID, m = 5,\ncompleted"),
        _both(SynthID(30), "SynthID, m = 30"),
        _both(Completed(SynthID(30)), "SynthID, m = 30,\ncompleted"),
    ),
    "transport, completed": (
        _both(heavy_water(solver=Sinkhorn()), "HeavyWater,\nby Sinkhorn"),
        _both(Completed(heavy_water(solver=Sinkhorn())), "HeavyWater,\nby Sinkhorn, completed"),
        _both(Completed(_HEAVY), "HeavyWater, exact,\ncompleted"),
        _both(simplex_water(8, solver=Sinkhorn()), "SimplexWater,\nby Sinkhorn"),
        _both(Completed(simplex_water(8, solver=Sinkhorn())), "SimplexWater,\nby Sinkhorn, completed"),
        _both(Completed(_SIMPLEX), "SimplexWater, exact,\ncompleted"),
    ),
}
#: Groups of a picture, each with its panels in a row, and what it says above.
_PICTURES = {
    "transport_curves": (
        {"one decoder": 4, "two decoders": 4},
        "One decoder on both sides (above), and target | draft (below)",
    ),
    "transport_completed": (
        {"SynthID, completed": 4, "transport, completed": 3},
        "SynthID, HeavyWater and SimplexWater, plain and completed",
    ),
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
    written = []
    for picture in _PICTURES:
        paths = [out / f"{picture}.{suffix}" for suffix in ("pdf", "png")]
        save_figure(_figure(picture, curves, seeds), paths)
        written += paths
    table = out / "transport_curves.csv"
    write_table(curves_table(curves), table)
    return [*written, table]


def _figure(picture: str, curves: Curves, seeds: int) -> Figure:
    sse, most = float(overlap(PAPER_P, PAPER_Q)), float(entropy(PAPER_P))
    groups, headline = _PICTURES[picture]
    rows = [
        [(group, pair.label) for pair in GROUPS[group][start : start + columns]]
        for group, columns in groups.items()
        for start in range(0, len(GROUPS[group]), columns)
    ]
    widest = max(groups.values())
    figure, grid = new_figure(len(rows), widest, size=(WIDTH, 2.1 * len(rows) + 1.3), sharey=True)
    shown = []
    for panels, row in zip(grid, rows, strict=True):
        panels[0].set_ylabel("strength (nats)")
        for axes, (group, label) in zip(panels, row, strict=False):
            draw_plane(axes, {family: curves[group, label, family] for family in CLASS_NAMES}, sse, most)
            axes.set(title=label, xlabel="efficiency")
            shown.append(axes)
        for axes in panels[len(row) :]:
            axes.set_visible(False)
    legend_below(figure, labelled(*shown), columns=3)
    add_headline(figure, headline)
    here = [curve for (group, _, _), curve in curves.items() if group in groups]
    worst = max(float(max(c.efficiency_error.max(), c.strength_error.max())) for c in here)
    add_note(
        figure,
        f"P and Q of the paper, n = {len(PAPER_P)}. Transport decoders and Gumbel-max exact; others from "
        f"{seeds:,} seeds, standard error below {math.ceil(worst * 1e4) / 1e4:.4f}. Full lines: frontier; "
        "pale: dominated. Marks: efficiency or strength maintained.",
    )
    return figure


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    seeds: Annotated[int, typer.Option(help="Monte Carlo seeds where zeta has many values.")] = DEFAULT_SEEDS,
    seed: Annotated[int, typer.Option(help="Seed of their generator.")] = 0,
) -> None:
    """Draw trade-off curves of transport watermarks and completed ones."""
    with exit_on_bad_input():
        print_written(stdout(), draw_transport_curves(out, seeds=seeds, seed=seed))
