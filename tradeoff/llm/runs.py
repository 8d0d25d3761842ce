"""A run: texts for a list of prompts, appended to a file as they are finished, with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from tradeoff.display import Words, print_warning, stderr, table
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.run_records import run_settings, text_record
from tradeoff.texts import Prompt, Record, RecordFile, Run, counted_steps

__all__ = ["RUN_COLUMNS", "HeldRecords", "Texts", "generate_texts", "tell_other_batches", "told_stopped"]

#: Where sums of other lengths round so differently that another token may be drawn.
_ROUNDED_BY_BATCH = ("bfloat16", "float16")
#: Of the bar of a run, whose task has the field `speed`.
RUN_COLUMNS = (
    Words(),
    BarColumn(),
    MofNCompleteColumn(),
    Words("{task.fields[speed]}"),
    TimeRemainingColumn(),
)


@dataclass(frozen=True, repr=False)
class Texts(Sequence[Record]):
    """The texts of a run, in the order of their prompts.

    Attributes:
        records: the texts.
        new: how many of them this run generated.
        tokens, seconds: what this run generated, and in what time (without loading and warming up).
    """

    records: list[Record]
    new: int
    tokens: int
    seconds: float

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        tokens = sum(len(record.token_ids) for record in self.records)
        speed = f"; {self.new} new at {self.tokens / self.seconds:.1f} tokens/s" if self.seconds > 0 else ""
        return f"<Texts: {len(self)} of {tokens} tokens{speed}>"

    def _repr_html_(self) -> str:
        return table((record.id, len(record.token_ids), record.text) for record in self.records)


class HeldRecords:
    """What a `RecordFile` does, without a file."""

    def __init__(self) -> None:
        self._records: list[Record] = []

    def __enter__(self) -> HeldRecords:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def missing(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        return list(prompts)

    def of(self, prompts: Sequence[Prompt]) -> list[Record]:
        order = {prompt.id: place for place, prompt in enumerate(prompts)}
        return sorted(self._records, key=lambda record: order[record.id])

    def append(self, record: Record) -> None:
        self._records.append(record)

    def finish(self, prompts: Sequence[Prompt]) -> None:
        pass


def generate_texts(
    pair: ModelPair,
    settings: EngineSettings,
    prompts: Sequence[Prompt],
    path: Path | None = None,
    *,
    batch: int = 8,
    title: str = "generating",
    probe: bool = True,
    report: Callable[[str], None] = print_warning,
    emitted: Callable[[Prompt, list[int]], None] | None = None,
) -> Texts:
    """Generate the texts of some prompts; with a path those that it does not hold yet.

    Every finished text is appended at once, so a run that is killed goes on where it stopped, with the same
    texts as if it had not been; at the end the records stand in the order of the prompts. A run that is
    stopped (Ctrl-C, SIGTERM) says so on standard error.

    Args:
        pair, settings: models and method.
        prompts: with unique ids.
        path: JSON lines, made or continued; None keeps the texts in memory alone.
        batch: texts at a time.
        title: of the progress bar.
        probe: as for `Engine`.
        report: called with a line for the user when something noteworthy happens.
        emitted: as for `Engine.generate`, which is not warmed up then: whoever looks on waits for the first
            token. What it raises ends the run.

    Raises:
        FileError: if `path` cannot be used, belongs to another run, or holds these prompts as other tokens.
        ValueError: for prompts that cannot be continued, before anything is generated.
    """
    engine = Engine(pair, settings, min(batch, max(len(prompts), 1)), report, probe)
    engine.check(prompts)
    run = run_settings(pair, settings)
    with HeldRecords() if path is None else RecordFile(path, run) as file:
        missing = file.missing(prompts)
        if missing:
            tell_other_batches(file.of(prompts), engine.batch, run.dtype, f"{path}", report)
        try:
            tokens, seconds = _generate_missing(engine, file, run, missing, len(prompts), title, emitted)
            file.finish(prompts)
        except (KeyboardInterrupt, SystemExit):
            if path is not None:
                told_stopped(path, len(file.of(prompts)), len(prompts))
            raise
        return Texts(file.of(prompts), len(missing), tokens, seconds)


def tell_other_batches(
    records: Sequence[Record], batch: int, dtype: str, path: str, report: Callable[[str], None]
) -> None:
    """Report if records have another batch than the run that goes on with them, where that matters."""
    others = {record.batch for record in records} - {batch}
    if others and dtype in _ROUNDED_BY_BATCH:
        before = ", ".join(map(str, sorted(others)))
        report(
            f"{path} holds texts of batch {before}, and this run has batch {batch}: in {dtype} "
            "rounding differs between them, so the new texts are not those of one run"
        )


def told_stopped(path: Path, done: int, total: int) -> None:
    """Say on standard error what a run that was stopped leaves, and how to go on."""
    words = f"stopped: {done} of {total} texts are in {path}; the same command goes on"
    stderr().print(words, soft_wrap=True)


def _generate_missing(
    engine: Engine,
    file: RecordFile | HeldRecords,
    run: Run,
    missing: list[Prompt],
    total: int,
    title: str,
    emitted: Callable[[Prompt, list[int]], None] | None,
) -> tuple[int, float]:
    """Generate and append; the number of new tokens, and the seconds they took."""
    tokens, written, steps, seconds = 0, 0, 0, 0.0
    with Progress(*RUN_COLUMNS, console=stderr(), transient=True) as progress:
        task = progress.add_task(title, total=total, completed=total - len(missing), speed="")
        if missing and emitted is None:
            engine.warm_up(missing[0])
        start = time.perf_counter()
        for text in engine.generate(missing, emitted or (lambda *_: None)):
            words = str(engine.pair.tokenizer.decode(text.token_ids, skip_special_tokens=True))
            file.append(text_record(text, run, words, engine.batch))
            tokens += len(text.token_ids)
            counted = counted_steps(text.accepted, run.lookahead, run.max_tokens)
            written += int(counted.sum())
            steps += len(counted)
            seconds = time.perf_counter() - start
            speed = f"{tokens / seconds:.1f} tokens/s, AATPS {written / steps:.2f}"
            progress.update(task, advance=1, speed=speed)
    return tokens, seconds
