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
    Axes,
    Figure,
    LogLocator,
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
#: Width of the band left of 0, in which what has no distortion lies side by side.
_BAND = 2e-3
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
    figure, panels = new_figure(1, table["temperature"].nunique(), size=(13.6, 5.6))
    for axes, (temperature, part) in zip(panels[0], table.groupby("temperature"), strict=True):
        _draw_panel(axes, part)
        most = float(part["entropy"].iloc[0])
        axes.set_title(f"temperature {temperature:g}: mean Ent(P) {most:.2f} nats")
    panels[0][0].set_ylabel(f"tokens to detect at α = {ALPHA:g}:  log(1/α) / growth")
    legend_below(figure, labelled(panels[0][0]), columns=4)
    add_note(
        figure,
        f"{target}, {texts} texts, one position each, cut to the {HEAD} most probable tokens. Lines: rising "
        "tilt, from 0.",
    )
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame) -> None:
    baselines = {"Gumbel-max": watermark_look("gumbel"), f"SynthID, m = {ROUNDS}": watermark_look("synthid")}
    looks = {family.label: watermark_look(decoder_name(family.decoder)) for family in FAMILIES} | baselines
    most = float(part["entropy"].iloc[0])
    axes.axhline(
        math.log(1 / ALPHA) / most,
        color=COLORS["grey"],
        lw=1,
        ls=":",
        label="bound without distortion, growth = Ent(P)",
    )
    axes.axvspan(-_BAND, -0.04 * _BAND, color=COLORS["grey"], alpha=0.12, lw=0, label="no distortion")
    places = iter(np.linspace(0.9, 0.14, 7) * _BAND)
    for (name, bet), rows in part.groupby(["watermark", "bet"], sort=False):
        single = name in baselines or len(rows) == 1
        look = looks[name]
        # Stakes on f beside the ranks' likelihood ratio: hollow, and dashed.
        hollow = bet == "1 + ηf"
        label = f"{name}, bet on {'f' if hollow else 'rank'}" if "Heavy" in name else name
        axes.plot(
            rows["kl"] - (next(places) if single else 0),
            rows["tokens"],
            ls="none" if single else ("--" if hollow else "-"),
            marker=look.marker if single else ".",
            ms=8,
            mfc="white" if hollow else look.color,
            color=look.color,
            lw=1.6,
            label=label,
            mew=1.6 if hollow else 0.8,
            mec=look.color if hollow else "white",
            zorder=4 if single else 3,
        )
    axes.set(xlabel="distortion: KL(mean law ‖ P), nats a token", yscale="log")
    axes.set_xscale("symlog", linthresh=2e-3, linscale=0.9)
    axes.set_xticks([0, 1e-2, 1e-1], ["0", "0.01", "0.1"])
    axes.set_xlim(-_BAND, None)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


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
