"""The detection experiment of a preset: generate, fit, test, tabulate, draw, report.

    python -m paper_repro.experiment --preset small

Texts are kept (see `paper_repro.generate`), so that a run that was stopped goes on and a finished one only
tabulates again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from figures.detection import draw_detection_figures
from paper_repro.claims import MARGINS, Claim, claims
from paper_repro.detection import (
    FPR,
    CellEvidence,
    Fold,
    Trial,
    evidence_of,
    fit_folds,
    power_table,
    roc_table,
    tpr_table,
    try_detectors,
)
from paper_repro.generate import CellTexts, experiment_key, generate_cells, print_table, tabulate
from paper_repro.nulls import human_chunks, null_evidence
from paper_repro.presets import Cell, Preset, load_preset, preset_names
from paper_repro.replays import model_aware_table, replay_texts
from paper_repro.report import Section, write_report
from paper_repro.robustness import edit_table
from tradeoff.console import exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.llm.models import ModelPair, load_pair
from tradeoff.llm.prompts import encode_prompts
from tradeoff.prf import KeyedPrf

__all__ = ["run_experiment"]

RESULTS = Path("paper_repro/results")


def run_experiment(name: str, out: Path = RESULTS, human: Path | None = None) -> list[Path]:
    """Run, or finish, the experiment of a preset; the files that it wrote.

    Args:
        name: of the preset, or the path of a .toml file.
        out: texts go to `out/texts/NAME`, tables, pictures and the report to `out/NAME`.
        human: text without a watermark, for null scores; the prose of the Python manual if left out.

    Raises:
        FileError: for files that cannot be read or written.
        ValueError: for a preset without texts to detect.
    """
    preset, stem = load_preset(name), Path(name).stem
    cells = preset.cells()
    tested = [cell for cell in cells if cell.detect]
    if not tested:
        raise ValueError(f"preset={name!r} has no arm with detect = true; add it to the arms to be detected")
    folder, texts_folder = output_folder(out / stem), output_folder(out / "texts" / stem)
    pair = load_pair(preset.target, preset.draft, dtype=preset.dtype)
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
        "edits": tables.edits,
        "model_aware": tables.model_aware,
    }
    written = [folder / "speed.csv"]
    for table_name, table in named.items():
        write_table(table, folder / f"{table_name}.csv")
        written.append(folder / f"{table_name}.csv")
    pictures = draw_detection_figures(folder)
    decided = claims(trials, speed)
    report = folder / "report.html"
    command = f"python -m paper_repro.experiment --preset {name}"
    command += "".join(f" --{key} {value}" for key, value in (("human", human),) if value)
    write_report(
        report,
        f"Watermark detection under speculative decoding: {preset.title}",
        _sections(command, preset, speed, named, pictures, decided, tables.passages),
    )
    _print_claims(decided)
    return [*written, *pictures, report]


@dataclass
class _Tables:
    """What testing the cells gives."""

    evidence: list[CellEvidence] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    edits: pd.DataFrame = field(default_factory=pd.DataFrame)
    model_aware: pd.DataFrame = field(default_factory=pd.DataFrame)
    passages: int = 0


def _detect(
    preset: Preset,
    tested: Sequence[Cell],
    texts: dict[Cell, CellTexts],
    texts_folder: Path,
    pair: ModelPair,
    human: Path | None,
) -> _Tables:
    prf = KeyedPrf(experiment_key(preset.seed))
    longest = max(cell.max_tokens for cell in tested)
    chunks = human_chunks(pair.tokenizer, longest, human)
    nulls = null_evidence(chunks, preset.null_texts, seed=1)
    sets = [source.name for source in preset.prompts]
    found = _Tables(passages=len(chunks))
    fitted: list[tuple[CellEvidence, list[Fold]]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
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
    if preset.replays:
        found.model_aware = _model_aware(preset, found.evidence, texts_folder, pair, prf)
    return found


def _model_aware(
    preset: Preset, evidence: Sequence[CellEvidence], folder: Path, pair: ModelPair, prf: KeyedPrf
) -> pd.DataFrame:
    """Of the cells whose tokens the key determines."""
    replays = []
    for texts in evidence:
        method = texts.method
        if texts.cell.watermark != "gumbel" or method.detection.coin == "random":
            continue
        source = texts.cell.prompts
        prompts = encode_prompts(pair.tokenizer, source.read(texts.cell.texts), chat=source.chat)
        path = folder / f"{texts.cell.name}.replay.jsonl"
        replays.append((texts, replay_texts(texts, prompts, prf, pair, preset.replays, path)))
    return model_aware_table(replays)


def _print_claims(decided: Sequence[Claim]) -> None:
    out = stdout()
    for claim, holds, detail in decided:
        out.print(f"{'seen' if holds else 'NOT SEEN'}: {claim} ({detail})", soft_wrap=True, markup=False)


def _detection_table(tpr: pd.DataFrame) -> pd.DataFrame:
    """One row a detector: TPR with its interval at a few lengths, mean score, measured FPR."""
    lengths = sorted(tpr["tokens"].unique())
    shown = [n for n in lengths if n in (20, 30, 50, 100, 200)] or lengths
    pooled = tpr[tpr["prompts"] == "both"] if (tpr["prompts"] == "both").any() else tpr
    rows = []
    keys = ["watermark", "temperature", "method", "lookahead", "detector"]
    for key, part in pooled.groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True))
        at = part.set_index("tokens")
        for n in shown:
            cell = at.loc[n]
            row[f"TPR at {n}"] = f"{cell['tpr']:.3f} ({cell['tpr_low']:.3f} to {cell['tpr_high']:.3f})"
        last = at.loc[lengths[-1]]
        row["mean score"] = last["mean_score"]
        row[f"measured FPR at {lengths[-1]}"] = (
            f"{last['fpr']:.4f} ({last['fpr_low']:.4f} to {last['fpr_high']:.4f})"
        )
        row["threshold from"] = last["null"]
        rows.append(row)
    return pd.DataFrame(rows)


def _sections(
    command: str,
    preset: Preset,
    speed: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    pictures: Sequence[Path],
    decided: Sequence[Claim],
    passages: int,
) -> list[Section]:
    """The report in order."""

    def pictured(prefix: str) -> list[Path]:
        return [path for path in pictures if path.stem.startswith(prefix)]

    lengths = ", ".join(map(str, sorted(tables["tpr"]["tokens"].unique())))
    settings = pd.DataFrame(
        [
            {
                "prompts": cell.prompts.name,
                "watermark": cell.watermark,
                "temperature": cell.temperature,
                "method": cell.method,
                "K": cell.lookahead,
                "texts": cell.texts,
                "tokens a text": cell.max_tokens,
                "detected": "yes" if cell.detect else "",
            }
            for cell in preset.cells()
        ]
    )
    drawn = "python -m figures.detection FOLDER draws the pictures again from the tables."
    return [
        Section(
            "Claims",
            [
                "Each line is decided by this run, each at 95%. Detectors are compared by their TPR at FPR "
                f"{FPR:.0%} averaged over the lengths {lengths}, so that no length is picked. "
                f"Two things are the same if the whole interval lies within a margin: {MARGINS}."
            ],
            claims=decided,
            command=command,
        ),
        Section(
            "Detection (figures 2, 3, 5, 6 of the paper)",
            [
                "TPR at a nominal FPR of 1%, bands and intervals at 95% (Clopper-Pearson), for texts under "
                "one key. Detectors that are fitted saw other texts than those they are tested on, and no "
                f"context of these. The FPR was measured on {passages} passages of human text under "
                f"{preset.null_texts} random keys, a share of them for every set of prompts.",
                drawn,
            ],
            [("By detector, prompts pooled", _detection_table(tables["tpr"]))],
            pictured("tpr"),
            command,
        ),
        Section(
            "ROC curves (figures 4 and 7)",
            [f"Texts of {preset.roc_tokens} tokens, ranked by p-value, against human text."],
            pictures=pictured("roc"),
            command=command,
        ),
        Section(
            "Efficiency (tables 1 and 2)",
            [
                "AATPS: accepted tokens per step, the token after the drafts included, over the first "
                f"{min(cell.max_tokens for cell in preset.cells())} tokens of every text. PTT: milliseconds "
                "per token of texts generated one at a time. LOGPPL: mean of -log P(token) under the target "
                "at the sampling temperature; excess surprise: the same minus the entropy, 0 without bias.",
            ],
            [("By method", speed)],
            pictured("aatps"),
            command,
        ),
        Section(
            "Power planning",
            [
                "Predicted from the probabilities that the model gave to the tokens of the same texts "
                "(`tradeoff plan`), before the key is looked at."
            ],
            [("Without speculation", tables["power"])],
            pictured("power"),
            command,
        ),
        Section(
            "Edits",
            [
                "Texts are changed, then tested. A token that is replaced spoils itself and the contexts of "
                "the four after it. The share is that of the tokens changed; tokenising again and lower case "
                "concern the whole text."
            ],
            [("TPR after edits, prompts pooled", tables["edits"])],
            pictured("edits"),
            command,
        ),
        Section(
            "Model-aware detection",
            ["A detector that runs both models and knows the prompt; p-values by exponential tilting."],
            [("TPR by length", tables["model_aware"])],
            command=command,
        ),
        Section(
            "Settings",
            [
                f"Target {preset.target}, draft {preset.draft}, {preset.dtype or 'default'} numbers, seed "
                f"{preset.seed}, batch {preset.batch}."
            ],
            [("What was generated", settings)],
            command=command,
        ),
    ]


def main(
    preset: Annotated[
        str, typer.Option(help=f"{', '.join(preset_names())}, or the path of a .toml file.")
    ] = "small",
    out: Annotated[Path, typer.Option(help="Folder for texts, tables and the report.")] = RESULTS,
    human: Annotated[
        Path | None, typer.Option(help="Text without a watermark: lines, or JSON lines with `prompt`.")
    ] = None,
) -> None:
    """Generate, detect, tabulate, draw and report."""
    with exit_on_bad_input():
        start = time.perf_counter()
        written = run_experiment(preset, out, human)
        stdout().print(f"done in {time.perf_counter() - start:.0f} s")
        print_written(stdout(), written)


if __name__ == "__main__":
    typer.run(main)
