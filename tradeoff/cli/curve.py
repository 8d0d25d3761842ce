"""`tradeoff curve`: trade-off curves of two distributions."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeoff.cli.help import CLASSES, SEEDS, WATERMARKS, Quiet, examples
from tradeoff.display import exit_on_bad_input, print_written, require_stdout, stderr, stdout

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from tradeoff.curves import Curve, Setting

__all__ = ["CURVE_EXAMPLES", "curve_command"]

#: Shown below its options.
CURVE_EXAMPLES = examples(
    "tradeoff curve --paper",
    "tradeoff curve P.json Q.json --decoder synthid:30 --seeds 2000 -o curves.csv",
    "tradeoff curve --paper --class google --json",
)


def curve_command(
    target: Annotated[
        Path | None, typer.Argument(metavar="P", help="Target distribution: .json, .csv or .npy.")
    ] = None,
    draft: Annotated[
        Path | None, typer.Argument(metavar="Q", help="Draft distribution: .json, .csv or .npy.")
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Use the paper's P and Q.")] = False,
    family: Annotated[str, typer.Option("--class", help=f"One of {', '.join(CLASSES)}, or all.")] = "all",
    decoder: Annotated[str, typer.Option(help=f"{WATERMARKS}, or none; on both sides.")] = "gumbel",
    draft_decoder: Annotated[str | None, typer.Option(help="Another decoder for the draft model.")] = None,
    points: Annotated[int, typer.Option(help="Points from gamma = 0 to 1, both included.")] = 41,
    seeds: Annotated[int, typer.Option(help="Monte Carlo seeds, where needed.")] = SEEDS,
    seed: Annotated[int, typer.Option(help="Seed of the Monte Carlo generator.", min=0)] = 0,
    normalise: Annotated[
        bool,
        typer.Option("--normalise", help="Divide P and Q by their sums (float32 softmax, rounded numbers)."),
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file to write.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to write (.png, .pdf or .svg).")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a curve on standard output, nothing else.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Trade-off curves of efficiency and strength for a target P and a draft Q."""
    with exit_on_bad_input(quiet):
        from tradeoff.api import curve
        from tradeoff.curves import Setting
        from tradeoff.decoders import parse_decoder
        from tradeoff.files import output_folder, write_table

        if as_json or (output is None and plot is None):
            require_stdout()
        names = _classes(family)
        p, q = _distributions(target, draft, paper)
        if normalise:
            p, q = _normalised(p, "P"), _normalised(q, "Q")
        _check_suffix(output, (".csv",))
        _check_suffix(plot, (".png", ".pdf", ".svg"))
        _check_inputs({"P": target, "Q": draft}, output)
        if points < 2:
            raise ValueError(f"points={points} must be at least 2: gamma = 0 and gamma = 1")
        setting = Setting(p, q, parse_decoder(decoder), parse_decoder(draft_decoder or decoder), seeds, seed)
        gamma = [k / (points - 1) for k in range(points)]
        with nullcontext() if quiet else stderr().status("computing curves"):
            curves = {name: curve(name, setting, gamma=gamma) for name in names}
        written = []
        if output is not None:
            output_folder(output.parent)
            write_table(_table(curves), output)
            written.append(output)
        if plot is not None:
            _plot(setting, curves, plot)
            written.append(plot)
        if as_json:
            for name, one in curves.items():
                typer.echo(json.dumps(_facts(name, setting, one), allow_nan=False))
            return
        _print_summary(setting, curves, quiet)
        if written and not quiet:
            print_written(stdout(), written)


def _classes(family: str) -> list[str]:
    if family == "all":
        return list(CLASSES)
    if family not in CLASSES:
        raise ValueError(f"class={family!r} is unknown; choose one of {', '.join(CLASSES)}, or all")
    return [family]


def _distributions(target: Path | None, draft: Path | None, paper: bool) -> tuple[np.ndarray, np.ndarray]:
    from tradeoff.curves import PAPER_P, PAPER_Q
    from tradeoff.files import read_distribution

    if paper:
        if target is not None or draft is not None:
            raise ValueError("--paper brings its own P and Q; drop the files or the option")
        return PAPER_P, PAPER_Q
    if target is None or draft is None:
        raise ValueError("two files P and Q are needed, or --paper for the paper's example")
    return read_distribution(target, "P"), read_distribution(draft, "Q")


def _normalised(values: np.ndarray, name: str) -> np.ndarray:
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    if not 0 < total < np.inf:
        raise ValueError(f"{name} sums to {total:g} and cannot be normalised; pass probabilities or counts")
    return values / total


def _check_inputs(inputs: dict[str, Path | None], output: Path | None) -> None:
    for name, path in inputs.items():
        if path is not None and output is not None and path.resolve() == output.resolve():
            raise ValueError(f"{output} holds {name}; write the curves to another file")


def _check_suffix(path: Path | None, known: tuple[str, ...]) -> None:
    if path is not None and path.suffix.lower() not in known:
        raise ValueError(f"{path}: this output is written as {' or '.join(known)}; change the name")


def _table(curves: dict[str, Curve]) -> pd.DataFrame:
    """One curve as it is; several with their class in a first column."""
    import pandas as pd

    tables = {name: c.table() for name, c in curves.items()}
    if len(tables) == 1:
        return next(iter(tables.values()))
    return pd.concat(tables, names=["class"]).reset_index("class")


def _plot(setting: Setting, curves: dict[str, Curve], path: Path) -> None:
    # Matplotlib takes half a second to import, which only those who plot should pay.
    from tradeoff.curves import plot_curves
    from tradeoff.files import output_folder

    output_folder(path.parent)
    plot_curves(setting, list(curves.values()), path)


def _facts(name: str, setting: Setting, found: Curve) -> dict[str, object]:
    """A curve for programs: lists of one number a point, in order of gamma."""
    from tradeoff.laws import entropy, overlap

    return {
        "class": name,
        "decoders": setting.decoders,
        "n": len(setting.p),
        "overlap": float(overlap(setting.p, setting.q)),
        "entropy": float(entropy(setting.p)),
        **{column: values.tolist() for column, values in found.table().items()},
    }


def _print_summary(setting: Setting, curves: dict[str, Curve], quiet: bool) -> None:
    from rich.table import Table

    from tradeoff.curves import google_end_point_strength, hu_end_point_strength
    from tradeoff.laws import entropy, overlap

    p, q, out = setting.p, setting.q, stdout()
    out.print(
        f"n = {len(p)}   1 - TV(Q, P) = {overlap(p, q):.6f}   Ent(P) = {entropy(p):.6f} nats   "
        f"{setting.decoders}",
        soft_wrap=True,
    )
    table = Table("class", "gamma = 0: efficiency", "strength", "gamma = 1: efficiency", "strength")
    for name, c in curves.items():
        ends = [f"{c.efficiency[0]:.6f}", f"{c.strength[0]:.6f}"]
        ends += [f"{c.efficiency[-1]:.6f}", f"{c.strength[-1]:.6f}"]
        table.add_row(name, *ends)
    out.print(table)
    if quiet:
        return
    worst = max(max(c.efficiency_error.max(), c.strength_error.max()) for c in curves.values())
    out.print(
        "exact: no random numbers were used"
        if worst == 0
        else f"largest standard error: {worst:.2g} ({setting.seeds:,} seeds)",
    )
    if setting.target.degenerate and setting.draft.degenerate:
        out.print(
            f"strength at full efficiency: Hu {float(hu_end_point_strength(p, q)):.6f}, "
            f"Google {float(google_end_point_strength(p, q)):.6f}, "
            f"pseudorandom acceptance {entropy(p):.6f} (the optimum)",
            soft_wrap=True,
        )
