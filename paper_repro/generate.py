"""Generate the texts of a preset and tabulate them: AATPS, PTT, LOGPPL, acceptance against theory.

    python -m paper_repro.generate --preset builtin

Every text is kept (`texts/<prompts>/<method>-<watermark>-T<temperature>-K<lookahead>.jsonl`), so that a run
that was stopped goes on, and the table can be made again without a model. `--only one-race` leaves
`table.csv` alone and writes `table-one-race.csv`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.box import SIMPLE
from rich.table import Table

from paper_repro.presets import Arm, Cell, Preset, counted_tokens, load_preset, preset_names
from tradeoff.decoders import parse_decoder
from tradeoff.display import exit_on_bad_input, print_note, print_written, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.kernels import Verify, make_method
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.llm import EngineSettings, ModelPair, Sampling, encode_prompts, generate_texts, load_pair
from tradeoff.texts import (
    Prompt,
    Record,
    aatps,
    acceptance,
    blocks,
    distinct_texts,
    excess_surprise,
    log_perplexity,
    paired_log_perplexity,
    per_token_time,
)

RESULTS = Path("paper_repro/results/texts")
#: Of options that name files of prompts.
QUESTIONS = "JSON lines with `prompt`, for presets that ask for questions."
DOCUMENTS = "JSON lines with `text`, whose passages are prompts of presets that ask for documents."


def experiment_key(seed: int) -> Key:
    """The key of an experiment: reproducible, so it protects nothing."""
    return Key(hashlib.blake2b(b"paper_repro experiment %d" % seed, digest_size=32).digest())


def experiment_function(preset: Preset) -> KeyedPrf:
    """What that key determines, with the context width of the preset."""
    return KeyedPrf(experiment_key(preset.seed), preset.context_width)


def cell_settings(preset: Preset, cell: Cell, *, measure: bool) -> EngineSettings:
    """Engine settings of one cell."""
    decoder = parse_decoder(cell.watermark)
    return EngineSettings(
        method=make_method(cell.method, decoder),
        prf=experiment_function(preset) if decoder.marks else None,
        sampling=Sampling(cell.temperature),
        lookahead=cell.lookahead or 1,  # not read by a method without speculation
        max_tokens=cell.max_tokens,
        seed=preset.seed,
        ignore_eos=preset.ignore_eos,
        measure=measure,
        verify=cell.verify,
    )


@dataclass(frozen=True)
class CellTexts:
    """Records of one cell: measured ones from batches, and those generated one at a time for PTT."""

    records: list[Record]
    alone: list[Record]


def prompts_of(cells: Sequence[Cell], pair: ModelPair) -> dict[str, list[Prompt]]:
    """The prompts of every set by its name, as many as the largest cell has texts."""
    prompts: dict[str, list[Prompt]] = {}
    for source in dict.fromkeys(cell.prompts for cell in cells):
        most = max(cell.texts for cell in cells if cell.prompts == source)
        named = source.read(most)
        if len(named) < most:
            print_note(f"{source.source or source.dataset} has {len(named)} prompts; using all")
        prompts[source.name] = encode_prompts(pair.tokenizer, named, chat=source.chat)
    return prompts


def generate_cells(
    preset: Preset, cells: Sequence[Cell], folder: Path, pair: ModelPair
) -> dict[Cell, CellTexts]:
    """Generate what is missing of every cell, and the batch-1 texts that PTT is read from."""
    prompts = prompts_of(cells, pair)
    texts: dict[Cell, CellTexts] = {}
    for cell in cells:
        source = cell.prompts
        run = generate_texts(
            pair,
            cell_settings(preset, cell, measure=True),
            prompts[source.name][: cell.texts],
            folder / f"{cell.name}.jsonl",
            batch=preset.batch,
            title=cell.name,
        )
        alone: list[Record] = []
        if preset.ptt_texts:
            alone = generate_texts(
                pair,
                cell_settings(
                    preset,
                    replace(cell, max_tokens=min(preset.ptt_tokens or cell.max_tokens, cell.max_tokens)),
                    measure=False,
                ),
                prompts[source.name][: preset.ptt_texts],
                folder / f"{cell.name}.ptt.jsonl",
                batch=1,
                title=f"{cell.name}, one at a time",
            ).records
        texts[cell] = CellTexts(run.records, alone)
    return texts


def tabulate(texts: dict[Cell, CellTexts]) -> pd.DataFrame:
    """One row a cell; standard errors beside every estimate. Differences are to the target alone.

    AATPS is that of the first tokens of every text, as many as `counted_tokens` of the cells.
    """
    rows = []
    common = counted_tokens(texts)
    for cell, found in texts.items():
        records = distinct_texts(found.records)
        row: dict[str, Any] = {
            "prompts": cell.prompts.name,
            "temperature": cell.temperature,
            "watermark": cell.watermark,
            "method": cell.label,
            "lookahead": cell.lookahead,
            "texts": len(records),
            "tokens": sum(len(record.token_ids) for record in records),
        }
        _add(row, "aatps", aatps(records, common) if cell.lookahead else None)
        _add(row, "ptt_ms", per_token_time(found.alone) if found.alone else None)
        row["ptt_texts"] = len(distinct_texts(found.alone))
        _add(row, "logppl", log_perplexity(records))
        _add(row, "excess_surprise", excess_surprise(records))
        plain = next((c for c in texts if _is_reference(c, cell)), None)
        if plain is not None:
            _add(row, "logppl_difference", paired_log_perplexity(records, texts[plain].records))
        else:
            _add(row, "logppl_difference", None)
        # A tree accepts other candidates too, a block with probabilities of the whole: no rate is theirs.
        alone = cell.verify is Verify.TOKEN and all(record.run.width == 1 for record in records)
        measured = acceptance(records) if cell.lookahead and alone else None
        row["acceptance"] = measured.rate if measured else None
        row["expected"] = measured.expected if measured else None
        row["acceptance_error"] = measured.standard_error if measured else None
        row["acceptance_z"] = measured.z if measured else None
        row["overlap"] = measured.overlap if measured else None
        # Only measured texts tell, those of files of an earlier version do not.
        told = cell.lookahead and all(record.by_block is not None for record in records)
        both = blocks(records) if told else None
        row["aatps_by_token"] = both.by_token if both else None
        row["aatps_by_block"] = both.by_block if both else None
        _add(row, "block_gain", both.gain if both else None)
        row["aatps_z"] = both.z if both else None
        rows.append(row)
    return pd.DataFrame(rows)


def _is_reference(other: Cell, cell: Cell) -> bool:
    """Whether `other` is the target alone on the prompts, and with the length, of `cell`."""
    plain = replace(
        cell,
        method="basic",
        watermark="none",
        lookahead=0,
        texts=other.texts,
        detect=False,
        verify=Verify.TOKEN,
    )
    return other != cell and replace(other, detect=False) == plain


def _add(row: dict[str, Any], name: str, estimate: Any) -> None:
    row[name] = estimate.value if estimate else None
    row[f"{name}_error"] = estimate.standard_error if estimate else None


def print_table(table: pd.DataFrame, title: str) -> None:
    """The table as the README shows it."""
    for (prompts, temperature), part in table.groupby(["prompts", "temperature"], sort=False):
        columns = (
            "method",
            "K",
            "texts",
            "AATPS",
            "PTT (ms)",
            "LOGPPL",
            "- basic",
            "- entropy",
            "accepted",
            "expected",
            "z",
        )
        shown = Table(
            *columns, title=f"{title}: {prompts}, temperature {temperature:g}", box=SIMPLE, padding=0
        )
        for column in shown.columns:
            # Words that a narrow terminal has no room for go on below, whole.
            column.overflow = "fold"
        for row in part.to_dict("records"):
            shown.add_row(
                f"{row['method']}, {row['watermark']}",
                str(row["lookahead"] or ""),
                str(row["texts"]),
                _shown(row, "aatps", 2),
                _shown(row, "ptt_ms", 0),
                _shown(row, "logppl", 2),
                _shown(row, "logppl_difference", 2),
                _shown(row, "excess_surprise", 2),
                *_acceptance(row),
            )
        stdout().print(shown)


def _shown(row: dict[str, Any], name: str, digits: int) -> str:
    if pd.isna(row[name]):
        return ""
    return f"{row[name]:.{digits}f} ± {row[f'{name}_error']:.{digits}f}"


def _acceptance(row: dict[str, Any]) -> tuple[str, str, str]:
    if pd.isna(row["expected"]):
        return "" if pd.isna(row["acceptance"]) else f"{row['acceptance']:.3f}", "", ""
    z = "" if pd.isna(row["acceptance_z"]) else f"{row['acceptance_z']:+.1f}"
    return f"{row['acceptance']:.3f}", f"{row['expected']:.3f}", z


def main(
    preset: Annotated[
        str, typer.Option(help=f"{', '.join(preset_names())}, or the path of a .toml file.")
    ] = "builtin",
    out: Annotated[Path, typer.Option(help="Folder for texts and tables.")] = RESULTS,
    texts: Annotated[int | None, typer.Option(help="Texts a cell, instead of the preset's.", min=1)] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens a text.", min=1)] = None,
    lookahead: Annotated[list[int] | None, typer.Option(help="Only these lookaheads.", min=1)] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these methods; into a table of their own.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Texts at a time.", min=1)] = None,
    prompts: Annotated[
        list[str] | None, typer.Option(help="Only these sets of prompts; into a table of their own.")
    ] = None,
    questions: Annotated[Path | None, typer.Option(help=QUESTIONS)] = None,
    documents: Annotated[Path | None, typer.Option(help=DOCUMENTS)] = None,
    without_ptt: Annotated[
        bool, typer.Option("--without-ptt", help="Leave out the texts generated one at a time.")
    ] = False,
) -> None:
    """Generate the texts of a preset with every method, and print the table."""
    with exit_on_bad_input():
        chosen = load_preset(preset, {"questions": questions, "documents": documents})
        sizes = {"texts": texts, "max_tokens": max_tokens, "lookahead": lookahead}
        given = {name: value for name, value in sizes.items() if value}
        others = {
            "arms": [Arm(**dict(arm) | given) for arm in chosen.arms],
            "batch": batch or chosen.batch,
            "ptt_texts": 0 if without_ptt else chosen.ptt_texts,
        }
        chosen = Preset(**dict(chosen) | given | others)
        cells = chosen.cells()
        known = sorted({cell.method for cell in cells})
        for name in only or []:
            if name not in known:
                raise ValueError(
                    f"only={name!r} is no method of the preset {preset!r}; it has {', '.join(known)}"
                )
        sets = [source.name for source in chosen.prompts]
        for name in prompts or []:
            if name not in sets:
                raise ValueError(
                    f"prompts={name!r} is no set of the preset {preset!r}; it has {', '.join(sets)}"
                )
        cells = [cell for cell in cells if not only or cell.method in only]
        cells = [cell for cell in cells if not prompts or cell.prompts.name in prompts]
        for cell in cells:
            cell.prompts.check_given()
        folder = output_folder(out / Path(preset).stem)
        # The methods in the order of the preset, however they were asked for.
        parts = ["table", *(dict.fromkeys(cell.prompts.name for cell in cells) if prompts else ())]
        parts += dict.fromkeys(cell.method for cell in cells) if only else ()
        path = folder / f"{'-'.join(parts)}.csv"
        key = f"key of the experiment: fingerprint {experiment_key(chosen.seed).fingerprint}"
        stdout().print(f"texts go to {folder}; {key}", soft_wrap=True)
        pair = load_pair(chosen.target, chosen.draft, dtype=chosen.dtype)
        table = tabulate(generate_cells(chosen, cells, folder, pair))
        write_table(table, path)
        print_table(table, chosen.title)
        print_written(stdout(), [path])


if __name__ == "__main__":
    typer.run(main)
