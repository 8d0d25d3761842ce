"""What theory predicts at the positions of an experiment's texts, beside what was measured there.

    python -m paper_repro.bounds --preset papers --questions eli5.jsonl --documents news.jsonl

Reads the texts that `python -m paper_repro.experiment` wrote, with both models. What is read is kept beside
them, so that a run that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from paper_repro.bounds.positions import read_cell, wrong_function, wrong_pair
from paper_repro.bounds.rows import (
    Bound,
    cell_bounds,
    fresh_positions,
    own_rate_bounds,
    rate_bounds,
    record_bounds,
    table_of,
)
from paper_repro.generate import DOCUMENTS, QUESTIONS, experiment_function, prompts_of
from paper_repro.presets import Cell, load_preset, preset_names
from paper_repro.trials.fixed import evidence_of
from tradeoff.detection import default_detector
from tradeoff.display import exit_on_bad_input, print_note, print_written, stdout
from tradeoff.errors import FileError
from tradeoff.files import output_folder, write_table
from tradeoff.kernels import Verify
from tradeoff.llm import load_pair
from tradeoff.texts import Record, distinct_texts, read_records

__all__ = ["measure_bounds"]

RESULTS = Path("paper_repro/results")
#: Texts of a cell that are read back.
TEXTS = 16


def measure_bounds(
    name: str,
    out: Path = RESULTS,
    files: Mapping[str, Path | None] = MappingProxyType({}),
    texts: int = TEXTS,
) -> pd.DataFrame:
    """All predictions and controls of a preset's texts: a row each, see `Bound`.

    Args:
        name: of the preset, or the path of a .toml file.
        out: as `run_experiment` took it.
        files: of prompts, as of `load_preset`.
        texts: of every cell that are read back by both models.

    Raises:
        FileError: if there are no texts, or files that cannot be read or written.
        ValueError: for prompts whose file was not given.
    """
    preset, folder = load_preset(name, files), out / "texts" / Path(name).stem
    preset.check_given()
    there = {cell: _records(folder, cell) for cell in preset.cells()}
    there = {cell: records for cell, records in there.items() if records}
    if not there:
        raise FileError(f"{folder} holds no texts; run python -m paper_repro.experiment --preset {name}")
    if missing := len(preset.cells()) - len(there):
        print_note(f"{missing} of {len(preset.cells())} cells have no texts yet; they are left out")
    pair, prf = load_pair(preset.target, preset.draft, dtype=preset.dtype), experiment_function(preset)
    wrong, encoded = wrong_pair(pair), prompts_of(list(there), pair)
    predicted, other = _predicted(out / Path(name).stem / "predicted.csv"), wrong_function(prf)
    found: list[Bound] = []
    for cell, records in there.items():
        read = evidence_of(cell, records, prf)
        marked = cell.watermark != "none"
        every = [np.ones(len(record.token_ids), dtype=bool) for record in records]
        fresh = fresh_positions(read.texts, records) if marked else every
        found += record_bounds(cell, records, fresh)
        # The law of a token of a block depends on the tokens after it.
        if marked and cell.verify is Verify.TOKEN:
            path = folder / f"{cell.name}.bounds.jsonl"
            entries = read_cell(read, encoded[cell.prompts.name], prf, pair, wrong, texts, path)
            count = [counts[one.index] for counts, one in zip(fresh, read.texts, strict=True)]
            found += cell_bounds(cell, entries, count[: len(entries)], read.method)
            its, detector = _of_cell(predicted, cell), default_detector(read.method)
            # Predictions are from the laws of the first texts without speculation.
            found += rate_bounds(cell, its, read.texts[preset.laws :], detector, other)
            if (cell.method, cell.watermark) == ("basic", "gumbel"):
                found += own_rate_bounds(cell, records, read.texts, detector, other)
    if not found:
        raise FileError(f"the texts in {folder} are too short: no position has a whole context before it")
    return table_of(found)


def _predicted(path: Path) -> pd.DataFrame:
    """The experiment's predictions; empty where it has none, or has not been finished."""
    if not path.exists() or path.stat().st_size <= 1:
        return pd.DataFrame()
    table = pd.read_csv(path)
    if missing := [name for name in ("lookahead", "predicted_error") if name not in table]:
        raise FileError(
            f"{path} has no column {missing[0]}, which tables of today have; run "
            "python -m paper_repro.experiment again"
        )
    return table


def _of_cell(predicted: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Rows on a cell, of drafts that were verified one by one."""
    if predicted.empty or cell.watermark != "gumbel":
        return predicted.iloc[:0]
    its = {"prompts": cell.prompts.name, "temperature": cell.temperature, "method": cell.method}
    its |= {"lookahead": cell.lookahead}
    return predicted[(predicted[list(its)] == pd.Series(its)).all(axis=1)] if cell.detect else predicted[:0]


def _records(folder: Path, cell: Cell) -> list[Record]:
    path = folder / f"{cell.name}.jsonl"
    return distinct_texts(list(read_records(path))[: cell.texts]) if path.exists() else []


def main(
    preset: Annotated[
        str, typer.Option(help=f"{', '.join(preset_names())}, or the path of a .toml file.")
    ] = "small",
    out: Annotated[Path, typer.Option(help="Folder of the experiment.")] = RESULTS,
    texts: Annotated[int, typer.Option(help="Texts of a cell that both models read.", min=1)] = TEXTS,
    questions: Annotated[Path | None, typer.Option(help=QUESTIONS)] = None,
    documents: Annotated[Path | None, typer.Option(help=DOCUMENTS)] = None,
) -> None:
    """Hold the texts of an experiment against theory; exit status 1 unless all is as expected."""
    with exit_on_bad_input():
        table = measure_bounds(preset, out, {"questions": questions, "documents": documents}, texts)
        path = output_folder(out / Path(preset).stem) / "bounds.csv"
        write_table(table, path)
        controls = table["control"] != ""
        wrong = table[table["holds"] == controls]
        for row in wrong.to_dict("records"):
            stdout().print(
                f"not as expected: {row['statement']}, {row['what']}, {row['method']}, {row['watermark']}, "
                f"{row['prompts']}{', control: ' * bool(row['control'])}{row['control']}: "
                f"predicted {row['predicted']:.4f}, measured {row['measured']:.4f}, z = {row['z']:+.1f}",
                soft_wrap=True,
            )
        stdout().print(
            f"{(~controls).sum()} predictions, {(~controls & table['holds']).sum()} within "
            f"|z| = {table['bound'].iloc[0]:.2f}; {controls.sum()} controls, "
            f"{(controls & ~table['holds']).sum()} outside",
            soft_wrap=True,
        )
        print_written(stdout(), [path])
        raise typer.Exit(1 if len(wrong) else 0)


if __name__ == "__main__":
    typer.run(main)
