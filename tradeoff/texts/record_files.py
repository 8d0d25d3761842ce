"""Generated texts as JSON lines: appended one by one, safe against kills, in prompt order at the end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from tradeoff.errors import FileError
from tradeoff.files import output_folder, remove_leftovers, successor
from tradeoff.locks import give_up, hold
from tradeoff.texts.prompts import Prompt, prompt_hash
from tradeoff.texts.records import Record, Run, no_record

__all__ = ["RecordFile", "check_output", "read_records"]

#: What every line begins with, up to the id.
_START = b'{"id": "'
#: Characters of a setting that are quoted.
_SHOWN = 60


class RecordFile:
    """The texts of one run, one JSON object a line; use it as a context manager.

    Opening reads what is there: finished texts are not generated again. A last line that a kill left
    unfinished is dropped; every other line stays. A file of another run, or one that holds something else,
    is refused and not touched, and so is one that another process is writing: while it is open, a locked file
    lies beside it, `.NAME.lock`. A kill leaves that there, unlocked; it goes with the next end.

    Args:
        path: the file; it and its folder are made if need be. Of a link, the file that it leads to.
        run: settings of this run, as from `tradeoff.llm.run_records.run_settings`.

    Raises:
        FileError: if the file cannot be read or written, belongs to something else, or is in use.
    """

    def __init__(self, path: Path, run: Run):
        self.path, self._run = path.resolve(), run
        self._done: dict[str, Record] = {}
        check_output(path)
        with ExitStack() as opened:
            try:
                held = hold(_lock_path(self.path))
                if held is None:
                    raise FileError(
                        f"{path} is being written by another process; wait for it, or choose another file"
                    )
                opened.callback(give_up, held)
                self._stream = opened.enter_context(_opened(self.path))
            except OSError as error:
                raise FileError(
                    f"{path} cannot be written ({error.strerror or error}); choose another file"
                ) from error
            remove_leftovers(self.path)
            self._stream.seek(0)
            self._read(self._stream.read())
            self._opened = opened.pop_all()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *_: object) -> None:
        with self._opened:
            self._stream.close()

    def __len__(self) -> int:
        return len(self._done)

    def missing(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """The prompts that have no text yet, in order.

        Raises:
            FileError: if the file holds a text of a prompt whose words were encoded as other tokens then.
        """
        missing = [prompt for prompt in prompts if _of_prompt(prompt) not in self._done]
        # The run does not say how prompts were encoded. Other words under a known id are another prompt.
        known = {(record.id, record.prompt) for record in self._done.values()}
        for prompt in missing:
            if (prompt.id, prompt.text) in known:
                raise FileError(
                    f"{self.path} holds a text of the prompt {prompt.id!r} with other prompt tokens (its "
                    "words were encoded in another way, such as --chat); choose another output file, or "
                    "repeat the same prompts with or without --chat as before to go on with it"
                )
        return missing

    def of(self, prompts: Sequence[Prompt]) -> list[Record]:
        """The records of these prompts that there are, in order."""
        return [self._done[key] for key in map(_of_prompt, prompts) if key in self._done]

    def append(self, record: Record) -> None:
        """Write one record and flush it.

        Raises:
            FileError: if the file cannot be written (a full disk, say); what was there before stays whole.
            ValueError: for a record with numbers that JSON has not (NaN, infinity), or a second text of a
                prompt.
        """
        key = _of_record(record)
        if key in self._done:
            raise ValueError(f"{self.path} has a text of the prompt {record.id!r}; append what is missing")
        self._add(_line(record.to_json()))
        self._done[key] = record

    def finish(self, prompts: Sequence[Prompt]) -> None:
        """Put the records in the order of the prompts; texts of other prompts follow. Atomic.

        Lines move as they stand: whatever other versions wrote into them stays.

        Raises:
            FileError: if the file cannot be written.
        """
        wanted = {_of_record(record): record for record in self.of(prompts)}
        wanted |= {key: record for key, record in self._done.items() if key not in wanted}
        if list(wanted) == list(self._done):
            return
        self._stream.seek(0)
        lines = dict(zip(self._done, _lines(self._stream.read()), strict=True))
        # Windows replaces nothing that is open.
        self._stream.close()
        try:
            try:
                with successor(self.path) as temporary, temporary.open("xb", buffering=0) as ordered:
                    for key in wanted:
                        _write(ordered, lines[key])
            finally:
                # The old file or the new one.
                self._stream = _opened(self.path)
        except OSError as error:
            raise FileError(
                f"{self.path} cannot be put in order ({error.strerror or error}); its texts are all "
                "there: make room and run the same command again"
            ) from error
        self._done = wanted

    def _read(self, content: bytes) -> None:
        """Take over what the file holds; drop a half-written last line."""
        lines, size = _lines(content), content.rfind(b"\n") + 1
        # A power loss can leave room that was never written to, which reads as NUL.
        last = content[size:].rstrip(b"\0")
        ended = None if not last or _is_half(last) else last + b"\n"
        if ended is not None:
            # Everything of the last line but its end, or else no line of this file.
            try:
                _record_of(ended, f"{self.path} line {len(lines) + 1}")
            except FileError as error:
                raise FileError(f"{self.path} does not hold generated texts: {error}") from error
            lines.append(ended)
        for number, record in _parsed(self.path, lines):
            self._check_run(number, record.run)
            self._done[_of_record(record)] = record
        if size < len(content):
            self._cut(size)
        if ended is not None:
            self._add(ended)

    def _add(self, line: bytes) -> None:
        size = self._stream.seek(0, os.SEEK_END)
        try:
            _write(self._stream, line)
        except OSError as error:
            self._cut(size)
            raise FileError(
                f"{self.path} cannot be appended to ({error.strerror or error}); the texts it holds are "
                "safe: make room and run the same command again"
            ) from error

    def _cut(self, size: int) -> None:
        self._stream.truncate(size)

    def _check_run(self, number: int, run: Run) -> None:
        there, now = run.to_json(), self._run.to_json()
        differing = sorted(k for k in there.keys() | now.keys() if there.get(k) != now.get(k))
        if differing:
            shown = ", ".join(
                f"{k}: {str(there.get(k))[:_SHOWN]} there, {now.get(k)} now" for k in differing[:4]
            )
            raise FileError(
                f"{self.path} line {number} is a text of another run ({shown}); choose another file, or "
                "repeat that run's settings to go on with it"
            )


def read_records(path: Path | str) -> list[Record]:
    """All records of a file; an unfinished last line is left out.

    Raises:
        FileError: if the file is missing, unreadable, or holds something else.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    return [record for _, record in _parsed(path, _lines(content))]


def check_output(path: Path) -> None:
    """Raise FileError if `path` cannot be a file of records: a folder, or where nothing can be written."""
    if path.is_dir():
        raise FileError(f"{path} is a folder; name a file in it, such as {path / 'texts.jsonl'}")
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is not a regular file; choose another file")
    output_folder(path.parent)


def _lines(content: bytes) -> list[bytes]:
    """The lines that have their end, with it."""
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def _parsed(path: Path, lines: Sequence[bytes]) -> Iterator[tuple[int, Record]]:
    """(line number, record) of every line."""
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        record = _record_of(line, f"{path} line {number}")
        key = _of_record(record)
        if key in seen:
            raise FileError(
                f"{path} line {number} is a second text of the prompt of line {seen[key]}; remove one of them"
            )
        seen[key] = number
        yield number, record


def _record_of(line: bytes, place: str) -> Record:
    try:
        value = _loaded(line)
    except ValueError as error:
        raise no_record(place, f"it is not JSON: {error}") from error
    return Record.of_json(value, place)


def _line(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _loaded(line: bytes) -> Any:
    """A value of JSON.

    Raises:
        ValueError: for what is none, or could not be written again.
    """
    try:
        value = json.loads(line, parse_constant=_refused)
        # What could not be written again must not be taken for a text of this run.
        _line(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _refused(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _is_half(line: bytes) -> bool:
    """Whether a line can be the beginning of a record: it breaks off, and starts as records do."""
    try:
        _loaded(line)
    except ValueError:
        return line.startswith(_START) or _START.startswith(line)
    return False


def _lock_path(path: Path) -> Path:
    """Beside `path`; where a disk takes the name of that, it takes this one."""
    name = os.fsencode(path.name)
    shown = path.name if len(name) < 200 else hashlib.blake2b(name, digest_size=16).hexdigest()
    return path.with_name(f".{shown}.lock")


def _opened(path: Path) -> BinaryIO:
    """The file at `path`, made if need be, for reading and appending."""
    # Unbuffered: what a full disk refuses must not be tried again when the file is closed.
    return path.open("a+b", buffering=0)


def _write(stream: BinaryIO, line: bytes) -> None:
    while line:
        line = line[stream.write(line) :]


def _of_record(record: Record) -> str:
    return json.dumps([record.id, record.prompt, record.prompt_hash])


def _of_prompt(prompt: Prompt) -> str:
    return json.dumps([prompt.id, prompt.text, prompt_hash(prompt)])
