"""Texts judged by several processes: batches go out in order, and what is told comes back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from tradeoff.errors import FileError
from tradeoff.keyed import Key, Keyring
from tradeoff.texts import Broken, Text
from tradeoff.verdicts import TOGETHER, Examiner, ForeignConfig, Options, Result, Told
from tradeoff.workers import worker_pool

__all__ = ["KeysToRead", "check_files", "told_by_workers"]

#: Batches that are out at a time, for each process: one being judged and one waiting.
_AHEAD = 2
#: Characters and tokens of a batch, but for its last text.
_MOST_HELD = 1 << 22


@dataclass(frozen=True)
class KeysToRead:
    """Where the keys are: each process reads them itself, since a key is never pickled.

    Attributes:
        files: key files and folders; the environment has the key if there are none.
        integers: whether decimal digits alone are a key of vLLM's format.
        written: the day on which keys must be valid.
        configs: configurations of other software, in place of all these.
        vocabulary: what they need of the model; None for what lies beside them.
    """

    files: tuple[Path, ...]
    integers: bool
    written: date | None
    configs: tuple[Path, ...] = ()
    vocabulary: int | None = None

    def read(self) -> Keyring:
        """The keys."""
        if self.configs:
            ring = Keyring(tuple(ForeignConfig.read(path, self.vocabulary).key for path in self.configs))
        else:
            ring = self._of_files()
        return ring if self.written is None else ring.on(self.written)

    def _of_files(self) -> Keyring:
        if self.files:
            return Keyring.read(self.files, self.integers)
        return Keyring.of(Key.from_environment())


def check_files(paths: Iterable[Path], remedy: str) -> None:
    """Whether keys can be read several times.

    Args:
        paths: where they are.
        remedy: what to do where they cannot.

    Raises:
        ValueError: for what is neither a file nor a folder, such as a pipe.
    """
    for path in paths:
        if not path.is_file() and not path.is_dir():
            raise ValueError(
                f"--key-file {path} is no file, and every process reads the key itself; {remedy}"
            )


@dataclass(frozen=True)
class _Answer:
    """Of a batch: what is told of every text, and what is said beside it."""

    told: list[Told | Broken]
    warnings: list[str]
    notes: list[str]


def told_by_workers(
    texts: Iterable[Text | Broken],
    options: Options,
    keys: KeysToRead,
    workers: int,
    warn: Callable[[str], None],
    note: Callable[[str], None],
) -> Iterator[Told | Broken]:
    """What is told of texts, in order.

    Args:
        texts: as they come; their words are held until they are judged.
        options: what the caller says.
        keys: where the keys are.
        workers: processes, 2 or more.
        warn, note: as of `Examiner`; the same words once, whichever process they come from.
    """
    said: set[str] = set()

    def answered(future: Future[_Answer]) -> Iterator[Told | Broken]:
        answer = future.result()
        for speak, words in ((warn, answer.warnings), (note, answer.notes)):
            for one in words:
                if one not in said:
                    said.add(one)
                    speak(one)
        yield from answer.told

    waiting: deque[Future[_Answer]] = deque()
    with worker_pool(workers) as pool:
        assert pool is not None
        for batch in _batches(texts):
            waiting.append(pool.submit(_judge, batch, options, keys))
            if len(waiting) >= _AHEAD * workers:
                yield from answered(waiting.popleft())
        while waiting:
            yield from answered(waiting.popleft())


def _batches(texts: Iterable[Text | Broken]) -> Iterator[list[Text | Broken]]:
    batch: list[Text | Broken] = []
    held = 0
    for text in map(_held, texts):
        batch.append(text)
        if isinstance(text, Text):
            held += sum(map(len, text.pieces or ())) + len([] if text.token_ids is None else text.token_ids)
        if len(batch) >= TOGETHER or held >= _MOST_HELD:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _held(text: Text | Broken) -> Text | Broken:
    """A text with its words, or why they cannot be read."""
    if isinstance(text, Broken) or text.pieces is None:
        return text
    try:
        return replace(text, pieces=list(text.pieces))
    except FileError as error:
        return Broken(text.source, str(error))


#: Of this process: made with the first batch, for all of them.
_examiners: dict[tuple[Options, KeysToRead], tuple[Examiner, list[str], list[str]]] = {}


def _judge(texts: list[Text | Broken], options: Options, keys: KeysToRead) -> _Answer:
    if (options, keys) not in _examiners:
        warnings: list[str] = []
        notes: list[str] = []
        examiner = Examiner(options, keys.read(), warnings.append, notes.append)
        _examiners[options, keys] = examiner, warnings, notes
    examiner, warnings, notes = _examiners[options, keys]
    found = [Told.of(one) if isinstance(one, Result) else one for one in examiner.examine_all(texts)]
    answer = _Answer(found, [*warnings], [*notes])
    warnings.clear()
    notes.clear()
    return answer
