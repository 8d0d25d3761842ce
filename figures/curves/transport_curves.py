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
    draw_ends,
    draw_points,
    style_axes,
)
from tradeoff.decoders import (
    Completed,
    Decoder,
    GumbelMax,
    SynthID,
    decoder_name,
    heavy_water,
    simplex_water,
)
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.laws import entropy, overlap
from tradeoff.optimal_transport import Sinkhorn
from tradeoff.plotting import (
    COLORS,
    OPTIMUM,
    Figure,
    Line2D,
    Look,
    add_note,
    legend_below,
    legend_beside,
    method_look,
    new_figure,
    save_figure,
    watermark_look,
)

__all__ = ["GROUPS", "Pair", "compute", "curves_table", "draw", "draw_transport_curves"]

RESULTS = Path("figures/results")
GAMMA = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Pair:
    """A decoder for each side, and how its curves are drawn."""

    target: Decoder
    draft: Decoder
    label: str
    look: Look


def _look(decoder: Decoder, paler: bool = False) -> Look:
    look = watermark_look(decoder_name(decoder))
    return look.mixed("white", 0.45) if paler else look


def _both(decoder: Decoder, label: str, *, paler: bool = False) -> Pair:
    return Pair(decoder, decoder, label, _look(decoder, paler))


_GUMBEL = _both(GumbelMax(), "Gumbel-max")
_HEAVY, _SIMPLEX = heavy_water(), simplex_water(8)
GROUPS: dict[str, tuple[Pair, ...]] = {
    "one decoder": (
        _GUMBEL,
        _both(_HEAVY, "HeavyWater, log-normal,\nk = 1024"),
        _both(_SIMPLEX, "SimplexWater, r = 8"),
        _both(simplex_water(4), "SimplexWater, r = 4", paler=True),
    ),
    # One of the two lends its look, so that no two pairs have the same.
    "two decoders": (
        Pair(
            _HEAVY,
            heavy_water("gamma"),
            "HeavyWater log-normal | gamma,\none s (k = 1024)",
            _look(heavy_water("gamma")),
        ),
        Pair(
            heavy_water(k=_SIMPLEX.scores.k),
            _SIMPLEX,
            "HeavyWater | SimplexWater,\none s (k = 255)",
            _look(_SIMPLEX),
        ),
        Pair(_HEAVY, GumbelMax(), "HeavyWater | Gumbel-max,\nindependent", _look(_HEAVY)),
        Pair(GumbelMax(), _SIMPLEX, "Gumbel-max | SimplexWater r = 8,\nindependent", _look(GumbelMax())),
    ),
    "SynthID, completed": (
        _both(SynthID(5), "m = 5", paler=True),
        _both(Completed(SynthID(5)), "m = 5, completed", paler=True),
        _both(SynthID(30), "m = 30"),
        _both(Completed(SynthID(30)), "m = 30, completed"),
    ),
    "transport, completed": (
        _both(heavy_water(solver=Sinkhorn()), "HeavyWater, Sinkhorn", paler=True),
        _both(Completed(heavy_water(solver=Sinkhorn())), "HeavyWater, Sinkhorn,\ncompleted", paler=True),
        _both(Completed(_HEAVY), "HeavyWater, exact,\ncompleted"),
        _both(simplex_water(8, solver=Sinkhorn()), "SimplexWater, Sinkhorn", paler=True),
        _both(
            Completed(simplex_water(8, solver=Sinkhorn())), "SimplexWater, Sinkhorn,\ncompleted", paler=True
        ),
        _both(Completed(_SIMPLEX), "SimplexWater, exact,\ncompleted"),
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
                    draw_curve(axes, c, color=pair.look.color, label="_", style=style)
                full = curves[group, pair.label, next(iter(families))]
                end = {"marker": pair.look.marker, "color": pair.look.color, "label": "_"}
                draw_points(axes, full.efficiency[-1:], full.strength[-1:], **end)
            draw_ends(axes, sse, most, ("_", "_"))
            style_axes(axes, f"{column}: {_TITLES[group]}")
            axes.set_ylim(-0.06 * most, 1.09 * most)
        row[-1].set_ylabel("")
        looks = [(pair.look.varied("-").both, pair.label) for pair in pairs]
        lines = [Line2D([], [], lw=2.4, ms=8, mec="white", label=label, **look) for look, label in looks]
        legend_beside(row[-1], handles=lines)
    _legend_of_lines(figure)
    worst = max(float(max(c.efficiency_error.max(), c.strength_error.max())) for c in curves.values())
    add_note(
        figure,
        f"P and Q of the paper, n = {len(PAPER_P)}. Transport decoders and Gumbel-max exact; others from "
        f"{seeds:,} seeds, standard error below {math.ceil(worst * 1e4) / 1e4:.4f}. Pale: dominated.",
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
        (Look(grey), 8, "both watermarks on (γ = 1)"),
        (method_look("standard"), 8, "standard speculative sampling"),
        (OPTIMUM, 14, "optimum (1 − TV, Ent)"),
    )
    handles += [
        Line2D([], [], ms=size, mew=2, mec=look.color, label=label, **look.points)
        for look, size, label in marks
    ]
    legend_below(figure, {str(handle.get_label()): handle for handle in handles}, columns=6, over=True)


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    seeds: Annotated[int, typer.Option(help="Monte Carlo seeds where zeta has many values.")] = DEFAULT_SEEDS,
    seed: Annotated[int, typer.Option(help="Seed of their generator.")] = 0,
) -> None:
    """Draw trade-off curves of transport watermarks and completed ones."""
    with exit_on_bad_input():
        print_written(stdout(), draw_transport_curves(out, seeds=seeds, seed=seed))
