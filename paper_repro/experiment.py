"""The detection experiment of a preset: generate, fit, test, tabulate, draw, report.

    python -m paper_repro.experiment --preset small

Texts are kept (see `paper_repro.generate`), so that a run that was stopped goes on and a finished one only
tabulates again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import pandas as pd
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress

from paper_repro.by_workers import generate_by_workers
from paper_repro.generate import (
    DOCUMENTS,
    QUESTIONS,
    CellTexts,
    experiment_function,
    generate_cells,
    print_table,
    tabulate,
)
from paper_repro.nulls import human_chunks, null_evidence
from paper_repro.presets import Cell, Preset, PromptSet, load_preset, preset_names
from paper_repro.quality.by_cell import quality_table
from paper_repro.report.claims import claims
from paper_repro.report.compare import watermark_claims, watermark_table
from paper_repro.report.decided import Claim, Verdict, read_claims, write_claims
from paper_repro.report.folder import decidable, left_out, read_table, report_of
from paper_repro.report.glance import glance_table, narrow
from paper_repro.report.origin import origin_now
from paper_repro.side_by_side import generate_side_by_side, worthwhile
from paper_repro.trials.fixed import (
    FPR,
    CellEvidence,
    Fold,
    Trial,
    evidence_of,
    fit_folds,
    roc_table,
    tpr_table,
    try_detectors,
)
from paper_repro.trials.paired import paired_table
from paper_repro.trials.predicted import Laws, power_table, predicted_table, read_laws
from paper_repro.trials.replays import anchor_texts, model_aware_table, replay_texts
from paper_repro.trials.robustness import edit_table
from paper_repro.trials.sequential import SequentialTrial, sequential_table, sequential_trials, share_table
from tradeoff.detection import AnchorReading
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.keyed import KeyedPrf
from tradeoff.llm import ModelPair, encode_prompts, load_pair, spread_of
from tradeoff.texts import Prompt

__all__ = ["print_glance", "run_experiment"]

RESULTS = Path("paper_repro/results")
#: Whose positions predictions are made from.
_UNDRAFTED = ("basic", "gumbel")
#: What colours add to the words and symbols of verdicts.
_STYLES = {Verdict.SEEN: "green", Verdict.CONTRADICTED: "red", Verdict.UNDECIDED: "bright_black"}


def run_experiment(
    name: str,
    out: Path = RESULTS,
    human: Path | None = None,
    workers: int | str | None = None,
    gpus_per_worker: float | None = None,
    files: Mapping[str, Path | None] = MappingProxyType({}),
) -> list[Path]:
    """Run, or finish, the experiment of a preset; the files that it wrote.

    Args:
        name: of the preset, or the path of a .toml file.
        out: texts go to `out/texts/NAME`, tables, pictures and the report to `out/NAME`.
        human: text without a watermark, for null scores; the prose of the Python manual if left out.
        workers, gpus_per_worker: who generates, as of `tradeoff.generate`; what times are taken of, and all
            that follows, is done by this process.
        files: of prompts, as of `load_preset`.

    Raises:
        FileError: for files that cannot be read or written.
        ValueError: for a preset without texts to detect.
    """
    if workers is None and gpus_per_worker is not None:
        raise ValueError(f"gpus_per_worker={gpus_per_worker} is for workers='ray'; pass both")
    preset, stem = load_preset(name, files), Path(name).stem
    preset.check_given()
    cells = preset.cells()
    tested = [cell for cell in cells if cell.detect]
    if not tested:
        raise ValueError(f"preset={name!r} has no arm with detect = true; add it to the arms to be detected")
    folder, texts_folder = output_folder(out / stem), output_folder(out / "texts" / stem)
    # A target that takes several GPUs of a worker takes as many here.
    spread = None if workers is None else spread_of(None, None, workers, gpus_per_worker)
    pair = load_pair(preset.target, preset.draft, dtype=preset.dtype, device_map=spread)
    if workers is not None:
        generate_by_workers(preset, cells, texts_folder, pair, workers, gpus_per_worker)
    elif worthwhile(cells, texts_folder, pair.device.type):
        generate_side_by_side(name, cells, texts_folder, files)
    texts = generate_cells(preset, cells, texts_folder, pair)
    speed = tabulate(texts)
    write_table(speed, folder / "speed.csv")
    print_table(speed, preset.title)
    tables = _detect(preset, tested, texts, texts_folder, pair, human)
    trials = tables.trials
    named = {
        "tpr": tpr_table(trials),
        "roc": roc_table(trials, preset.roc_tokens),
        "power": power_table(tables.evidence, trials),
        "paired": paired_table(trials),
        "predicted": tables.predicted,
        "edits": tables.edits,
        "model_aware": tables.model_aware,
        "sequential": sequential_table(tables.sequential),
        "sequential_shares": share_table(tables.sequential),
        "watermarks": watermark_table(tables.sequential),
        "quality": quality_table(texts),
    }
    decided = [*claims(trials, speed), *watermark_claims(named["watermarks"])]
    write_claims(decided, folder / "claims.csv")
    written = [folder / "speed.csv", folder / "claims.csv"]
    for table_name, table in named.items():
        write_table(table, folder / f"{table_name}.csv")
        written.append(folder / f"{table_name}.csv")
    command = f"python -m paper_repro.experiment --preset {name}"
    given = {"human": human, **files}
    command += "".join(f" --{key} {value}" for key, value in given.items() if value)
    written.append(origin_now(name, command, tables.passages).write(folder))
    _print_claims(preset, decided)
    return [*written, *report_of(folder)]


@dataclass
class _Tables:
    """What testing the cells gives."""

    evidence: list[CellEvidence] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    edits: pd.DataFrame = field(default_factory=pd.DataFrame)
    model_aware: pd.DataFrame = field(default_factory=pd.DataFrame)
    predicted: pd.DataFrame = field(default_factory=pd.DataFrame)
    sequential: list[SequentialTrial] = field(default_factory=list)
    passages: int = 0


def _detect(
    preset: Preset,
    tested: Sequence[Cell],
    texts: dict[Cell, CellTexts],
    texts_folder: Path,
    pair: ModelPair,
    human: Path | None,
) -> _Tables:
    prf = experiment_function(preset)
    longest = max(cell.max_tokens for cell in tested)
    chunks = human_chunks(pair.tokenizer, longest, human)
    nulls = null_evidence(chunks, preset.null_texts, seed=1, width=preset.context_width)
    sets = [source.name for source in preset.prompts]
    found = _Tables(passages=len(chunks))
    fitted: list[tuple[CellEvidence, list[Fold]]] = []
    columns = (Words(), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task("detecting", total=len(tested) + bool(preset.edits))

        def say(line: str) -> None:
            progress.update(task, description=f"detecting: {line}")

        for cell in tested:
            evidence = evidence_of(cell, texts[cell].records, prf)
            folds = fit_folds(evidence, lambda line, c=cell: say(f"{c.name}: {line}"))  # type: ignore[misc]
            found.evidence.append(evidence)
            found.trials += try_detectors(
                evidence,
                folds,
                # A part of its own for every set of prompts: pooled rates count no null text twice.
                nulls[sets.index(cell.prompts.name) :: len(sets)],
                preset.roc_tokens,
                lambda line, c=cell: say(f"{c.name}: {line}"),  # type: ignore[misc]
            )
            fitted.append((evidence, folds))
            progress.advance(task)
        if preset.edits:
            found.edits = edit_table(fitted, prf, chunks, pair.tokenizer, say)
            progress.advance(task)
    if preset.laws:
        found.predicted = _predict(preset, found, pair)
    readings: dict[Cell, list[AnchorReading]] = {}
    if preset.replays or preset.anchors:
        found.model_aware, readings = _read_back(preset, found.evidence, texts_folder, pair, prf)
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task("sequential", total=len(fitted))
        for evidence, folds in fitted if preset.sequential else ():

            def tell(line: str, name: str = evidence.cell.name) -> None:
                progress.update(task, description=f"sequential: {name}: {line}")

            found.sequential += sequential_trials(
                evidence, folds, readings.get(evidence.cell, ()), pair.vocabulary_size, tell
            )
            progress.advance(task)
    return found


def _encoded(evidence: Sequence[CellEvidence], pair: ModelPair) -> dict[PromptSet, list[Prompt]]:
    """The prompts of every set that cells have, as many as the largest cell."""
    most = max(texts.cell.texts for texts in evidence)
    return {
        source: encode_prompts(pair.tokenizer, source.read(most), chat=source.chat)
        for source in {texts.cell.prompts: None for texts in evidence}
    }


def _predict(preset: Preset, found: _Tables, pair: ModelPair) -> pd.DataFrame:
    """TPR from exact laws, at positions of the texts without speculation."""
    read = [texts for texts in found.evidence if (texts.cell.method, texts.cell.watermark) == _UNDRAFTED]
    laws: dict[tuple[PromptSet, float], Laws] = {}
    prompts = _encoded(found.evidence, pair)
    with Progress(Words(), BarColumn(), console=stderr(), transient=True) as progress:
        task = progress.add_task("predicting", total=None)

        def say(line: str) -> None:
            progress.update(task, description=line)

        for texts in read:
            source = texts.cell.prompts
            laws[source, texts.cell.temperature] = read_laws(texts, prompts[source], pair, preset.laws, say)
        return predicted_table(found.evidence, found.trials, laws, say)


def _read_back(
    preset: Preset, evidence: Sequence[CellEvidence], folder: Path, pair: ModelPair, prf: KeyedPrf
) -> tuple[pd.DataFrame, dict[Cell, list[AnchorReading]]]:
    """By both models, and by the draft alone, of the cells whose tokens the key determines."""
    replays, readings = [], {}
    prompts = _encoded(evidence, pair)
    for texts in evidence:
        cell, source = texts.cell, texts.cell.prompts
        if cell.watermark != "gumbel" or texts.method.detection.coin == "random":
            continue
        if preset.replays:
            path = folder / f"{cell.name}.replay.jsonl"
            replays.append((texts, replay_texts(texts, prompts[source], prf, pair, preset.replays, path)))
        if preset.anchors:
            path = folder / f"{cell.name}.anchor.jsonl"
            readings[cell] = anchor_texts(texts, prompts[source], prf, pair, preset.anchors, path)
    return model_aware_table(replays), readings


def print_glance(name: str, out: Path) -> None:
    """The table at the head of the report of a finished run, and what its size leaves out.

    Args:
        name: of the preset, or the path of its file.
        out: as `run_experiment` took it.

    Raises:
        FileError: if a table of the run is missing.
    """
    preset, folder, console = load_preset(name), out / Path(name).stem, stdout()
    table = glance_table(preset, read_table(folder, "tpr"), read_table(folder, "speed"))
    console.print(narrow(table, f"Detection at a false-positive rate of {FPR:.0%}, preset {Path(name).stem}"))
    if words := left_out(preset, read_claims(folder / "claims.csv")):
        console.print(words)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


def _print_claims(preset: Preset, decided: Sequence[Claim]) -> None:
    console = stdout()
    for claim in decidable(preset, decided):
        remark = f"; {claim.remark}" if claim.remark else ""
        words = f"{claim.verdict.symbol} {claim.verdict.value}: {claim.words} ({claim.numbers}{remark})"
        console.print(words, style=_STYLES[claim.verdict])
    if words := left_out(preset, decided):
        console.print(words)


def main(
    preset: Annotated[
        str, typer.Option(help=f"{', '.join(preset_names())}, or the path of a .toml file.")
    ] = "small",
    out: Annotated[Path, typer.Option(help="Folder for texts, tables and the report.")] = RESULTS,
    human: Annotated[
        Path | None,
        typer.Option(help="Text without a watermark: lines, or JSON lines with `prompt` or `text`."),
    ] = None,
    questions: Annotated[Path | None, typer.Option(help=QUESTIONS)] = None,
    documents: Annotated[Path | None, typer.Option(help=DOCUMENTS)] = None,
    workers: Annotated[
        str | None,
        typer.Option(help="Generate by 4 processes, say, or by actors of a Ray cluster: ray, ray:8."),
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(help="Share of a GPU that an actor of Ray takes.")
    ] = None,
) -> None:
    """Generate, detect, tabulate, draw and report."""
    with exit_on_bad_input():
        start = time.perf_counter()
        files = {"questions": questions, "documents": documents}
        written = run_experiment(preset, out, human, workers, gpus_per_worker, files)
        stdout().print(f"done in {time.perf_counter() - start:.0f} s")
        print_written(stdout(), written)


if __name__ == "__main__":
    typer.run(main)
