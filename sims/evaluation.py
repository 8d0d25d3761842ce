"""Statements evaluated side by side, by whoever works."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sims.statements import Statement, evaluate
from sims.tools.rows import NotEvaluatedError, Row
from tradeoff.display import print_warning
from tradeoff.errors import FileError
from tradeoff.workers import Task, executor_of

__all__ = ["Found", "evaluated"]


class Found(NamedTuple):
    """Rows of a statement, the seconds they took, and why there are none."""

    rows: list[Row]
    seconds: float
    missing: str


def evaluated(
    statements: dict[str, Statement], size: int, seed: int, out: Path, workers: int | str
) -> Iterator[tuple[str, Found]]:
    """Every statement as it is done: the last one, which takes the longest, is begun first.

    Raises:
        FileError: if a worker has another folder of results than this process.
    """
    names = list(reversed(statements))
    # By which a worker on another machine sees that it writes where this process reads.
    sign = out.resolve() / f".workers-{secrets.token_hex(6)}"
    sign.touch()
    try:
        with executor_of(1 if len(names) == 1 else workers, report=print_warning) as executor:
            tasks = [Task(name, (name, statements[name], size, seed, sign)) for name in names]
            for number, found in executor.run(_evaluate, tasks):
                yield names[number], found
    finally:
        sign.unlink(missing_ok=True)


def _evaluate(name: str, run: Statement, size: int, seed: int, sign: Path) -> Iterator[Found]:
    if not sign.exists():
        raise FileError(
            f"out={str(sign.parent)!r} is not the folder of that name where the command runs; choose one "
            "that all nodes share"
        )
    start = time.perf_counter()
    try:
        rows, missing = evaluate(name, run, size, seed, sign.parent), ""
    except NotEvaluatedError as error:
        rows, missing = [], str(error)
    yield Found(rows, time.perf_counter() - start, missing)
