"""Reproduce the papers: their own numbers, a real model pair, and the detection experiment.

    python -m paper_repro            a first look, under 5 minutes
    python -m paper_repro --small    about an hour and a half on two cores: enough to tell methods apart
    python -m paper_repro --paper    the paper's models and sizes; needs a GPU

Figure 1 on the paper's P and Q with the ends of its curves, every reference value, the figure with the
published curves over it, the same for the model pair, and then texts with every watermark, detected: tables,
figures, and a report. What was generated is kept, so that a run that was stopped goes on. The last lines
are the result: a table of what was found, and where the report is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from figures.curves.figure_1 import draw_figure_1
from figures.curves.figure_1_real import (
    DraftOption,
    PositionsOption,
    SeedsOption,
    TargetOption,
    check_sizes,
    draw_real_figure,
)
from figures.curves.references import check_references
from figures.experiment.names import watermark_name
from paper_repro.experiment import print_glance, run_experiment
from paper_repro.generate import DOCUMENTS, QUESTIONS
from paper_repro.presets import load_preset, preset_names
from paper_repro.report.glance import narrow
from tradeoff.curves import PAPER_P, PAPER_Q
from tradeoff.display import exit_on_bad_input, stdout
from tradeoff.files import output_folder
from tradeoff.laws import entropy, overlap

RESULTS = Path("paper_repro/results")
#: The presets of every size.
_SIZES = {"quick": ("quick",), "small": ("small",), "paper": ("llama", "gemma")}
#: Classes of Figure 1 in words.
_CLASSES = {"linear": "linear", "hu": "Hu", "google": "Google"}


def run(
    small: Annotated[
        bool, typer.Option("--small", help="200 texts a method; about an hour and a half on two cores.")
    ] = False,
    paper: Annotated[bool, typer.Option("--paper", help="The paper's models and sizes, for GPUs.")] = False,
    preset: Annotated[
        list[str] | None,
        typer.Option(help=f"Detection experiments instead: {', '.join(preset_names())}, or .toml files."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything that is written.")] = RESULTS,
    target: TargetOption = "builtin",
    draft: DraftOption = "builtin",
    positions: PositionsOption = 200,
    seeds: SeedsOption = 8,
    human: Annotated[
        Path | None,
        typer.Option(help="Text without a watermark: lines, or JSON lines with `prompt` or `text`."),
    ] = None,
    questions: Annotated[Path | None, typer.Option(help=QUESTIONS)] = None,
    documents: Annotated[Path | None, typer.Option(help=DOCUMENTS)] = None,
) -> None:
    """Reproduce the paper on its own numbers and on a real model pair.

    --target and --draft name the pair of Figure 1's twin; the pairs of the detection experiments stand in
    their presets.
    """
    console = stdout()
    written: list[Path] = []
    start = time.perf_counter()
    held = False
    try:
        with exit_on_bad_input():
            if small and paper:
                raise ValueError("--small and --paper are two sizes; choose one")
            size = "small" if small else "paper" if paper else "quick"
            names = tuple(preset or _SIZES[size])
            files = {"questions": questions, "documents": documents}
            for name in names:
                load_preset(name, files).check_given()
            console.print(f"size {size}")
            output_folder(out)
            check_sizes(positions, seeds)
            written += draw_figure_1(out, suffixes=(".pdf", ".png", ".svg"))
            console.print(f"Figure 1: {out / 'figure_1.png'}", soft_wrap=True)
            console.print(
                narrow(_ends(pd.read_csv(out / "figure_1.csv")), "What is left, by class of methods")
            )
            console.rule("Reference values", align="left")
            held = check_references(console)
            steps: list[tuple[str, Callable[[], list[Path]]]] = [
                ("Figure 1 as published", lambda: draw_figure_1(out, as_published=True)),
                (
                    "Figure 1, on a real model pair",
                    lambda: draw_real_figure(
                        out, target=target, draft=draft, positions=positions, seeds=seeds
                    ),
                ),
                *(
                    (
                        f"Detection, preset {name}",
                        lambda name=name: run_experiment(name, out, human, files=files),
                    )
                    for name in names
                ),
            ]
            for title, step in steps:
                console.rule(title, align="left")
                written += step()
    finally:
        console.rule(f"Files written in {time.perf_counter() - start:.0f} s", align="left")
        for path in written:
            console.print(str(path), soft_wrap=True)
    console.rule("Result", align="left")
    for name in names:
        print_glance(name, out)
    console.print(f"Figure 1: {out / 'figure_1.png'}", soft_wrap=True)
    if not held:
        raise typer.Exit(1)


def _ends(curves: pd.DataFrame) -> pd.DataFrame:
    """What each class of Figure 1 keeps of one where the other is whole, from the table of the figure."""
    rows = []
    for decoder in curves["decoder"].unique():
        for name, words in _CLASSES.items():
            curve = curves[(curves["decoder"] == decoder) & (curves["class"] == name)]
            if len(curve):
                strong, fast = (curve.loc[curve["gamma"] == gamma].iloc[0] for gamma in (1, 0))
                rows.append(
                    {
                        "class, watermark": f"{words}, {watermark_name(decoder.replace('-', ':'))}",
                        "efficiency at full strength": f"{strong['efficiency']:.3f}",
                        "strength at full efficiency (nats)": f"{fast['strength']:.3f}",
                    }
                )
    most = f"{overlap(PAPER_P, PAPER_Q):.3f}", f"{entropy(PAPER_P):.3f}"
    table = pd.DataFrame(rows)
    table.loc[len(table)] = ["the most there can be (1 − TV, Ent)", *most]
    return table


if __name__ == "__main__":
    typer.run(run)
