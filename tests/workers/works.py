"""What workers do in these tests; they import it by its name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Odd", "beside", "counting", "dying_once", "environment", "failing", "pid"]


class Odd(Exception):
    """An error that cannot be made again from its words."""

    def __init__(self, one: int, two: int):
        super().__init__(f"{one} and {two}")


def counting(number: int, items: int = 3) -> Iterator[tuple[int, int]]:
    """So many items of the number."""
    yield from ((number, item) for item in range(items))


def dying_once(number: int, folder: Path, of: tuple[int, ...], times: int = 1) -> Iterator[int]:
    """The number twice; between them, tasks `of` are killed the first few times."""
    yield number
    deaths = folder / f"{number}"
    before = deaths.read_text() if deaths.exists() else ""
    if number in of and len(before) < times:
        deaths.write_text(before + "x")
        os.kill(os.getpid(), signal.SIGKILL)
    yield number


def failing(kind: str) -> Iterator[None]:
    """Nothing but an error."""
    yield None
    raise Odd(1, 2) if kind == "odd" else ValueError("number=-1 must be at least 0")


def environment(name: str) -> Iterator[str | None]:
    """What a variable holds."""
    yield os.environ.get(name)


def beside(number: int, folder: Path, others: int, name: str) -> Iterator[str | None]:
    """What a variable holds, once so many others are at work as well: no worker does two of these."""
    (folder / f"{number}").touch()
    deadline = time.monotonic() + 120
    while len(list(folder.iterdir())) <= others:
        if time.monotonic() > deadline:
            raise ValueError(f"others={others} are not at work")
        time.sleep(0.02)
    yield os.environ.get(name)


def pid(_: int) -> Iterator[int]:
    """Of the process."""
    yield os.getpid()
