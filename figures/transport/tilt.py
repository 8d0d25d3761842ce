"""Detection against distortion: what a tilt buys SimplexWater and HeavyWater at positions of real text.

    python -m figures transport_tilt     pdf, png and csv in figures/results

Next-token laws are those that `python -m figures figure_1_real` has saved, one position a text, cut to their
50 most probable tokens for every watermark alike. `tilt` multiplies the laws given s by exp(tilt f): tokens
score higher, and their mean law leaves P. It acts on what a plan leaves to chance, hence on Sinkhorn's soft
laws; exact plans, Gumbel-max and SynthID stand beside them without distortion.

Detection is the growth, in nats a token, of the best bet that stays the same from token to token: the mean
over positions and all values of s of log e, for a score e whose mean is 1 on other text. Then log(1/alpha) /
growth is about the number of tokens until a text is convicted at level alpha, however often one looks. Bets:

    SimplexWater   the likelihood ratio of its two scores,
    HeavyWater     1 + eta f, and the likelihood ratio of classes of the rank of f in its token's row,
    Gumbel-max     that of the same classes of U,
    SynthID        that of the number of ones among 30 bits.

All is exact, given the laws and one table of scores, but SynthID, which is simulated. The bets are the best
for the texts at hand; standard errors, in the csv, are over texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from scipy import stats

from tradeoff.decoders import (
    SimplexScores,
    SynthID,
    Transport,
    decoder_name,
    heavy_water,
    simplex_water,
    tilted,
)
from tradeoff.detection import growth_of_classes, growth_of_stakes
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.errors import FileError
from tradeoff.files import output_folder, write_table
from tradeoff.laws import entropy, kl_divergence
from tradeoff.optimal_transport import Sinkhorn, seeded_table
from tradeoff.plotting import (
    COLORS,
    WIDTH,
    Axes,
    Figure,
    LogLocator,
    Look,
    NullFormatter,
    add_note,
    labelled,
    legend_below,
    new_figure,
    save_figure,
    watermark_look,
)

__all__ = ["ALPHA", "HEAD", "compute", "draw", "draw_transport_tilt"]

RESULTS = Path("figures/results")
PAIRS = RESULTS / "next_token_pairs.npz"
TEMPERATURES = (0.3, 0.5, 1.0)
#: Level of the tokens to detect.
ALPHA = 0.01
HEAD = 50
ROUNDS = 30
#: Tokens that a transport leaves alone are left out for all.
_LEAST = 2.0**-20
#: Upper ends of the classes of ranks and uniforms, in 1,024ths: finer towards 1.
_ENDS = np.unique(np.append(np.round(1024 * (1 - 2.0 ** (-np.arange(1, 21) / 2))), 1024)).astype(int)
_WIDTHS = np.diff(_ENDS, prepend=0) / 1024


@dataclass(frozen=True)
class Family:
    """A transport watermark, its tilts, its name in the picture, and for binary scores the mean of a row."""

    decoder: Transport
    tilts: tuple[float, ...]
    label: str
    binary: float | None = None


_SIMPLEX_TILTS = (0.0, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_HEAVY_TILTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
_BINARY = SimplexScores(10).mean
#: Exact plans are first, so that soft ones lie on top.
FAMILIES = (
    Family(simplex_water(10), (0.0,), "SimplexWater, exact", _BINARY),
    Family(heavy_water("lognormal"), (0.0,), "HeavyWater log-normal, exact"),
    Family(heavy_water("gamma"), (0.0,), "HeavyWater gamma, exact"),
    Family(simplex_water(10, solver=Sinkhorn()), _SIMPLEX_TILTS, "SimplexWater, Sinkhorn", _BINARY),
    Family(
        heavy_water("lognormal", solver=Sinkhorn()),
        _HEAVY_TILTS,
        "HeavyWater log-normal, Sinkhorn",
    ),
    Family(heavy_water("gamma", solver=Sinkhorn()), _HEAVY_TILTS, "HeavyWater gamma, Sinkhorn"),
)


def compute(
    laws: dict[float, list[np.ndarray]],
    *,
    families: tuple[Family, ...] = FAMILIES,
    seeds: int = 256,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """Distortion and detection of every watermark: one row a temperature, watermark, bet and tilt.

    Args:
        laws: next-token laws [n] by temperature, one a text.
        families: transport watermarks.
        seeds, seed: simulated tournaments a text, and the seed of their generator.
        advance: called once a temperature and watermark.

    Returns:
        Columns temperature, watermark, bet, tilt, kl (of the mean law from P), rise (in cross-entropy),
        strength, entropy (of P), growth, growth_error, tokens; all in nats a token but the last.
    """
    rows = []
    for temperature, every in laws.items():
        heads = [_head(p) for p in every]
        most = float(np.mean([entropy(p) for _, p in heads]))
        parts = [
            (name, bet, 0.0, {"kl": 0.0, "rise": 0.0, "strength": strength}, growth)
            for name, bet, strength, growth in _without_distortion(heads, most, seeds, seed)
        ]
        advance()
        for family in families:
            parts += _transported(family, heads)
            advance()
        for name, bet, tilt, means, growth in parts:
            mean, error = float(growth.mean()), float(growth.std(ddof=1) / math.sqrt(len(growth)))
            rows.append(
                {"temperature": temperature, "watermark": name, "bet": bet, "tilt": tilt, **means}
                | {"entropy": most, "growth": mean, "growth_error": error}
                | {"tokens": math.log(1 / ALPHA) / mean}
            )
    return pd.DataFrame(rows)


Part = tuple[str, str, float, dict[str, float], np.ndarray]
Heads = list[tuple[np.ndarray, np.ndarray]]


def _head(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids and probabilities of the most probable tokens, as a law."""
    ids = np.argpartition(-p, HEAD - 1)[:HEAD] if len(p) > HEAD else np.arange(len(p))
    ids = np.sort(ids[p[ids] >= _LEAST * p[ids].sum()])
    return ids, p[ids] / p[ids].sum()


def _transported(family: Family, heads: Heads) -> Iterator[Part]:
    """Rows of one watermark at one temperature, for every tilt."""
    scores, table = family.decoder.scores, seeded_table(family.decoder.seed)
    known = []
    for ids, p in heads:
        f = scores.rows(ids, table)
        laws = np.ones_like(f) if len(ids) == 1 else family.decoder.solver(p, f).laws
        known.append((p, f, laws))
    classes = [] if family.binary is not None else [_classes(f) for _, f, _ in known]
    for tilt in family.tilts:
        texts, weights = [], []
        for p, f, laws in known:
            given_s = tilted(laws.T, f.T, tilt).T if tilt else laws
            mean = given_s.mean(axis=-1)
            rise = float(-(mean * np.log(p)).sum() - entropy(p))
            texts.append(
                (float(kl_divergence(mean, p)), rise, float(entropy(mean) - entropy(given_s.T).mean()))
            )
            weights.append(given_s / scores.k)
        means = dict(zip(("kl", "rise", "strength"), np.mean(texts, axis=0).tolist(), strict=True))
        all_scores = [f for _, f, _ in known]
        if family.binary is not None:
            high = np.array([float((w * f).sum()) for w, f in zip(weights, all_scores, strict=True)])
            null = np.array([1 - family.binary, family.binary])
            growth = growth_of_classes(np.stack([1 - high, high], axis=-1), null)
            yield family.label, "values", tilt, means, growth
            continue
        yield family.label, "1 + ηf", tilt, means, growth_of_stakes(weights, all_scores)[0]
        law = np.stack(
            [
                np.bincount(c.ravel(), w.ravel(), minlength=len(_ENDS))
                for c, w in zip(classes, weights, strict=True)
            ]
        )
        yield family.label, "rank", tilt, means, growth_of_classes(law, _WIDTHS)


def _classes(scores: np.ndarray) -> np.ndarray:
    """The class of the rank of every score in its row: [m, k]."""
    ranks = np.argsort(np.argsort(scores, axis=-1), axis=-1)
    return np.searchsorted(_ENDS * scores.shape[-1], 1024 * ranks, side="right")


def _without_distortion(
    heads: Heads, most: float, seeds: int, seed: int
) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Gumbel-max, exactly, and SynthID: name, bet, strength, growth [texts]."""
    # A token of probability p wins with U <= u with probability p u^(1/p).
    ends = _ENDS / 1024
    below = np.stack([(p * ends[:, None] ** (1 / p)).sum(axis=-1) for _, p in heads])
    yield "Gumbel-max", "uniform", most, growth_of_classes(np.diff(below, axis=-1, prepend=0), _WIDTHS)

    decoder, rng = SynthID(ROUNDS), np.random.default_rng(seed)
    law, left = np.zeros((len(heads), ROUNDS + 1)), 0.0
    for here, (_, p) in zip(law, heads, strict=True):
        zeta = decoder.draw(rng, (seeds,), len(p))
        given = decoder(p, zeta)
        ones = sum((zeta.word(0) >> level) & 1 for level in range(ROUNDS))
        here += np.bincount(np.ravel(ones), given.ravel() / seeds, minlength=ROUNDS + 1)
        left += float(entropy(given).mean()) / len(heads)
    null = stats.binom.pmf(np.arange(ROUNDS + 1), ROUNDS, 0.5)
    yield f"SynthID, m = {ROUNDS}", "ones", most - left, growth_of_classes(law, null)


def draw_transport_tilt(
    out: Path = RESULTS,
    *,
    pairs: Path = PAIRS,
    texts: int = 40,
    seeds: int = 256,
    seed: int = 0,
    families: tuple[Family, ...] = FAMILIES,
) -> list[Path]:
    """Compute and draw the figure.

    Args:
        out: folder for the pdf, png and csv.
        pairs: next-token pairs that `figures.curves.figure_1_real` has saved; only target laws are used.
        texts, seeds: how many texts, one position each, and simulated tournaments a text.
        seed: of the choice of texts and positions, and of the tournaments.
        families: transport watermarks.

    Returns:
        The files written.

    Raises:
        FileError: if the pairs are missing or a file cannot be written.
        ValueError: for fewer than 2 texts or more than there are, or fewer than 1 seed.
    """
    if not pairs.exists():
        raise FileError(
            f"{pairs} does not exist; python -m figures figure_1_real makes it in figures/results, or name "
            "another file by --pairs"
        )
    # PyTorch takes seconds to import.
    from tradeoff.llm import load_pairs

    saved = load_pairs(pairs)
    there = np.unique(saved.text)
    if not 2 <= texts <= len(there):
        raise ValueError(f"texts={texts} must be from 2 to {len(there)}, the texts in {pairs}")
    if seeds < 1:
        raise ValueError(f"seeds={seeds} must be at least 1")
    output_folder(out)
    rng = np.random.default_rng(seed)
    chosen = [int(rng.choice(np.flatnonzero(saved.text == text))) for text in rng.permutation(there)[:texts]]
    laws = {t: [saved.probabilities(k, t)[0] for k in chosen] for t in TEMPERATURES}
    columns = (Words(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task("transport", total=len(laws) * (1 + len(families)))
        table = compute(
            laws, families=families, seeds=seeds, seed=seed, advance=lambda: progress.advance(task)
        )
    written = [out / f"transport_tilt.{suffix}" for suffix in ("pdf", "png", "csv")]
    save_figure(_figure(table, str(saved.settings["target"]), texts), written[:2])
    write_table(table, written[2])
    return written


def _figure(table: pd.DataFrame, target: str, texts: int) -> Figure:
    """Above: what has no distortion, a row each. Below: soft plans, by the distortion of their tilt."""
    figure, grid = new_figure(2, table["temperature"].nunique(), size=(WIDTH, 5.6), sharey="row")
    for (above, below), (temperature, part) in zip(grid.T, table.groupby("temperature"), strict=True):
        most = float(part["entropy"].iloc[0])
        _draw_rows(above, part)
        _draw_tilts(below, part)
        bound = math.log(1 / ALPHA) / most
        ends = [0.85 * bound, *above.get_xlim(), *below.get_xlim()]
        for axes in (above, below):
            axes.axvline(bound, label="bound without distortion", color=COLORS["grey"], lw=1, ls=":")
            axes.set_xlim(min(ends), max(ends))
        above.set_title(f"T = {temperature:g}\nmean Ent(P) {most:.2f} nats")
        below.set_xlabel("tokens to detect")
    grid[1, 0].set_ylim(-1e-4, 1.3 * table["kl"].max())
    grid[1, 0].set_ylabel("distortion (nats a token)")
    legend_below(figure, labelled(grid[1, 0]), columns=2)
    add_note(
        figure,
        f"{target}, n = {texts} texts, one position each, cut to the {HEAD} most probable tokens. Tokens to "
        f"detect at α = {ALPHA:g}: log(1/α) / growth; bound: growth = Ent(P). Above: without distortion; "
        "bars: 1.96 standard errors over texts. Below: by Sinkhorn, tilt rising; distortion: KL of the mean "
        "law from P.",
    )
    return figure


def _rows_of(part: pd.DataFrame) -> list[tuple[str, Look, pd.Series]]:
    """What is not tilted: its name, look, and row of the table."""
    rows = []
    for (name, bet), found in part.groupby(["watermark", "bet"], sort=False):
        if len(found) == 1:
            rows.append((*_look(str(name), str(bet)), found.iloc[0]))
    return rows


def _draw_rows(axes: Axes, part: pd.DataFrame) -> None:
    rows = _rows_of(part)
    for place, (_, look, row) in enumerate(rows):
        # An interval of the growth is one of its inverse.
        low, high = row["growth"] - 1.96 * row["growth_error"], row["growth"] + 1.96 * row["growth_error"]
        ends = [math.log(1 / ALPHA) / max(g, 1e-9) for g in (high, low)]
        bars = [[row["tokens"] - ends[0]], [ends[1] - row["tokens"]]]
        axes.errorbar(row["tokens"], place, xerr=bars, ms=6, elinewidth=1, **look.points)
    axes.set(xscale="log", ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    _round_numbers(axes)


def _draw_tilts(axes: Axes, part: pd.DataFrame) -> None:
    for (name, bet), rows in part.groupby(["watermark", "bet"], sort=False):
        if len(rows) > 1:
            label, look = _look(str(name), str(bet))
            axes.plot(rows["tokens"], rows["kl"], ms=4, lw=1.4, label=label, **look.both)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=2e-3, linscale=0.5)
    axes.set_yticks([0, 1e-2, 1e-1], ["0", "0.01", "0.1"])
    _round_numbers(axes)


def _look(name: str, bet: str) -> tuple[str, Look]:
    """Of a watermark and a bet: stakes on f beside the ranks' likelihood ratio are hollow, and dashed."""
    baselines = {"Gumbel-max": watermark_look("gumbel"), f"SynthID, m = {ROUNDS}": watermark_look("synthid")}
    looks = {family.label: watermark_look(decoder_name(family.decoder)) for family in FAMILIES} | baselines
    stakes = bet == "1 + ηf"
    label = f"{name}, bet on {'f' if stakes else 'rank'}" if "Heavy" in name else name
    return label, looks[name].varied("--" if stakes else "-", filled=not stakes)


def _round_numbers(axes: Axes) -> None:
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw(
    out: Annotated[Path, typer.Option(help="Folder for the pdf, png and csv.")] = RESULTS,
    pairs: Annotated[Path, typer.Option(help="Saved next-token pairs.")] = PAIRS,
    texts: Annotated[int, typer.Option(help="Texts, one position each.")] = 40,
    seeds: Annotated[int, typer.Option(help="Simulated tournaments a text, for SynthID.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of texts, positions and tournaments.")] = 0,
) -> None:
    """Draw detection against distortion on a real model's next-token laws."""
    with exit_on_bad_input():
        written = draw_transport_tilt(out, pairs=pairs, texts=texts, seeds=seeds, seed=seed)
        print_written(stdout(), written)
