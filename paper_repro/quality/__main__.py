"""What a watermark costs beside LOGPPL: repetition, likeness of several answers, answers that are right.

    python -m paper_repro.quality --texts FOLDER [--out docs/results/tables]

The built-in target, with its fast draft, writes several texts of every prompt: without a watermark, with the
joint race and with the joint tournament. They are kept in FOLDER, and a run that was stopped goes on there.
Everything is seeded. Tables:

    self_bleu   how like each other the texts of one prompt are, by scheme and by what tells them apart:
                seeds, keys, nothing but one key, or one key behind beginnings without a mark
    quality     distinct-n, repetition and likeness of texts of different prompts, every text under a key of
                its own run, beside no watermark
    answers     the share of questions with a known short answer that are answered right
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track
from rich.table import Table

from paper_repro.measuring import OutOption, Tables
from paper_repro.quality.answers import AGREEMENT
from paper_repro.quality.by_cell import estimated, quality_row
from paper_repro.quality.measures import self_bleu
from paper_repro.quality.writing import SCHEMES, Cell, Run, Source, Way, write
from tradeoff.display import exit_on_bad_input, stderr, stdout
from tradeoff.files import output_folder
from tradeoff.llm import load_pair
from tradeoff.texts import builtin_answers, builtin_prompts

__all__ = ["answer_rows", "cells", "quality_rows", "self_bleu_rows"]

TEMPERATURE = 0.7
#: Open questions, texts of each, and their tokens.
PROMPTS, TEXTS, TOKENS = 30, 4, 48
#: Of questions with known answers: texts of each, and their tokens.
ANSWERS, ANSWER_TOKENS = 4, 12
FACTS = "facts"
#: The fast draft of the built-in target: what is written has the target's law with any.
_DRAFT = "jump"
_PLAIN = SCHEMES[0]
_MARKED = (Way.KEYS, Way.ONE_KEY, Way.UNMARKED)


def cells() -> list[Cell]:
    """All that is written: every text under its own seed or key, and of open prompts also under one key."""
    known = Source(
        FACTS, tuple((name, prompt) for name, prompt, _ in builtin_answers()), True, ignore_eos=False
    )
    found = [Cell(known, *scheme, _apart(scheme), ANSWERS, ANSWER_TOKENS, TEMPERATURE) for scheme in SCHEMES]
    questions = Source("question", tuple(builtin_prompts("question")[:PROMPTS]), True)
    found += [
        Cell(questions, *scheme, way, TEXTS, TOKENS, TEMPERATURE)
        for scheme in SCHEMES
        for way in ((Way.SEEDS,) if scheme == _PLAIN else _MARKED)
    ]
    return found


def _apart(scheme: tuple[str, str]) -> Way:
    """What makes texts of one prompt independent."""
    return Way.SEEDS if scheme == _PLAIN else Way.KEYS


#: What was written of a scheme and way: runs, prompts of all sources together.
Written = dict[tuple[str, str, Way], list[Run]]


def pooled(texts: Mapping[Cell, Sequence[Run]]) -> Written:
    """Runs by method, watermark and way, sources together."""
    found: Written = {}
    for cell, runs in texts.items():
        joined = found.setdefault((cell.method, cell.watermark, cell.way), [{} for _ in runs])
        for whole, run in zip(joined, runs, strict=True):
            whole |= run
    return found


def self_bleu_rows(texts: Written) -> list[dict[str, object]]:
    """Self-BLEU of the texts of one prompt and the share of pairs that are equal, and their differences from
    no watermark with other seeds. Units are prompts."""
    values = {
        key: {
            "self_bleu": {name: self_bleu(ids) for name, ids in _by_prompt(runs).items()},
            "equal": {name: _equal_pairs(ids) for name, ids in _by_prompt(runs).items()},
        }
        for key, runs in texts.items()
    }
    plain = values[*_PLAIN, Way.SEEDS]
    rows = []
    for (method, watermark, way), told in values.items():
        row: dict[str, object] = {"method": method, "watermark": watermark, "apart_by": str(way)}
        runs = texts[method, watermark, way]
        row |= {"prompts": len(runs[0]), "texts_a_prompt": len(runs)}
        for name, own in told.items():
            row |= estimated(name, own) if told is plain else estimated(name, own, own, plain[name])
        rows.append(row)
    return rows


def _by_prompt(runs: Sequence[Run]) -> dict[str, list[tuple[int, ...]]]:
    return {name: [run[name].token_ids for run in runs] for name in runs[0]}


def _equal_pairs(texts: Sequence[tuple[int, ...]]) -> float:
    pairs = [one == other for place, one in enumerate(texts) for other in texts[:place]]
    return float(np.mean(pairs))


def quality_rows(texts: Written, tokens: int) -> list[dict[str, object]]:
    """Quality of texts of different prompts, where every run has a key or seed of its own."""
    runs = {key: [_ids(run) for run in found] for key, found in texts.items() if key[2] in _INDEPENDENT}
    plain = runs[*_PLAIN, Way.SEEDS]
    return [
        {"method": method, "watermark": watermark} | quality_row(own, None if own is plain else plain, tokens)
        for (method, watermark, _), own in runs.items()
    ]


_INDEPENDENT = (Way.SEEDS, Way.KEYS)


def _ids(run: Run) -> dict[str, tuple[int, ...]]:
    return {name: record.token_ids for name, record in run.items()}


def answer_rows(texts: Written, answers: Mapping[str, Sequence[str]]) -> list[dict[str, object]]:
    """Agreement with accepted answers, and the difference from no watermark. Units are questions.

    Args:
        texts: answers by runs.
        answers: those that are accepted, by the question's id.
    """
    values = {
        key: {
            name: {
                one: float(np.mean([agrees(run[one].text, answers[one]) for run in runs])) for one in runs[0]
            }
            for name, agrees in AGREEMENT.items()
        }
        for key, runs in texts.items()
    }
    plain = values[*_PLAIN, Way.SEEDS]
    rows = []
    for (method, watermark, way), told in values.items():
        runs = texts[method, watermark, way]
        row: dict[str, object] = {"method": method, "watermark": watermark}
        row |= {"questions": len(runs[0]), "texts_a_question": len(runs)}
        for name, own in told.items():
            row |= estimated(name, own) if told is plain else estimated(name, own, own, plain[name])
        rows.append(row)
    return rows


def measure(folder: Path, tables: Tables) -> None:
    """Write the texts, measure them, and print what is found."""
    output_folder(folder)
    pair = load_pair("builtin", _DRAFT)
    texts = {cell: write(cell, folder, pair) for cell in track(cells(), "texts", console=stderr())}
    known = pooled({cell: runs for cell, runs in texts.items() if cell.source.name == FACTS})
    open_ended = pooled({cell: runs for cell, runs in texts.items() if cell.source.name != FACTS})
    answers = {name: accepted for name, _, accepted in builtin_answers()}
    about = {"temperature": TEMPERATURE}
    found = {
        "self_bleu": [row | about | {"tokens": TOKENS} for row in self_bleu_rows(open_ended)],
        "quality": [row | about for row in quality_rows(open_ended, TOKENS)],
        "answers": [row | about | {"tokens": ANSWER_TOKENS} for row in answer_rows(known, answers)],
    }
    for name, rows in found.items():
        tables.write(name, rows)
    _print("Texts of one prompt", found["self_bleu"], ("self_bleu", "equal"))
    _print("Texts of different prompts", found["quality"], ("distinct_2", "repeated_4", "self_bleu_five"))
    _print("Answers", found["answers"], tuple(AGREEMENT))


def _print(title: str, rows: Sequence[dict[str, object]], names: Sequence[str]) -> None:
    shown = Table("scheme", *(head for name in names for head in (name, "difference (95%)")), title=title)
    for row in rows:
        words = [str(row[name]) for name in ("method", "watermark", "apart_by") if name in row]
        shown.add_row(", ".join(words), *(cell for name in names for cell in _cells(row, name)))
    stdout().print(shown)


def _cells(row: dict[str, object], name: str) -> tuple[str, str]:
    value = f"{row[name]:.3f} ± {row[f'{name}_error']:.3f}"
    if row[f"{name}_difference"] is None:
        return value, ""
    ends = (row[f"{name}_{end}"] for end in ("difference", "low", "high"))
    return value, "{:+.3f} ({:+.3f} to {:+.3f})".format(*ends)


def main(
    texts: Annotated[Path, typer.Option(help="Folder of the texts; what is there is not written again.")],
    out: OutOption = None,
) -> None:
    """Measure what a watermark costs beside LOGPPL."""
    with exit_on_bad_input():
        measure(texts, Tables(out))


if __name__ == "__main__":
    typer.run(main)
