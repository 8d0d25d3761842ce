"""What benchmarks measured, as csv: every row with its date, the versions and the number of cores."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from tradeoff.files import output_folder, write_table

__all__ = ["OutOption", "Tables", "chosen", "environment", "seconds_of", "spread_of"]

OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Write csv files there: pages quote those in the repository."),
]


def environment() -> dict[str, object]:
    """Columns date, python, pytorch, transformers, cores."""
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "pytorch": version("torch").partition("+")[0],
        "transformers": version("transformers"),
        "cores": os.cpu_count(),
    }


class Tables:
    """Writes tables into a folder, or nothing without one.

    Args:
        out: the folder. It is tried at once, so that no measuring is lost to a folder that cannot be written.

    Raises:
        FileError: if it is a file, or cannot be made or written.
    """

    def __init__(self, out: Path | None) -> None:
        self._out = out if out is None else output_folder(out)

    def write(self, name: str, rows: Sequence[dict[str, object]]) -> None:
        """`rows`, and where they were measured, as `name`.csv.

        Raises:
            FileError: if the file cannot be written.
        """
        if self._out is not None:
            write_table(pd.DataFrame(rows).assign(**environment()), self._out / f"{name}.csv")


def chosen(only: Sequence[str] | None, tables: Sequence[str]) -> Sequence[str]:
    """The tables that are asked for; all of them by default.

    Raises:
        ValueError: for the name of none.
    """
    if unknown := set(only or ()) - set(tables):
        raise ValueError(f"only={min(unknown)!r} is none of the tables; use {', '.join(tables)}")
    return only or tables


def seconds_of(function: Callable[[], object], runs: int) -> list[float]:
    """Seconds of every one of some calls."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


def spread_of(times: Sequence[float]) -> dict[str, object]:
    """Columns median, lowest, highest, runs."""
    return {
        "median": statistics.median(times),
        "lowest": min(times),
        "highest": max(times),
        "runs": len(times),
    }
