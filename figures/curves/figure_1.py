"""Figure 1: trade-off curves of watermark strength against sampling efficiency, on the paper's P and Q.

    python -m figures figure_1                  pdf, png and csv in figures/results
    python -m figures figure_1 --as-published   with what the published figure shows, dotted
    python -m figures figure_1 --check          every reference value, beside what is computed

The Gumbel-max curves are exact. SynthID is simulated; its standard errors are in the csv.

The published figure ends Hu's class at 1.73 and Google's class with m = 30 at 1.64: the authors'
simulation leaves the residual max(P-Q, 0) unnormalised, so that the target law sums to less than one and
its entropy comes out too small. Normalised, the two are 1.449 and 1.656.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from figures.curves.panels import draw_planes
from figures.curves.references import check_references, published_curves
from tradeoff.curves import DEFAULT_SEEDS, PAPER_P, PAPER_Q, Curve, Planes, Setting, curve, planes_table
from tradeoff.decoders import Decoder, GumbelMax, SynthID
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.laws import entropy, overlap
from tradeoff.plotting import COLORS, Axes, save_figure

__all__ = ["compute", "draw", "draw_figure_1"]

RESULTS = Path("figures/results")
GAMMA = np.linspace(0, 1, 41)
_SUFFIXES = (".pdf", ".png")
Published = dict[str, tuple[np.ndarray, np.ndarray]]
_SETTINGS: list[tuple[str, Decoder, tuple[str, ...]]] = [
    ("gumbel", GumbelMax(), ("linear", "time-sharing", "hu", "google")),
    ("synthid-inf", SynthID(math.inf), ("linear", "time-sharing", "hu", "google")),
    ("synthid-30", SynthID(30), ("hu", "google")),
]
#: The decoder of each curve that the published figure shows otherwise.
_PUBLISHED = {"hu": "gumbel", "google": "synthid-30"}


def compute(
    p: np.ndarray,
    q: np.ndarray,
    *,
    seeds: int = DEFAULT_SEEDS,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Planes, dict[str, float]]:
    """All curves of both panels for one pair (P, Q).

    Args:
        p, q: target and draft [n].
        seeds, seed: Monte Carlo seeds for SynthID, and the seed of their generator.
        progress: a running Rich progress to report to.

    Returns:
        The curves, and the seconds spent on each decoder.
    """
    curves: dict[tuple[str, str], Curve] = {}
    seconds: dict[str, float] = {}
    task = progress.add_task("curves", total=None) if progress else None
    for key, decoder, families in _SETTINGS:
        start = time.perf_counter()
        setting = Setting(p, q, decoder, decoder, seeds, seed)
        for family in families:
            if progress is not None and task is not None:
                progress.update(task, description=f"{decoder.name}: {family}")
            curves[family, key] = curve(family, setting, GAMMA)
        seconds[decoder.name] = time.perf_counter() - start
    # Chords first, so that the curves lie on top of them.
    order = sorted(curves, key=lambda key: key[0] != "time-sharing")
    return Planes({key: curves[key] for key in order}, float(overlap(p, q)), float(entropy(p))), seconds


def draw_figure_1(
    out: Path = RESULTS,
    *,
    seeds: int = DEFAULT_SEEDS,
    seed: int = 0,
    as_published: bool = False,
    suffixes: Sequence[str] = _SUFFIXES,
) -> list[Path]:
    """Compute and draw Figure 1 on the paper's P and Q, and print what each decoder took.

    Args:
        out: folder for the pdf, png and csv.
        seeds, seed: Monte Carlo seeds for SynthID, and the seed of their generator.
        as_published: overlay the published curves, and call the files figure_1_as_published.
        suffixes: formats of the picture.

    Returns:
        The files written.

    Raises:
        FileError: if a file cannot be written.
        ValueError: if there are fewer than 4 seeds.
    """
    output_folder(out)
    console = stdout()
    spinner = (SpinnerColumn(), Words(), TimeElapsedColumn())
    with Progress(*spinner, console=stderr(), transient=True) as progress:
        planes, seconds = compute(PAPER_P, PAPER_Q, seeds=seeds, seed=seed, progress=progress)
        published = published_curves(GAMMA, seeds=seeds, seed=seed) if as_published else None
    for name, spent in seconds.items():
        console.print(f"{name}: {spent:.3f} s")
    console.print(
        f"largest standard error: {_largest_error(planes):.1e} ({seeds:,} seeds; Gumbel-max is exact)"
    )
    stem = "figure_1_as_published" if as_published else "figure_1"
    return write(planes, out, stem, seeds, published, suffixes)


def write(
    planes: Planes,
    out: Path,
    stem: str,
    seeds: int,
    published: Published | None = None,
    suffixes: Sequence[str] = _SUFFIXES,
) -> list[Path]:
    """Draw the panels and write pictures and csv into the existing folder `out`."""
    worst = _largest_error(planes)
    caption = (
        f"P and Q of the paper, n = {len(PAPER_P)}. Gumbel-max exact; SynthID from {seeds:,} seeds, "
        f"standard error below {math.ceil(worst * 1e4) / 1e4:.4f}. "
        "Full lines: each curve's frontier. Pale lines: dominated. Marks: efficiency or strength maintained. "
        + (
            "Dotted black: Hu (1.73) and Google, m = 30 (1.64), with (P − Q)₊ left unnormalised."
            if published
            else "The residual (P − Q)₊ is normalised; in the published figure it is not (--as-published)."
        )
    )

    def overlay(axes: Axes, decoder: str) -> None:
        for family, (efficiency, strength) in (published or {}).items():
            if decoder != _PUBLISHED[family]:
                continue
            label = "published, reconstructed"
            axes.plot(efficiency, strength, ":", color=COLORS["black"], lw=1.2, label=label, zorder=4)
            end = (efficiency[0], strength[0])
            axes.annotate(f"{strength[0]:.2f}", end, (-6, -13), textcoords="offset points", ha="right")

    figure = draw_planes([("", planes)], caption, overlay)
    paths = [out / f"{stem}{suffix}" for suffix in suffixes]
    save_figure(figure, paths)
    table = planes_table(planes)
    for family, (efficiency, strength) in (published or {}).items():
        rows = {"class": f"{family}, as published", "decoder": _PUBLISHED[family], "gamma": GAMMA}
        table = pd.concat([table, pd.DataFrame({**rows, "efficiency": efficiency, "strength": strength})])
    write_table(table, out / f"{stem}.csv")
    return [*paths, out / f"{stem}.csv"]


def _largest_error(planes: Planes) -> float:
    return float(max(max(c.efficiency_error.max(), c.strength_error.max()) for c in planes.curves.values()))


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    seeds: Annotated[int, typer.Option(help="Monte Carlo seeds for SynthID.")] = DEFAULT_SEEDS,
    seed: Annotated[int, typer.Option(help="Seed of their generator.")] = 0,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Overlay the published curves (unnormalised residual).")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Print every reference value and exit 1 if one is missed.")
    ] = False,
) -> None:
    """Draw Figure 1, or check its reference values."""
    with exit_on_bad_input():
        if check:
            raise typer.Exit(0 if check_references(stdout(), seeds=seeds, seed=seed) else 1)
        print_written(stdout(), draw_figure_1(out, seeds=seeds, seed=seed, as_published=as_published))
