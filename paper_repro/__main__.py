"""Run everything that reproduces the paper, at size quick.

    python -m paper_repro

Every reference value, Figure 1 on the paper's P and Q (and with the published curves over it), and the
same figure for the built-in model pair. Takes under 3 minutes on 2 cores once the model is cached.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from figures.figure_1 import draw_figure_1
from figures.figure_1_real import (
    DraftOption,
    PositionsOption,
    SeedsOption,
    TargetOption,
    check_sizes,
    draw_real_figure,
)
from figures.references import check_references
from tradeoff.console import exit_on_bad_input, stdout
from tradeoff.files import output_folder

RESULTS = Path("paper_repro/results")


class Size(StrEnum):
    """How much to run; every size runs every experiment there is."""

    QUICK = "quick"


def run(
    out: Annotated[Path, typer.Option(help="Folder for everything that is written.")] = RESULTS,
    size: Annotated[Size, typer.Option(help="How much to run.")] = Size.QUICK,
    target: TargetOption = "builtin",
    draft: DraftOption = "builtin",
    positions: PositionsOption = 200,
    seeds: SeedsOption = 8,
) -> None:
    """Reproduce the paper on its own numbers and on a real model pair."""
    console = stdout()
    console.print(f"size {size}")
    written: list[Path] = []
    steps: list[tuple[str, Callable[[], list[Path]]]] = [
        ("Figure 1, on the paper's P and Q", lambda: draw_figure_1(out)),
        ("Figure 1 as published", lambda: draw_figure_1(out, as_published=True)),
        (
            "Figure 1, on a real model pair",
            lambda: draw_real_figure(out, target=target, draft=draft, positions=positions, seeds=seeds),
        ),
    ]
    start = time.perf_counter()
    try:
        with exit_on_bad_input():
            output_folder(out)
            check_sizes(positions, seeds)
            console.rule("Reference values", align="left")
            held = check_references(console)
            for title, step in steps:
                console.rule(title, align="left")
                written += step()
    finally:
        console.rule(f"Files written in {time.perf_counter() - start:.0f} s", align="left")
        for path in written:
            console.print(str(path), soft_wrap=True, markup=False)
    if not held:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(run)
