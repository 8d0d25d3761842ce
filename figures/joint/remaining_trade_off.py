"""What is left of the trade-off when strength is what a detector with the key alone can read.

    python -m figures remaining_trade_off              pdf, png and csv in figures/results
    python -m figures remaining_trade_off --check      every reference value, beside what is computed
    python -m figures remaining_trade_off --paper-only without the positions of real text

Efficiency (expected acceptance) against the expected score of Aaronson's test at a token, beyond that of
other text, in standard deviations of that. For the paper's P and Q, and for the positions that
`python -m figures figure_1_real` has saved. Kernels are exact (docs/theory/race-scores.md); between text that
keeps all strength and the joint race lies their mixture; above the certified limit, of
docs/theory/race-limit.md, lies no rule whose draft is the race's winner.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from figures.joint.checks import check_references
from figures.joint.positions import PAIRS, Pairs, saved
from tradeoff.curves import PAPER_P, PAPER_Q, race_limit_curve
from tradeoff.decoders import race_diagonal
from tradeoff.detection import expected_race_score
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.laws import overlap
from tradeoff.plotting import (
    COLORS,
    WIDTH,
    Axes,
    Figure,
    add_note,
    label_ends,
    label_point,
    labelled,
    legend_below,
    legend_instead,
    method_look,
    new_figure,
    save_figure,
)
from tradeoff.workers import worker_pool

__all__ = ["compute", "draw", "draw_remaining_trade_off"]

RESULTS = Path("figures/results")
#: Scores that the default detector adds up at a token, where it is not one.
_STREAMS = {"two-keys": 2, "algorithm-1": 2}
KERNELS = (
    "keep-strength",
    "joint-race",
    "one-race",
    "single-key",
    "keep-efficiency",
    "algorithm-1",
    "two-keys",
)
#: Points of a curve, and of a law at full length the steps of the solver that a figure needs.
_POINTS, _ITERATIONS = 13, 15
_LEVEL = 0.999


def compute(
    pairs: Pairs, *, races: int, iterations: int, seed: int, advance: Callable[[], object] = lambda: None
) -> pd.DataFrame:
    """The panel's table: a row a kernel, a point of the mixture, a point of the limit.

    Columns: panel, what (kernel, mixture, limit), name, efficiency, score, error (standard error over texts,
    or of the simulation), limit (upper confidence limit).
    """
    agreement = np.array([float(race_diagonal(p, q).sum()) for p, q in pairs.laws])
    fast = np.array([float(overlap(p, q)) for p, q in pairs.laws])
    low, high = float(agreement.mean()), float(fast.mean())
    rows = [_row(pairs, "kernel", "basic", np.nan, _excess(pairs, "basic"))]
    scores = {}
    for name in KERNELS:
        scores[name] = _excess(pairs, name)
        rows.append(_row(pairs, "kernel", name, low if name == "keep-strength" else high, scores[name]))
        advance()
    top, bottom = (float(scores[name].mean()) for name in ("keep-strength", "joint-race"))
    for share in np.linspace(0, 1, _POINTS):
        rows.append(
            {
                "panel": pairs.name,
                "what": "mixture",
                "name": "keep-strength and joint-race",
                "efficiency": (1 - share) * low + share * high,
                "score": (1 - share) * top + share * bottom,
                "error": 0.0,
                "limit": np.nan,
            }
        )
    efficiencies = np.linspace(max(0.0, 2 * low - high), high, _POINTS)
    rows += _limits(pairs, efficiencies, races, iterations, seed)
    advance()
    return pd.DataFrame(rows)


def _row(pairs: Pairs, what: str, name: str, efficiency: float, scores: np.ndarray) -> dict[str, object]:
    texts = pd.Series(scores).groupby(pairs.texts).mean()
    error = float(texts.sem()) if len(texts) > 1 else 0.0
    return {
        "panel": pairs.name,
        "what": what,
        "name": name,
        "efficiency": efficiency,
        "score": float(scores.mean()),
        "error": error,
        "limit": np.nan,
    }


def _excess(pairs: Pairs, name: str) -> np.ndarray:
    """[positions], in standard deviations of what the detector adds up at a token of other text."""
    count = _STREAMS.get(name, 1)
    means = np.array([float(expected_race_score(name, p, q)) for p, q in pairs.laws])
    return (means - count) / math.sqrt(count)


def _limits(
    pairs: Pairs, efficiencies: np.ndarray, races: int, iterations: int, seed: int
) -> list[dict[str, object]]:
    longest = max(len(p) for p, _ in pairs.laws)
    # Of one length: what is added has no mass, and is left out again.
    p, q = (np.array([np.pad(pair[k], (0, longest - len(pair[k]))) for pair in pairs.laws]) for k in (0, 1))
    with worker_pool(None if len(p) > 1 else 1) as executor:
        found = race_limit_curve(
            p, q, efficiencies, races=races, iterations=iterations, level=_LEVEL, seed=seed, executor=executor
        )
    return [
        {
            "panel": pairs.name,
            "what": "limit",
            "name": f"limit, {100 * _LEVEL:g}% confidence",
            "efficiency": at,
            "score": value - 1,
            "error": error,
            "limit": limit - 1,
        }
        for at, value, error, limit in zip(
            found.efficiency, found.dual.value, found.dual.standard_error, found.limit, strict=True
        )
    ]


def draw_remaining_trade_off(
    out: Path = RESULTS,
    *,
    pairs: Path | None = PAIRS,
    positions: int = 200,
    races: int = 500,
    seed: int = 0,
) -> list[Path]:
    """Compute and draw the figure.

    Args:
        out: folder for the pdf, png and csv.
        pairs: next-token pairs that `figures.curves.figure_1_real` has saved; None for the paper's pair
            alone.
        positions: how many of them, evenly spaced.
        races: a position of real text, for the certificate of the limit; the paper's pair takes 100 times as
            many.
        seed: of the races.

    Returns:
        The files written.

    Raises:
        FileError: if the pairs are missing or a file cannot be written.
        ValueError: for fewer than 2 positions or more than there are, or too few races.
    """
    panels = [Pairs("the paper's P and Q", [(PAPER_P, PAPER_Q)], np.zeros(1))]
    if pairs is not None:
        panels += saved(pairs, positions)
    output_folder(out)
    columns = (Words(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tables = []
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task("kernels and limits", total=len(panels) * (len(KERNELS) + 1))
        for panel in panels:
            one = len(panel.laws) == 1
            tables.append(
                compute(
                    panel,
                    races=100 * races if one else races,
                    iterations=60 if one else _ITERATIONS,
                    seed=seed,
                    advance=lambda: progress.advance(task),
                )
            )
    table = pd.concat(tables, ignore_index=True)
    written = [out / f"remaining_trade_off.{suffix}" for suffix in ("pdf", "png", "csv")]
    save_figure(_figure(table, positions if pairs is not None else 0), written[:2])
    write_table(table, written[2])
    return written


def _figure(table: pd.DataFrame, positions: int) -> Figure:
    groups = list(table.groupby("panel", sort=False))
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    figure, panels = new_figure(rows, columns, size=(WIDTH, 2.9 * rows + 1.2))
    flat = list(panels.flat)
    for axes, (name, part) in zip(flat, groups, strict=False):
        _draw_panel(axes, part)
        axes.set_title(str(name))
    for axes in flat[len(groups) :]:
        axes.set_visible(False)
    for row in panels:
        row[0].set_ylabel("expected score beyond other text's\n(its standard deviations)")
    if len(flat) > len(groups):
        flat[-1].set_visible(True)
        legend_instead(flat[-1], labelled(flat[0]))
    else:
        legend_below(figure, labelled(flat[0]), columns=4)
    real = f" Temperatures: means over n = {positions} positions of text, built-in pair." if positions else ""
    add_note(
        figure,
        "Kernels exact; the limit at a joint confidence of 99.9%, for all rules whose draft wins the race."
        + real,
    )
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame) -> None:
    """Methods are points with their names beside the panel; all but one lie at full efficiency."""
    limit = part[part["what"] == "limit"]
    kernels = part[part["what"] == "kernel"].set_index("name")
    mixture = part[part["what"] == "mixture"]
    most, left = float(limit["efficiency"].max()), float(limit["efficiency"].min())
    scores = kernels.loc[["basic", "joint-race", "one-race", "single-key"], "score"]
    span = float(scores.max() - scores.min())
    low, high = float(kernels["score"].min()) - 0.3 * span, float(limit["limit"].max()) + 0.5 * span
    right = most + 0.12 * (most - left)
    forbidden: dict[str, Any] = {"color": COLORS["grey"], "alpha": 0.25, "lw": 0}
    axes.fill_between(limit["efficiency"], limit["limit"], high, label="no rule reaches this", **forbidden)
    axes.fill_between([most, right], [low, low], [high, high], **forbidden)
    basic = method_look("basic").varied(":").stroke
    axes.axhline(float(kernels.loc["basic", "score"]), lw=1, label="basic", **basic)
    axes.plot(limit["efficiency"], limit["limit"], color=COLORS["grey"], lw=1.4, label="limit")
    mixed = method_look("joint-race").varied("--").stroke
    label = "mixtures of keep-strength and joint-race"
    axes.plot(mixture["efficiency"], mixture["score"], lw=1.2, label=label, zorder=3, **mixed)
    for name in KERNELS:
        # Algorithm 1 and two keys are read alike: one lies in the other.
        look = method_look(name)
        hollow = name == "algorithm-1"
        marks = (look.varied("none", filled=False) if hollow else look).points
        place = (kernels.loc[name, "efficiency"], kernels.loc[name, "score"])
        axes.plot(*place, ms=9 if hollow else 6, zorder=5, **marks)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.set_xlabel("efficiency (expected acceptance)")
    axes.locator_params(axis="x", nbins=5)
    fast = [name for name in KERNELS if name != "keep-strength"]
    label_ends(axes, [(kernels.loc[name, "score"], name, method_look(name).color) for name in fast])
    slow = kernels.loc["keep-strength"]
    label_point(axes, (slow["efficiency"], slow["score"]), "keep-strength")


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    pairs: Annotated[Path, typer.Option(help="Saved next-token pairs.")] = PAIRS,
    positions: Annotated[int, typer.Option(help="Positions of text.")] = 200,
    races: Annotated[int, typer.Option(help="Races a position, for the certificate.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the races, and of what --check simulates.")] = 0,
    paper_only: Annotated[bool, typer.Option("--paper-only", help="The paper's P and Q alone.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Print every reference value and exit 1 if one is missed.")
    ] = False,
) -> None:
    """Draw what is left of the trade-off, or check its reference values."""
    real = None if paper_only else pairs
    with exit_on_bad_input():
        if check:
            raise typer.Exit(0 if check_references(stdout(), pairs=real, seed=seed) else 1)
        written = draw_remaining_trade_off(out, pairs=real, positions=positions, races=races, seed=seed)
        print_written(stdout(), written)
