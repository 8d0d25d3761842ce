"""The report: one HTML file with every table, picture and setting, and how to repeat it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from tradeoff.display import environment
from tradeoff.errors import FileError
from tradeoff.files import replacing

__all__ = ["Section", "write_report"]


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, tables and pictures under it, and the command that made them.

    Args:
        title: heading.
        paragraphs: plain text.
        tables: (caption, table) pairs.
        pictures: PNG files.
        command: how to repeat it.
        claims: (claim, whether it was seen, numbers).
    """

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[tuple[str, pd.DataFrame]] = ()
    pictures: Sequence[Path] = ()
    command: str = ""
    claims: Sequence[tuple[str, bool, str]] = field(default=())


def write_report(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the report; pictures are embedded, so the file stands alone.

    Raises:
        FileError: if a picture cannot be read or the file cannot be written.
    """
    template = environment("paper_repro").get_template("report.html")
    report = template.render(title=title, sections=sections, rows=_rows, base64=_base64)
    with replacing(path) as temporary:
        temporary.write_text(report, encoding="utf-8")


class _Cell(NamedTuple):
    """What a table shows at one place, and whether its column is of words, not of numbers."""

    shown: str
    is_word: bool


def _rows(table: pd.DataFrame) -> list[list[_Cell]]:
    """The head of a table, then its rows."""
    words = [not pd.api.types.is_numeric_dtype(table[column]) for column in table.columns]
    rows = [table.columns, *table.itertuples(index=False)]
    return [[_Cell(_shown(value), word) for value, word in zip(row, words, strict=True)] for row in rows]


def _shown(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _base64(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error}); draw it again") from error
