"""Figure 1 on a real draft/target pair: next-token distributions over the whole vocabulary.

    python -m figures figure_1_real                       the built-in pair, 200 positions
    python -m figures figure_1_real --target T --draft D  another pair
    python -m figures figure_1_real --redraw              from the saved pairs, without the model

Writes to figures/results: figure_1_real (averaged planes) and figure_1_real_positions (the spread over
positions) as pdf and png, both tables as csv, and next_token_pairs.npz with the full rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from figures.curves.panels import draw_planes
from tradeoff.curves import AveragedPlane, average_plane, check_paired_seeds, planes_table
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.plotting import (
    COLORS,
    WIDTH,
    Figure,
    add_note,
    labelled,
    legend_below,
    new_figure,
    save_figure,
)
from tradeoff.workers import worker_pool

if TYPE_CHECKING:
    from tradeoff.llm import NextTokenPairs

__all__ = ["draw", "draw_real_figure"]

RESULTS = Path("figures/results")
TEMPERATURES = (1.0, 0.7, 0.5)


#: Options that `python -m paper_repro` shares.
TargetOption = Annotated[str, typer.Option(help="builtin, a folder, a .gguf file or a Hugging Face id.")]
DraftOption = Annotated[str, typer.Option(help="The same, or skip:14,16 for the target less layers.")]
PositionsOption = Annotated[int, typer.Option(help="Positions of text, a multiple of 4.")]
SeedsOption = Annotated[int, typer.Option(help="Monte Carlo seeds a position for SynthID.")]


def draw_real_figure(
    out: Path = RESULTS,
    *,
    target: str = "builtin",
    draft: str = "builtin",
    positions: int = 200,
    seeds: int = 8,
    seed: int = 0,
    processes: int | None = None,
    redraw: bool = False,
) -> list[Path]:
    """Collect next-token pairs (unless the same ones are already saved in `out`), average, draw.

    Args:
        out: folder for everything that is written.
        target, draft: as for `tradeoff.llm.load_pair`.
        positions: how many, a multiple of 4; half in the target's own samples, half in human prose.
        seeds: Monte Carlo seeds a position for SynthID.
        seed: of the texts, the positions and the Monte Carlo.
        processes: how many compute the curves (default: one a core).
        redraw: use the saved pairs as they are and load no model.

    Returns:
        The files written.

    Raises:
        FileError: if a file cannot be read or written.
        ValueError: for sizes that cannot be used.
        ModelUnavailableError: if a model is not to be had.
    """
    check_sizes(positions, seeds)
    if processes is not None and processes < 1:
        raise ValueError(f"processes={processes} must be at least 1")
    output_folder(out)
    columns = (Words(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr()) as progress:
        pairs = _pairs(out / "next_token_pairs.npz", target, draft, positions, seed, redraw, progress)
        averaged: dict[float, AveragedPlane] = {}
        with worker_pool(processes) as executor:
            for temperature in TEMPERATURES:
                task = progress.add_task(f"curves at temperature {temperature}", total=2 * len(pairs))
                averaged[temperature] = average_plane(
                    len(pairs),
                    lambda t=temperature: (pairs.probabilities(k, t) for k in range(len(pairs))),  # type: ignore[misc]
                    seeds=seeds,
                    seed=seed,
                    executor=executor,
                    advance=lambda task=task: progress.advance(task),  # type: ignore[misc]
                )
    _print_means(averaged, pairs.text)
    return _write(pairs, averaged, seeds, out)


def check_sizes(positions: int, seeds: int) -> None:
    """Refuse sizes that the steps after the models have run would refuse.

    Raises:
        ValueError: if positions is not a positive multiple of 4, or seeds is odd or below 4.
    """
    if positions < 4 or positions % 4:
        raise ValueError(f"positions={positions} must be a positive multiple of 4 (two sources, two a text)")
    check_paired_seeds(seeds)


def _print_means(averaged: dict[float, AveragedPlane], text: np.ndarray) -> None:
    """What the README quotes: exact means over positions."""
    table = Table("temperature", "1 - TV(Q, P)", "sum pi_ii", "Ent(P)", "Google", "Hu")
    for temperature, plane in averaged.items():
        # Two positions of one text are not independent: the texts are what was sampled.
        texts = plane.positions.groupby(text).mean()
        means, errors = plane.positions.mean(), texts.sem()
        columns = ("sse", "agreement", "entropy", "google", "hu")
        table.add_row(str(temperature), *(f"{means[name]:.3f} ± {errors[name]:.3f}" for name in columns))
    console = stdout()
    console.print(table)
    console.print(
        "Mean over positions ± standard error over texts; every position's value is exact.\n"
        "sum pi_ii: efficiency when strength is kept; Google, Hu: strength (nats) when efficiency is kept"
    )


def _pairs(
    path: Path, target: str, draft: str, positions: int, seed: int, redraw: bool, progress: Progress
) -> NextTokenPairs:
    # PyTorch and Transformers take seconds to import, which a worker process should not pay.
    from tradeoff.llm import collect_pairs, load_pair, load_pairs, pair_settings, save_pairs

    if redraw:
        return load_pairs(path)
    models = load_pair(target, draft)
    if path.exists():
        saved = load_pairs(path)
        if saved.settings == pair_settings(models, positions=positions, seed=seed):
            progress.console.print(f"using the next-token pairs in {path}", highlight=False)
            return saved
    tasks = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=total)
        progress.update(tasks[what], completed=done)

    pairs = collect_pairs(models, positions=positions, seed=seed, report=report)
    save_pairs(pairs, path)
    return pairs


def _write(pairs: NextTokenPairs, averaged: dict[float, AveragedPlane], seeds: int, out: Path) -> list[Path]:
    names = pairs.settings
    worst = max(c.efficiency_error.max() for plane in averaged.values() for c in plane.planes.curves.values())
    rows = [(f", T = {t:g}", plane.planes) for t, plane in averaged.items()]
    caption = (
        f"Target {names['target']}, draft {_short(str(names['draft']), str(names['target']))}; n = "
        f"{pairs.target.shape[1]:,} tokens, mean over {len(pairs)} positions of text. Gumbel-max exact; "
        f"SynthID from {seeds} seeds a position. "
        f"Bars: standard error of SynthID at its strongest point (at most {worst:.3f} in efficiency). "
        "Full lines: each curve's frontier; pale: dominated. Marks: efficiency or strength maintained. "
        "One (γ, θ) for all positions; texts sampled at temperature 1."
    )
    paths = [out / "figure_1_real.pdf", out / "figure_1_real.png"]
    save_figure(draw_planes(rows, caption), paths)
    spread = [out / "figure_1_real_positions.pdf", out / "figure_1_real_positions.png"]
    save_figure(_draw_positions(pairs.source, {t: plane.positions for t, plane in averaged.items()}), spread)
    curves = pd.concat(
        {t: planes_table(plane.planes) for t, plane in averaged.items()}, names=["temperature"]
    )
    write_table(curves.reset_index("temperature"), out / "figure_1_real.csv")
    index = pd.DataFrame({"source": pairs.source, "text": pairs.text, "position": pairs.position})
    values = {t: pd.concat([index, plane.positions], axis=1) for t, plane in averaged.items()}
    table = pd.concat(values, names=["temperature"]).reset_index("temperature")
    write_table(table, out / "figure_1_real_positions.csv")
    return [
        *paths,
        *spread,
        out / "figure_1_real.csv",
        out / "figure_1_real_positions.csv",
        out / "next_token_pairs.npz",
    ]


def _draw_positions(source: np.ndarray, positions: dict[float, pd.DataFrame]) -> Figure:
    """Every position: what keeping strength costs in efficiency (top), and the reverse, in both classes.

    Args:
        source: "model" or "human" of every position.
        positions: of `AveragedPlane`, by temperature.
    """
    figure, grid = new_figure(3, len(positions), size=(WIDTH, 7.6))
    sources = (("model", "o", "blue", "the target's own text"), ("human", "^", "orange", "human prose"))
    rows = (
        ("sse", "agreement", "1 − TV(Q, P)", "efficiency, strength kept"),
        ("entropy", "google", "Ent(P) (nats)", "strength, Google's class"),
        ("entropy", "hu", "Ent(P) (nats)", "strength, Hu's class"),
    )
    for (temperature, table), panels in zip(positions.items(), grid.T, strict=True):
        for axes, (x, y, across, up) in zip(panels, rows, strict=True):
            for name, marker, color, label in sources:
                here = table[source == name]
                dots = {"s": 9, "alpha": 0.65, "marker": marker, "linewidths": 0}
                axes.scatter(here[x], here[y], color=COLORS[color], label=label, **dots)
            top = 1.0 if x == "sse" else 1.03 * float(table["entropy"].max())
            grey = {"color": COLORS["grey"], "lw": 1, "zorder": 0}
            axes.plot([0, top], [0, top], label="bound (Lemma 3.1, Theorem 3.2)", **grey)
            axes.set_title(f"T = {temperature:g}: means {table[x].mean():.2f}, {table[y].mean():.2f}")
            axes.set_xlabel(across)
            axes.set_ylabel(up if temperature == next(iter(positions)) else "")
    legend_below(figure, labelled(grid[0, 0]), columns=3)
    texts = " and ".join(f"{(source == name).sum()} of {label}" for name, _, _, label in sources)
    add_note(
        figure,
        f"n = {len(source)} positions, {texts}; every value exact. "
        "Means: of the horizontal axis, of the vertical.",
    )
    return figure


def _short(draft: str, target: str) -> str:
    return draft.replace(f"{target} without", "the same without") if draft.startswith(target) else draft


def draw(
    out: Annotated[Path, typer.Option(help="Folder for everything that is written.")] = RESULTS,
    target: TargetOption = "builtin",
    draft: DraftOption = "builtin",
    positions: PositionsOption = 200,
    seeds: SeedsOption = 8,
    seed: Annotated[int, typer.Option(help="Seed of texts, positions and Monte Carlo.")] = 0,
    processes: Annotated[int | None, typer.Option(help="Processes (default: one a core).")] = None,
    redraw: Annotated[bool, typer.Option("--redraw", help="Use the saved pairs; load no model.")] = False,
) -> None:
    """Draw Figure 1 for a real draft/target pair."""
    with exit_on_bad_input():
        written = draw_real_figure(
            out,
            target=target,
            draft=draft,
            positions=positions,
            seeds=seeds,
            seed=seed,
            processes=processes,
            redraw=redraw,
        )
        print_written(stdout(), written)
