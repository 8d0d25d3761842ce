"""Tables that grow: a row is kept as soon as it is measured, and what is there is not measured again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from paper_repro.measuring import environment
from tradeoff.files import output_folder, write_table

__all__ = ["Results", "Step"]

Cells: TypeAlias = dict[str, object]


@dataclass(frozen=True)
class Step:
    """One row of a table.

    Attributes:
        table: its name.
        key: the columns that say what is measured.
        measure: the other columns.
    """

    table: str
    key: Cells
    measure: Callable[[], Cells]

    def __str__(self) -> str:
        return " ".join([self.table, *(str(part) for part in self.key.values())])


class Results:
    """gpu_NAME.csv in a folder.

    Args:
        out: the folder.
        settings: columns of every row: where and with what it was measured.

    Raises:
        FileError: if the folder cannot be made or written.
    """

    def __init__(self, out: Path, settings: Cells) -> None:
        self.out, self._settings = output_folder(out), settings

    def path(self, table: str) -> Path:
        """Of a table."""
        return self.out / f"gpu_{table}.csv"

    def holds(self, step: Step) -> bool:
        """Whether a row is there, of these settings and without an error."""
        rows = self._rows(step.table)
        wanted = {name: str(value) for name, value in (step.key | self._settings).items()}
        if not {*wanted, "error"} <= set(rows.columns):
            return False
        same = pd.concat([rows[name] == value for name, value in wanted.items()], axis=1).all(axis=1)
        return bool((same & (rows["error"] == "")).any())

    def take(self, step: Step) -> str:
        """Measure, keep the row, and say what went wrong, "" for nothing: the other steps do not depend on
        it."""
        found: Cells = {}
        error = ""
        try:
            found = step.measure()
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}".splitlines()[0]
        row = step.key | self._settings | found | {"error": error} | environment()
        new = pd.DataFrame([row]).astype(str)
        rows = pd.concat([self._rows(step.table), new], ignore_index=True).fillna("")
        write_table(rows, self.path(step.table))
        return error

    def value(self, table: str, column: str, **key: object) -> float | None:
        """A number of the last row with these settings; None without one."""
        rows = self._rows(table)
        for name, told in (key | self._settings).items():
            if name not in rows or rows.empty:
                return None
            rows = rows[rows[name] == str(told)]
        known = rows[rows[column] != ""] if column in rows else rows[:0]
        return None if known.empty else float(known[column].iloc[-1])

    def _rows(self, table: str) -> pd.DataFrame:
        path = self.path(table)
        return pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else pd.DataFrame()
