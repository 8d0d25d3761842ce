"""The three-way trade-off of red and green lists: efficiency, strength and distortion.

    python -m figures distortion               pdf, png and csv in figures/results
    python -m figures distortion --paper-only  without the positions of real text
    python -m figures distortion --check       the committed values on the paper's pair, beside what is
    computed

KGW with delta from 0.5 to 10 and three shares gamma of green tokens, plain under keep-strength, which accepts
E[1 - TV(Q_zeta, P_zeta)], and completed under joint-race-marked, which accepts as many and whose strength is
the cross-entropy of the mean law with P. Beside them what is unbiased: the linear class of Gumbel-max, or
time sharing at positions of text, and the optimum; and the most strength of any scheme by its distortion.

On the paper's P and Q all is exact. At the positions that `python -m figures figure_1_real` has saved
strength and distortion are exact too, given the positions, and the efficiency of lists is simulated.
Distortion is KL of the mean law from P. Derivation: docs/theory/biased.md.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from figures.joint.positions import PAIRS
from tradeoff.curves import (
    PAPER_P,
    PAPER_Q,
    Setting,
    biased_efficiency,
    curve,
    decompose,
    mean_over_lists,
    strongest_within,
)
from tradeoff.decoders import KGW, race_diagonal
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.errors import FileError
from tradeoff.files import output_folder, write_table
from tradeoff.laws import entropy, kl_divergence, overlap
from tradeoff.plotting import (
    COLORS,
    LINES,
    OPTIMUM,
    WIDTH,
    Axes,
    Figure,
    Look,
    add_note,
    curve_look,
    labelled,
    legend_below,
    method_look,
    new_figure,
    save_figure,
)
from tradeoff.workers import worker_pool

__all__ = ["check_committed", "compute_paper", "compute_positions", "draw", "draw_distortion"]

RESULTS = Path("figures/results")
COMMITTED = Path(__file__).parents[2] / "docs" / "results" / "tables" / "distortion.csv"
DELTAS = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
GAMMAS = (0.1, 0.25, 0.5)
#: The share of green tokens of what is shown completed.
_COMPLETED = 0.25
_BUDGETS = np.geomspace(1e-5, 1.0, 26)
_PAPER, _REAL = "P and Q of the paper", "positions of text"
_LOOKS = {
    0.1: Look(COLORS["orange"], LINES[1], "^"),
    0.25: Look(COLORS["blue"], LINES[0], "o"),
    0.5: Look(COLORS["green"], LINES[2], "s"),
}
_COMPLETED_LOOK = method_look("joint-race-marked")
_BOUND_LOOK = Look(COLORS["grey"], LINES[3], "")


def compute_paper() -> pd.DataFrame:
    """Every setting on the paper's pair, what is unbiased, and the bound by distortion: all exact."""
    p, q = PAPER_P, PAPER_Q
    rows = []
    for gamma in GAMMAS:
        for delta in DELTAS:
            decoder = KGW(delta, gamma)
            found = decompose(p, decoder)
            moved = found.distortion.value
            values = {"efficiency": biased_efficiency(p, q, decoder).value, "distortion": moved}
            both = {"plain": found.strength.value, "completed": float(entropy(found.mean)) + moved}
            rows += [
                {"scheme": f"kgw, {name}", "gamma": gamma, "delta": delta, **values, "strength": strength}
                for name, strength in both.items()
            ]
    linear = curve("linear", Setting(p, q))
    rows += [
        {"scheme": "unbiased", "efficiency": e, "strength": s, "distortion": 0.0}
        for e, s in zip(linear.efficiency, linear.strength, strict=True)
    ]
    rows.append(_optimum(float(overlap(p, q)), float(entropy(p))))
    for budget in _BUDGETS:
        most = strongest_within(p, q, 0.0, float(budget))
        rows.append({"scheme": "bound", "distortion": float(budget), "strength": most.bound})
    return pd.DataFrame(rows).assign(where=_PAPER)


def _optimum(efficiency: float, strength: float) -> dict[str, object]:
    return {"scheme": "optimum", "efficiency": efficiency, "strength": strength, "distortion": 0.0}


def compute_positions(
    laws: Callable[[int], tuple[np.ndarray, np.ndarray]],
    text: np.ndarray,
    *,
    seeds: int = 32,
    seed: int = 0,
    executor: ProcessPoolExecutor | None = None,
    advance: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """Means over positions of text.

    Args:
        laws: P and Q [n] at a position, by number.
        text: of every position, [positions].
        seeds, seed: lists a position and gamma for the efficiency, and the seed of their generators.
        executor: of worker processes; None for none.
        advance: called once a position.

    Returns:
        As `compute_paper`, with the standard error of the simulation, efficiency_error, and those of all
        means over
        texts, as of a sample: efficiency_spread, strength_spread, distortion_spread.
    """
    found = []
    if executor is None:
        for k in range(len(text)):
            found.append(_at_position(*laws(k), seeds, seed + k))
            advance()
    else:
        jobs = [executor.submit(_at_position, *laws(k), seeds, seed + k) for k in range(len(text))]
        for job in jobs:
            found.append(job.result())
            advance()
    values = np.stack([one[0] for one in found])
    ends = np.array([one[1] for one in found])
    rows: list[dict[str, object]] = []
    settings = [(gamma, delta) for gamma in GAMMAS for delta in DELTAS]
    for k, (gamma, delta) in enumerate(settings):
        efficiency, variance, strength, completed, moved = values[:, k].T
        errors = {"efficiency_error": float(np.sqrt(variance.sum())) / len(text)}
        shared = {"gamma": gamma, "delta": delta, **_mean("efficiency", efficiency, text)}
        shared |= _mean("distortion", moved, text) | errors
        rows.append({"scheme": "kgw, plain", **shared, **_mean("strength", strength, text)})
        rows.append({"scheme": "kgw, completed", **shared, **_mean("strength", completed, text)})
    sse, agreement, most = ends.T
    none = {"distortion": 0.0}
    rows.append({"scheme": "unbiased", **none, **_mean("efficiency", sse, text), "strength": 0.0})
    kept = {**_mean("efficiency", agreement, text), **_mean("strength", most, text)}
    rows.append({"scheme": "unbiased", **none, **kept})
    best = {**_mean("efficiency", sse, text), **_mean("strength", most, text)}
    rows.append({"scheme": "optimum", **none, **best})
    return pd.DataFrame(rows).assign(where=_REAL)


def _mean(name: str, values: np.ndarray, text: np.ndarray) -> dict[str, object]:
    """Over positions, and its standard error over texts: two positions of one text are not independent."""
    by_text = pd.Series(values).groupby(text).mean()
    return {name: float(values.mean()), f"{name}_spread": float(by_text.sem())}


def _at_position(
    p: np.ndarray, q: np.ndarray, seeds: int, seed: int
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Efficiency and the variance of its mean, strength, strength completed and distortion of every setting,
    [settings, 5]; 1 - TV, agreement of two races, Ent(P)."""
    rows = []
    surprise = -np.log(np.where(p > 0, p, 1.0))
    for gamma in GAMMAS:
        means = mean_over_lists(p, gamma, DELTAS, None)
        assert means is not None
        for delta, strength, mean in zip(DELTAS, *means, strict=True):
            # The same lists for every delta.
            rng = np.random.default_rng([seed, int(1000 * gamma)])
            found = biased_efficiency(p, q, KGW(delta, gamma), seeds=seeds, rng=rng)
            completed, moved = float(surprise @ mean), float(kl_divergence(mean, p))
            rows.append((found.value, found.standard_error**2, float(strength), completed, moved))
    ends = (float(overlap(p, q)), float(race_diagonal(p, q).sum()), float(entropy(p)))
    return np.array(rows), ends


def draw_distortion(
    out: Path = RESULTS,
    *,
    pairs: Path | None = PAIRS,
    seeds: int = 32,
    seed: int = 0,
    processes: int | None = None,
) -> list[Path]:
    """Compute and draw the figure.

    Args:
        out: folder for the pdf, png and csv.
        pairs: next-token pairs that `figures.curves.figure_1_real` has saved; None for the paper's pair
            alone.
        seeds, seed: lists a position and gamma, and the seed of their generators.
        processes: how many (default: one a core).

    Returns:
        The files written.

    Raises:
        FileError: if the pairs are missing or a file cannot be written.
        ValueError: for fewer than 4 seeds.
    """
    if pairs is not None and not pairs.exists():
        raise FileError(
            f"{pairs} does not exist; python -m figures figure_1_real makes it in figures/results, or use "
            "--paper-only"
        )
    output_folder(out)
    table = compute_paper()
    if pairs is not None:
        # PyTorch takes seconds to import.
        from tradeoff.llm import load_pairs

        saved = load_pairs(pairs)
        columns = (Words(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=stderr(), transient=True) as progress, worker_pool(processes) as pool:
            task = progress.add_task("positions", total=len(saved))
            real = compute_positions(
                lambda k: saved.probabilities(k, 1.0),
                saved.text,
                seeds=seeds,
                seed=seed,
                executor=pool,
                advance=lambda: progress.advance(task),
            )
        table = pd.concat([table, real], ignore_index=True).assign(positions=len(saved), seeds=seeds)
    written = [out / f"distortion.{suffix}" for suffix in ("pdf", "png", "csv")]
    save_figure(_figure(table), written[:2])
    write_table(table, written[2])
    return written


def _figure(table: pd.DataFrame) -> Figure:
    """A row a setting: strength against efficiency, and against distortion."""
    places = list(table["where"].unique())
    figure, grid = new_figure(len(places), 2, size=(WIDTH, 2.9 * len(places) + 1.3), sharey="row")
    for (left, right), place in zip(grid, places, strict=True):
        part = table[table["where"] == place]
        _draw_lists(left, part, "efficiency")
        _draw_lists(right, part, "distortion")
        _draw_unbiased(left, part)
        bound = part[part["scheme"] == "bound"]
        if len(bound):
            look = _BOUND_LOOK
            right.plot(
                bound["distortion"], bound["strength"], lw=1.4, label="most of any scheme", **look.stroke
            )
        most = float(part.loc[part["scheme"] == "optimum", "strength"].iloc[0])
        right.axhline(most, color=COLORS["black"], lw=1, label="Ent(P)")
        right.set_xscale("log")
        name = "P and Q of the paper" if place == _PAPER else "positions of text"
        left.set(title=f"{name}: efficiency", xlabel="efficiency", ylabel="strength (nats)")
        right.set(title=f"{name}: distortion", xlabel="distortion, KL(mean law ‖ P) (nats)")
    legend_below(figure, labelled(*grid.flat), columns=3)
    add_note(figure, _caption(table))
    return figure


def _caption(table: pd.DataFrame) -> str:
    text = (
        f"KGW, δ = {', '.join(f'{d:g}' for d in DELTAS)}: strength rises with δ. Completed: "
        "joint-race-marked, plain: keep-strength, at the same efficiency and distortion. Exact for the "
        f"paper's P and Q (n = {len(PAPER_P)})."
    )
    if "positions" not in table:
        return text
    worst = table["efficiency_error"].max()
    spreads = [table[f"{name}_spread"].max() for name in ("efficiency", "strength")]
    return (
        f"{text} Text: means over {int(table['positions'].iloc[0])} positions of the built-in pair, T = 1; "
        f"strength and distortion exact given these, efficiency from {int(table['seeds'].iloc[0])} lists a "
        f"position, standard error below {_above(worst)}. Standard errors of the means over texts: at most "
        f"{_above(spreads[0])} in efficiency, {_above(spreads[1])} nats in strength."
    )


def _above(value: float) -> str:
    return f"{np.ceil(1e4 * value) / 1e4:.4f}"


def _draw_lists(axes: Axes, part: pd.DataFrame, across: str) -> None:
    series = [(f"γ = {gamma:g}", look, "kgw, plain", gamma) for gamma, look in _LOOKS.items()]
    series.append((f"γ = {_COMPLETED:g}, completed", _COMPLETED_LOOK, "kgw, completed", _COMPLETED))
    for label, look, scheme, gamma in series:
        rows = part[(part["scheme"] == scheme) & (part["gamma"] == gamma)].sort_values("delta")
        axes.plot(rows[across], rows["strength"], ms=5, lw=1.4, label=label, **look.both)
        if gamma == _COMPLETED and scheme == "kgw, plain":
            # On the left points of all shares lie close to one another.
            for delta in (5.0,) if across == "efficiency" else (1.0, 2.0, 5.0):
                row = rows[rows["delta"] == delta].iloc[0]
                axes.annotate(
                    f"δ = {delta:g}",
                    (row[across], row["strength"]),
                    (-6, 5),
                    textcoords="offset points",
                    ha="right",
                    color=look.mixed("black", 0.35).color,
                )


def _draw_unbiased(axes: Axes, part: pd.DataFrame) -> None:
    rows, best = part[part["scheme"] == "unbiased"], part[part["scheme"] == "optimum"]
    chord = len(rows) == 2
    look = curve_look("time-sharing" if chord else "linear")
    name = "unbiased: time sharing, Gumbel-max" if chord else "unbiased: linear class, Gumbel-max"
    color = COLORS["vermilion"]
    axes.plot(rows["efficiency"], rows["strength"], lw=1.4, label=name, color=color, ls=look.line)
    axes.plot(best["efficiency"], best["strength"], ms=11, label="optimum, unbiased", **OPTIMUM.points)


def check_committed(path: Path = COMMITTED) -> list[tuple[str, float, float]]:
    """What the committed table says of the paper's pair, and what is computed: (name, committed, computed).

    Raises:
        FileError: if the table cannot be read.
    """
    if not path.exists():
        raise FileError(f"{path} does not exist; git checkout brings it back")
    keys = ("scheme", "gamma", "delta")
    committed = pd.read_csv(path)
    committed = committed[committed["where"] == _PAPER].reset_index(drop=True)
    computed = compute_paper()
    found = []
    for (_, was), (_, now) in zip(committed.iterrows(), computed.iterrows(), strict=True):
        for name in ("efficiency", "strength", "distortion"):
            told = ", ".join(f"{was[key]:g}" if key != "scheme" else str(was[key]) for key in keys)
            if not (pd.isna(was[name]) and pd.isna(now[name])):
                found.append((f"{told}: {name}", float(was[name]), float(now[name])))
    return found


def _report_check() -> bool:
    found = check_committed()
    off = [one for one in found if not abs(one[1] - one[2]) <= _AGREED]
    table = Table("value", "committed", "computed")
    for name, was, now in off or found[:6]:
        table.add_row(name, f"{was:.9g}", f"{now:.9g}")
    stdout().print(table)
    stdout().print(f"{len(found) - len(off)} of {len(found)} values agree to {_AGREED:g}")
    return not off


#: What a solver may leave.
_AGREED = 1e-6


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    pairs: Annotated[Path, typer.Option(help="Saved next-token pairs.")] = PAIRS,
    paper_only: Annotated[bool, typer.Option("--paper-only", help="The paper's pair alone.")] = False,
    seeds: Annotated[int, typer.Option(help="Lists a position, for the efficiency.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of their generators.")] = 0,
    processes: Annotated[int | None, typer.Option(help="Processes (default: one a core).")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the committed values, and exit 1 if one is off.")
    ] = False,
) -> None:
    """Draw efficiency, strength and distortion of red and green lists."""
    with exit_on_bad_input():
        if check:
            raise typer.Exit(0 if _report_check() else 1)
        where = None if paper_only else pairs
        written = draw_distortion(out, pairs=where, seeds=seeds, seed=seed, processes=processes)
        print_written(stdout(), written)
