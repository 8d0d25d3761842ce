"""Runs of several workers: the prompts of each in shards of whole batches, the records as of one process.

The last digits of what a model computes depend on what shares its batch. So a shard is always generated as a
whole, by an engine of its own, with the same prompts in the same batches: whoever does it, and whenever, its
records are the same. After a kill those of its texts that are there stay as they are, and the others come out
as they would have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from tradeoff.display import print_warning, stderr
from tradeoff.llm.generation.engine import Engine
from tradeoff.llm.recipes import PairNames, Recipe, pair_of
from tradeoff.llm.run_records import run_settings, text_record
from tradeoff.llm.runs import RUN_COLUMNS, HeldRecords, Texts, tell_other_batches, told_stopped
from tradeoff.texts import Prompt, Record, RecordFile, Run, counted_steps
from tradeoff.workers import Executor, Task

__all__ = ["ShardedRun", "generate_sharded", "shards"]

#: A run has so many shards, if there are as many batches: enough for several workers to end together.
_SHARDS = 16
#: No shard has more batches: it is what a lost worker has to do again.
_MOST_BATCHES = 8


@dataclass(frozen=True)
class ShardedRun:
    """Texts to generate under one setting.

    Attributes:
        recipe: models, settings, and how to read the key.
        prompts: with unique ids.
        path: as of `generate_texts`.
        batch: texts at a time.
        title: for people.
    """

    recipe: Recipe
    prompts: Sequence[Prompt]
    path: Path | None = None
    batch: int = 8
    title: str = "generating"

    @property
    def size(self) -> int:
        """Texts at a time, no more than there are."""
        return min(self.batch, max(len(self.prompts), 1))

    @property
    def shards(self) -> list[Sequence[Prompt]]:
        """The prompts, as `shards` divides them."""
        return shards(self.prompts, self.size)


def shards(prompts: Sequence[Prompt], batch: int) -> list[Sequence[Prompt]]:
    """Prompts in shards of whole batches, but for the last: by their number and the batch alone."""
    batches = -(-len(prompts) // batch)
    size = batch * min(max(batches // _SHARDS, 1), _MOST_BATCHES)
    return [prompts[start : start + size] for start in range(0, len(prompts), size)]


@dataclass(frozen=True)
class _Said:
    """A line for the user, from a worker."""

    words: str


def generate_sharded(
    executor: Executor, runs: Sequence[ShardedRun], report: Callable[[str], None] = print_warning
) -> list[Texts]:
    """Generate what is missing of some runs, with all workers of an executor.

    Every text is appended as soon as it comes, so that a run that is killed goes on where it stopped. Its
    records are those of `Executor`s of any size, byte for byte but for `seconds`, on devices of one kind.

    Args:
        executor: whoever generates.
        runs: what.
        report: called with a line for the user when something noteworthy happens.

    Returns:
        The texts of every run; `tokens` and `new` are its own, `seconds` of all together.

    Raises:
        FileError: as `generate_texts`.
        ValueError: for prompts that cannot be continued, before anything is generated; or if a worker has
            other weights, another key or other settings than the first.
        WorkersError: if a shard loses too many workers; its message names it.
    """
    said: set[str] = set()

    def say(words: str) -> None:
        if words not in said:
            said.add(words)
            report(words)

    with ExitStack() as stack:
        settings = _settings_of(executor, runs, say)
        written = []
        for run, known in zip(runs, settings, strict=True):
            file = _file_of(run, known)
            stack.enter_context(file)
            written.append(_Written(run, known, file))
        for one in written:
            one.tell_other_batches(say)
        try:
            seconds = _generate(executor, written, say)
            for one in written:
                one.file.finish(one.run.prompts)
        except (KeyboardInterrupt, SystemExit):
            for one in written:
                if one.run.path is not None and one.missing:
                    told_stopped(one.run.path, len(one.file.of(one.run.prompts)), len(one.run.prompts))
            raise
        return [Texts(one.file.of(one.run.prompts), one.new, one.tokens, seconds) for one in written]


class _Written:
    """A run and what there is of it.

    Attributes:
        run, settings, file: what, and where it is written.
        missing: ids of prompts without a text.
        new, tokens: what was generated now.
    """

    def __init__(self, run: ShardedRun, settings: Run, file: RecordFile | HeldRecords):
        self.run, self.settings, self.file = run, settings, file
        self.missing = {prompt.id for prompt in file.missing(run.prompts)}
        self.new = self.tokens = 0
        self._there = {record.id: record.token_ids for record in file.of(run.prompts)}

    def tasks(self) -> Iterator[Task]:
        """Shards that lack texts."""
        run = self.run
        start = 0
        for shard in run.shards:
            lacking = frozenset(self.missing & {prompt.id for prompt in shard})
            if lacking:
                name = f"{run.title}, prompts {start + 1} to {start + len(shard)},"
                yield Task(name, (run.recipe, run.size, shard, lacking, self.settings))
            start += len(shard)

    def tell_other_batches(self, say: Callable[[str], None]) -> None:
        """Of records that there are, if texts are missing."""
        if self.missing:
            there = self.file.of(self.run.prompts)
            tell_other_batches(there, self.run.size, self.settings.dtype, f"{self.run.path}", say)

    def add(self, record: Record, say: Callable[[str], None]) -> bool:
        """Append a record, if it is missing; whether it was."""
        if record.id in self.missing:
            self.file.append(record)
            self.missing.remove(record.id)
            self._there[record.id] = record.token_ids
            self.new += 1
            self.tokens += len(record.token_ids)
            return True
        if record.token_ids != self._there[record.id]:
            say(
                f"{self.run.path or self.run.title}: the text of the prompt {record.id!r} comes out "
                "otherwise on a second try, on other devices or by another version; the first one is kept, "
                "and the texts are not those of one process"
            )
        return False


def _file_of(run: ShardedRun, settings: Run) -> RecordFile | HeldRecords:
    return HeldRecords() if run.path is None else RecordFile(run.path, settings)


def _settings_of(executor: Executor, runs: Sequence[ShardedRun], say: Callable[[str], None]) -> list[Run]:
    """What the records of every run say of it, from whoever has the models."""
    found: dict[int, Run] = {}
    tasks = [Task(f"opening {run.title}", (run.recipe, run.size, run.prompts)) for run in runs]
    for number, item in executor.run(_opened, tasks):
        if isinstance(item, _Said):
            say(item.words)
        else:
            found[number] = item
    return [found[number] for number in range(len(runs))]


def _generate(executor: Executor, written: Sequence[_Written], say: Callable[[str], None]) -> float:
    """Generate what is missing; the seconds it took."""
    tasks = [(one, task) for one in written for task in one.tasks()]
    total = sum(len(one.run.prompts) for one in written)
    done = total - sum(len(one.missing) for one in written)
    emitted, steps, start = 0, 0, time.perf_counter()
    with Progress(*RUN_COLUMNS, console=stderr(), transient=True) as progress:
        title = written[0].run.title if len(written) == 1 else f"{len(written)} runs"
        words = title + (f", {executor.size} workers" if executor.size > 1 else "")
        shown = progress.add_task(words, total=total, completed=done, speed="")
        for number, item in executor.run(_shard, [task for _, task in tasks]):
            one = tasks[number][0]
            if isinstance(item, _Said):
                say(item.words)
            elif one.add(item, say):
                counted = counted_steps(item.accepted, one.settings.lookahead, one.settings.max_tokens)
                emitted, steps = emitted + int(counted.sum()), steps + len(counted)
                rate = sum(each.tokens for each in written) / (time.perf_counter() - start)
                progress.update(shown, advance=1, speed=f"{rate:.1f} tokens/s, AATPS {emitted / steps:.2f}")
    return time.perf_counter() - start if tasks else 0.0


# --- What workers do -------------------------------------------------------------------------------


#: Pairs that have run here.
_warm: set[PairNames] = set()


def _engine(recipe: Recipe, batch: int, said: list[_Said]) -> Engine:
    """An engine with empty caches: what it computes does not depend on what was generated before."""
    pair = pair_of(recipe.names)

    def say(words: str) -> None:
        said.append(_Said(words))

    return Engine(pair, recipe.settings(pair, say), batch, say, recipe.probe)


def _opened(recipe: Recipe, batch: int, prompts: Sequence[Prompt]) -> Iterator[Run | _Said]:
    """What records say of a run whose prompts can be continued."""
    said: list[_Said] = []
    engine = _engine(recipe, batch, said)
    engine.check(prompts)
    yield from said
    yield run_settings(engine.pair, engine.settings)


def _shard(
    recipe: Recipe, batch: int, prompts: Sequence[Prompt], lacking: frozenset[str], run: Run
) -> Iterator[Record | _Said]:
    """The texts of a shard as they are finished, until none of those is lacking."""
    said: list[_Said] = []
    engine = _engine(recipe, batch, said)
    pair = engine.pair
    _check_same(run_settings(pair, engine.settings), run)
    if recipe.names not in _warm:
        engine.warm_up(prompts[0])
        _warm.add(recipe.names)
        engine = _engine(recipe, batch, said)
    left = set(lacking)
    for text in engine.generate(prompts):
        words = str(pair.tokenizer.decode(text.token_ids, skip_special_tokens=True))
        yield from said
        said.clear()
        yield text_record(text, run, words, engine.batch)
        left.discard(text.prompt.id)
        if not left:
            return


def _check_same(here: Run, there: Run) -> None:
    """Raise ValueError if a worker would write texts of another run."""
    mine, first = here.to_json(), there.to_json()
    differing = sorted(name for name in mine.keys() | first.keys() if mine.get(name) != first.get(name))
    if differing:
        shown = ", ".join(f"{name}: {first.get(name)} there, {mine.get(name)} here" for name in differing)
        raise ValueError(
            f"a worker has other settings than the first one ({shown}); give all of them the same models, "
            "key file and devices"
        )
