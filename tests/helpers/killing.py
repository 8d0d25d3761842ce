"""Writers killed at random moments, and what they leave: `python -m tests.helpers.killing FOLDER KILLS SEED`.

One process imports everything once and forks the writers, two at a time on one file. A kill, and the look at
what it left, then take milliseconds.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

import tradeoff as td
from tests.helpers.recorded import RUN
from tradeoff.errors import FileError
from tradeoff.files import write_table
from tradeoff.llm.generation.rows import GeneratedText
from tradeoff.llm.run_records import text_record
from tradeoff.texts.prompts import Prompt
from tradeoff.texts.record_files import RecordFile, read_records
from tradeoff.verdicts.pages.folders import pages_folders
from tradeoff.verdicts.pages.page import EvidencePage

__all__ = ["Report", "kill_writers"]

#: Kills on one file.
ROUND = 10
#: A kill comes this many seconds after two writers are at work, at most.
LONGEST = 0.01
PROMPTS = [Prompt(str(k), f"prompt {k}", (1, 2, k)) for k in range(100)]
#: Some longer than a page of memory, between two of which a kill can end a writing.
RECORDS = {
    prompt.id: text_record(
        GeneratedText(prompt, [7], "length", [1], "d", 0, [-0.5], [-1.0], 0.25),
        RUN,
        "wörter " * (100 + 10 * int(prompt.id)),
        2,
    )
    for prompt in PROMPTS
}
#: {line: id}
LINES = {json.dumps(record.to_json(), ensure_ascii=False).encode(): name for name, record in RECORDS.items()}
TABLES = [pd.DataFrame(np.random.default_rng(k).random((500, 3)), columns=["a", "b", "c"]) for k in range(4)]

EXAMINED = td.detect(np.arange(100).tolist(), td.Scheme.of("joint-race", "gumbel"), td.Key(bytes(range(32))))


class Writer(Protocol):
    """One kind of file, at `path`."""

    path: Path

    def write(self, acknowledge: Callable[[str], object]) -> None:
        """Write it once; what `acknowledge` was told must never be lost."""

    def problems(self, acknowledged: set[str]) -> list[str]:
        """What is wrong with the file, while nobody writes it."""

    def last_problems(self) -> list[str]:
        """What is wrong with it after the end of the writing."""


class Records:
    """A results file: writers append what is missing and put all in order, now in one and now in another."""

    def __init__(self, folder: Path):
        self.path, self._orders = folder / "out.jsonl", [PROMPTS, PROMPTS[::-1]]

    def write(self, acknowledge: Callable[[str], object]) -> None:
        with RecordFile(self.path, RUN) as file:
            for order in self._orders:
                for prompt in file.missing(PROMPTS)[:5]:
                    file.append(RECORDS[prompt.id])
                    acknowledge(prompt.id)
                file.finish(order)

    def problems(self, acknowledged: set[str]) -> list[str]:
        *lines, tail = self.path.read_bytes().split(b"\n")
        names = [LINES.get(line, "") for line in lines]
        found = [f"line {number} is not whole" for number, name in enumerate(names, 1) if not name]
        found += [f"the text {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
        found += [f"the text {name} is lost" for name in sorted(acknowledged.difference(names))]
        if not any(line.startswith(tail) for line in LINES):
            found.append("the last line is not the beginning of one")
        return found

    def last_problems(self) -> list[str]:
        with RecordFile(self.path, RUN) as file:
            for prompt in file.missing(PROMPTS):
                file.append(RECORDS[prompt.id])
            file.finish(PROMPTS)
        return [] if read_records(self.path) == list(RECORDS.values()) else ["the texts are not all there"]


class Whole:
    """A file that is written as a whole: a table or a page."""

    def __init__(self, path: Path, write: Callable[[int, Path], None]):
        self.path, self._write, self._turn = path, write, 0
        self._contents = []
        for k in range(len(TABLES)):
            write(k, self.path)
            self._contents.append(self.content())

    def content(self) -> bytes:
        """What is the same whoever writes it."""
        return self.path.read_bytes()

    def write(self, _: Callable[[str], object]) -> None:
        self._turn = (self._turn + 1) % len(TABLES)
        self._write(self._turn, self.path)

    def problems(self, _: set[str]) -> list[str]:
        return [] if self.content() in self._contents else ["it is neither an old nor a new one"]

    def last_problems(self) -> list[str]:
        return self.problems(set())


class Pages(Whole):
    """An index and, in a folder beside it, pages; its name is a new one every time."""

    def content(self) -> bytes:
        return re.sub(rb"-pages-[0-9a-f]{6}/", b"-pages/", super().content())

    def problems(self, acknowledged: set[str]) -> list[str]:
        pages = [
            self.path.parent / link for link in re.findall(r'href="(page-pages-.+?)"', self.path.read_text())
        ]
        whole = [page.is_file() and page.read_text().endswith("</html>\n") for page in pages]
        found = [f"{page} is not whole" for page, is_whole in zip(pages, whole, strict=True) if not is_whole]
        return found + super().problems(acknowledged)

    def last_problems(self) -> list[str]:
        several = len(pages_folders(self.path)) - 1
        return super().last_problems() + ([f"{several} former folders are left"] if several else [])


def _write_table(k: int, path: Path) -> None:
    write_table(TABLES[k], path)


def _write_page(k: int, path: Path) -> None:
    with EvidencePage(path, datetime(2026, 1, 1, tzinfo=UTC)) as page:
        for name in ("one", "two", "three"):
            page.add(f"{name} {k}", EXAMINED, [f" word{k}"] * len(EXAMINED.token_ids))


class Killed:
    """A forked process that writes again and again until it is killed."""

    def __init__(self, writer: Writer):
        server = os.getpid()
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.write(writing, b"at work\n")
                while os.getppid() == server:
                    _write_or_wait(writer, lambda name: os.write(writing, f"+{name}\n".encode()))
            except BaseException:
                os.write(writing, f"!{traceback.format_exc()!r}\n".encode())
            # What has failed waits for its kill, and nobody outlives the process that would kill it.
            while os.getppid() == server:
                time.sleep(0.1)
            os._exit(1)
        os.close(writing)
        os.set_blocking(self._reading, False)
        select.select([self._reading], [], [])

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def halt(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def said(self) -> list[str]:
        """What it has said since the last time; everything, once it is dead."""
        said = b""
        try:
            while part := os.read(self._reading, 1 << 16):
                said += part
            os.close(self._reading)
        except BlockingIOError:
            pass
        return said.decode().splitlines()


def _write_or_wait(writer: Writer, acknowledge: Callable[[str], object]) -> None:
    try:
        writer.write(acknowledge)
    except FileError as error:
        if "is being written by another process" not in str(error):
            raise
        time.sleep(0.0005)


@dataclass
class Report:
    """What came of the kills: texts acknowledged before one, leftovers before the next writer, problems."""

    kills: int = 0
    acknowledged: int = 0
    leftovers: int = 0
    problems: list[str] = field(default_factory=list)


def kill_writers(folder: Path, kills: int, seed: int) -> Report:
    """Kill writers of results files, tables and pages.

    Args:
        folder: an empty one.
        kills: how many, a multiple of ROUND.
        seed: of the moments of the kills, and of who is killed.
    """
    rng, report = np.random.default_rng(seed), Report()
    makers: list[Callable[[Path], Writer]] = [
        Records,
        lambda place: Whole(place / "table.csv", _write_table),
        lambda place: Pages(place / "page.html", _write_page),
    ]
    for k in range(kills // ROUND):
        place = folder / str(k)
        place.mkdir()
        _kill_on_one_file(makers[k % len(makers)](place), rng, report)
    return report


def _kill_on_one_file(writer: Writer, rng: np.random.Generator, report: Report) -> None:
    acknowledged: set[str] = set()
    found: list[str] = []
    # What there is from the start is a whole file.
    writer.write(str)
    alive = [Killed(writer), Killed(writer)]
    for killed in range(1, ROUND + 1):
        time.sleep(rng.uniform(0, LONGEST))
        victim = alive.pop(rng.integers(len(alive)))
        victim.kill()
        for other in alive:
            other.halt()
        said = [line for process in (victim, *alive) for line in process.said()]
        acknowledged |= {line[1:] for line in said if line.startswith("+")}
        found += [line[1:] for line in said if line.startswith("!")]
        found += writer.problems(acknowledged)
        started = [Killed(writer)] if killed < ROUND - 1 else []
        for other in alive:
            other.go_on()
        alive += started
    report.kills += ROUND
    report.acknowledged += len(acknowledged)
    kept = {writer.path, *pages_folders(writer.path)}
    report.leftovers += len(set(writer.path.parent.iterdir()) - kept)
    try:
        writer.write(str)
        kept = {writer.path, *pages_folders(writer.path)}
        found += [f"{path.name} is left" for path in writer.path.parent.iterdir() if path not in kept]
        found += writer.problems(acknowledged)
        found += writer.last_problems()
    except FileError as error:
        found.append(str(error))
    report.problems += [f"{writer.path}: {problem}" for problem in found]


if __name__ == "__main__":
    print(json.dumps(asdict(kill_writers(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))))
