"""Statements evaluated side by side, by worker processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import NamedTuple

from sims.statements import Statement, evaluate
from sims.tools.rows import NotEvaluatedError, Row
from tradeoff.workers import worker_pool

__all__ = ["Found", "evaluated"]


class Found(NamedTuple):
    """Rows of a statement, the seconds they took, and why there are none."""

    rows: list[Row]
    seconds: float
    missing: str


def evaluated(
    statements: dict[str, Statement], size: int, seed: int, out: Path, processes: int | None
) -> Iterator[tuple[str, Found]]:
    """Every statement as it is done: the last one, which takes the longest, is begun first."""
    with worker_pool(1 if len(statements) == 1 else processes) as pool:
        if pool is None:
            for name, run in statements.items():
                yield name, _evaluate(name, run, size, seed, out)
            return
        futures = {
            pool.submit(_evaluate, name, run, size, seed, out): name
            for name, run in reversed(statements.items())
        }
        for future in as_completed(futures):
            yield futures[future], future.result()


def _evaluate(name: str, run: Statement, size: int, seed: int, out: Path) -> Found:
    start = time.perf_counter()
    try:
        rows, missing = evaluate(name, run, size, seed, out), ""
    except NotEvaluatedError as error:
        rows, missing = [], str(error)
    return Found(rows, time.perf_counter() - start, missing)
