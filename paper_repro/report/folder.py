"""The report of a folder: from its tables alone, so that it can be written again without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from figures.curves.figure_1 import compute, write
from figures.experiment.rates import draw_detection_figures
from figures.experiment.shares import draw_sequential_figure
from figures.experiment.watermarks import draw_watermark_figure
from paper_repro.presets import Preset, load_preset
from paper_repro.report.decided import Claim, Verdict, read_claims
from paper_repro.report.glance import glance_table
from paper_repro.report.origin import Origin
from paper_repro.report.page import Report, Section, write_report
from paper_repro.report.pictures import Picture
from paper_repro.report.sections import sections
from paper_repro.trials.fixed import FPR
from tradeoff.curves import DEFAULT_SEEDS, PAPER_P, PAPER_Q
from tradeoff.errors import FileError

__all__ = ["decidable", "left_out", "read_table", "report_of"]

#: Sections of a run that says itself too small for comparisons.
_OF_ANY_SIZE = ("claims", "detection", "efficiency", "settings")
_TABLES = ("tpr", "power", "paired", "predicted", "edits", "model_aware", "sequential", "watermarks")
_QUALITY = "quality"
_FORMATS = (".png", ".svg")
_FIGURE_1 = "figure_1"


def report_of(folder: Path) -> list[Path]:
    """Draw the pictures of a folder and write its report.html.

    Args:
        folder: with the tables and the run.json of `python -m paper_repro.experiment`. Figure 1 is taken from
            the folder above, where `python -m paper_repro` draws it, or drawn in this one.

    Returns:
        The files written.

    Raises:
        FileError: if a file is missing, cannot be read or cannot be written.
    """
    origin = Origin.read(folder)
    preset = load_preset(origin.preset)
    tables = {name: read_table(folder, name) for name in _TABLES}
    # Runs of an earlier version did not measure it.
    measured = (folder / f"{_QUALITY}.csv").exists()
    tables[_QUALITY] = read_table(folder, _QUALITY) if measured else pd.DataFrame()
    speed = read_table(folder, "speed")
    decided = read_claims(folder / "claims.csv")
    opening, written = _figure_1(folder)
    written += [
        *draw_detection_figures(folder, _FORMATS),
        *draw_sequential_figure(folder, _FORMATS),
        *draw_watermark_figure(folder, _FORMATS),
    ]
    shown, small = decidable(preset, decided), bool(preset.larger)
    parts = sections(preset, speed, tables, written, shown, origin.passages)
    there = [part for part in map(_filled, parts) if part.tables or part.pictures or part.claims]
    kept = [part for part in there if not small or part.anchor in _OF_ANY_SIZE]
    glance = glance_table(preset, tables["tpr"], speed)
    report = Report(
        f"Watermark detection under speculative decoding: {preset.title}",
        _summary(speed, shown),
        [
            ("date", origin.date),
            ("tradeoff", f"version {origin.version}"),
            ("commit", origin.commit),
            ("preset", origin.preset),
        ],
        Section(
            "At a glance",
            "glance",
            tables=[(f"What this run found, at a false-positive rate of {FPR:.0%}", glance)],
            pictures=[opening],
        ),
        left_out(preset, decided, [part.title for part in there if part not in kept]),
        kept,
        origin.command,
    )
    write_report(folder / "report.html", report)
    return [*written, folder / "report.html"]


def decidable(preset: Preset, decided: Sequence[Claim]) -> list[Claim]:
    """The claims that are shown: all, but for those that a preset with a larger one has too few texts for."""
    return [one for one in decided if not (preset.larger and one.needs_texts)]


def left_out(preset: Preset, decided: Sequence[Claim], titles: Sequence[str] = ()) -> str:
    """What a preset is too small for, and which one is not; empty if nothing is left out.

    Args:
        preset: that was run.
        decided: all claims.
        titles: of sections.
    """
    hidden = len(decided) - len(decidable(preset, decided))
    names = [f"{hidden} of {len(decided)} claims"] * bool(hidden) + list(titles)
    if not names:
        return ""
    texts: Counter[tuple] = Counter()
    for cell in preset.cells():
        texts[cell.watermark, cell.temperature, cell.label] += cell.texts * cell.detect
    return (
        f"Left out, since {max(texts.values())} texts a method are too few to decide: {', '.join(names)}. "
        f"The preset {preset.larger} decides more: python -m paper_repro --preset {preset.larger}"
    )


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """The table NAME.csv of a folder; empty if it has no rows.

    Raises:
        FileError: if it is missing or is none.
    """
    path = folder / f"{name}.csv"
    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read ({error}); run the experiment again") from error


def _figure_1(folder: Path) -> tuple[Picture, list[Path]]:
    """Figure 1 as it is embedded, and what was written for it."""
    path, written = folder.parent / f"{_FIGURE_1}.png", []
    if not path.exists():
        planes, _ = compute(PAPER_P, PAPER_Q)
        written = write(planes, folder, _FIGURE_1, DEFAULT_SEEDS, suffixes=_FORMATS)
        path = folder / f"{_FIGURE_1}.png"
    picture = Picture(
        path,
        "Figure 1, on the paper's P and Q: up is easier to detect, right is faster. The star is reached when "
        "the coin that accepts drafts is keyed (Theorem 4.1).",
        "Two panels of curves of watermark strength against sampling efficiency. Every earlier class of "
        "methods gives up strength or efficiency; the star in the upper right corner has the most of both.",
    )
    return picture, written


def _summary(speed: pd.DataFrame, shown: Sequence[Claim]) -> str:
    counts = Counter(one.verdict for one in shown)
    said = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    return (
        "A watermark makes the text of a language model detectable, speculative decoding makes it fast; "
        f"{int(speed['texts'].sum()):,} texts were generated to see what is left of each when both are used. "
        + (f"Claims, each decided at 95%: {said}." if shown else "This run is too small to decide a claim.")
    )


def _filled(section: Section) -> Section:
    """Without tables that have no rows."""
    return replace(section, tables=[(caption, table) for caption, table in section.tables if len(table)])
