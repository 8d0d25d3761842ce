"""Texts judged by several processes: batches go out in order, and what is told comes back in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from tradeoff.errors import FileError
from tradeoff.keyed import AnyKey, Key, Keyring
from tradeoff.texts import Broken, Text
from tradeoff.verdicts import TOGETHER, Examiner, ForeignConfig, Options, Result, Told
from tradeoff.workers import Task, executor_of, in_order

__all__ = ["KeysToRead", "check_files", "check_key_files", "told_by_workers"]

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
        fingerprints: of the keys that are to be there, by which another file of that name is told; empty if
            nobody knows.
    """

    files: tuple[Path, ...]
    integers: bool
    written: date | None
    configs: tuple[Path, ...] = ()
    vocabulary: int | None = None
    fingerprints: tuple[str, ...] = ()

    def read(self) -> Keyring:
        """The keys.

        Raises:
            ValueError: if they cannot be read, or are others than those that are to be there.
        """
        if self.configs:
            ring = Keyring(tuple(ForeignConfig.read(path, self.vocabulary).key for path in self.configs))
        else:
            ring = self._of_files()
        ring = ring if self.written is None else ring.on(self.written)
        found = tuple(key.fingerprint for key in ring)
        if self.fingerprints and found != self.fingerprints:
            raise ValueError(
                f"a worker reads keys {', '.join(found)}, and the command has "
                f"{', '.join(self.fingerprints)}; give every node the same key files"
            )
        return ring

    def read_one(self) -> AnyKey:
        """The only one of them."""
        (only,) = self.read()
        return only.key

    def _of_files(self) -> Keyring:
        if self.files:
            return Keyring.read(self.files, self.integers)
        return Keyring.of(Key.from_environment())


def check_key_files(paths: Sequence[Path], integer: str | None = None) -> None:
    """Raise ValueError for keys that only this process can read.

    Args:
        paths: of key files, folders and configurations.
        integer: a key that stands in the command itself.
    """
    if integer is not None:
        raise ValueError(
            "--key is read by this process alone, and every process reads the key itself; write it to a "
            "file, for --key-file, or leave out --workers"
        )
    check_files(paths, "write it to one, or leave out --workers")


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
    workers: str,
    warn: Callable[[str], None],
    note: Callable[[str], None],
) -> Iterator[Told | Broken]:
    """What is told of texts, in order.

    Args:
        texts: as they come; their words are held until they are judged.
        options: what the caller says.
        keys: where the keys are.
        workers: as `parse_workers` takes them.
        warn, note: as of `Examiner`; the same words once, whichever process they come from.
    """
    said: set[str] = set()
    tasks = (
        Task(f"batch {number} of the texts", (batch, options, keys))
        for number, batch in enumerate(_batches(texts), 1)
    )
    with executor_of(workers, report=warn) as executor:
        for answer in in_order(executor, _judge, tasks):
            for speak, words in ((warn, answer.warnings), (note, answer.notes)):
                for one in words:
                    if one not in said:
                        said.add(one)
                        speak(one)
            yield from answer.told


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


def _judge(texts: list[Text | Broken], options: Options, keys: KeysToRead) -> Iterator[_Answer]:
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
    yield answer
