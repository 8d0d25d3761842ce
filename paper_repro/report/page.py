"""The report: one HTML file with every table, picture and setting, and how to repeat it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from paper_repro.report.decided import Claim
from paper_repro.report.pictures import Picture, data_uri
from tradeoff.display import environment
from tradeoff.files import replacing

__all__ = ["Report", "Section", "write_report"]

_NUMBER = re.compile(r"[-+−]?(\d|inf\b)")
#: Tables of more rows scroll within their region, under their headings.
_SHOWN_ROWS = 30


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, tables and pictures under it.

    Args:
        title: heading.
        anchor: of the heading, unique on the page.
        paragraphs: plain text.
        tables: (caption, table) pairs; columns are headed as they are shown.
        pictures: with their captions.
        claims: as they were decided.
    """

    title: str
    anchor: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[tuple[str, pd.DataFrame]] = ()
    pictures: Sequence[Picture] = ()
    claims: Sequence[Claim] = ()


@dataclass(frozen=True)
class Report:
    """All that a page shows.

    Args:
        title: of the page.
        summary: what was done and what came out, in a sentence or two.
        facts: (name, value) pairs: date, version, commit.
        opening: the section of the first screen: a picture and a table.
        left_out: what this run is too small for, and what decides it; may be empty.
        sections: in order.
        command: that repeats the run.
    """

    title: str
    summary: str
    facts: Sequence[tuple[str, str]]
    opening: Section
    left_out: str
    sections: Sequence[Section]
    command: str

    @property
    def parts(self) -> list[Section]:
        """All sections, the opening first."""
        return [self.opening, *self.sections]


def write_report(path: Path, report: Report) -> None:
    """Write the report; pictures are embedded, so the file stands alone.

    Raises:
        FileError: if a picture cannot be read or the file cannot be written.
    """
    template = environment("paper_repro").get_template("report.html")
    page = template.render(report=report, rows=_rows, data_uri=data_uri, is_long=_is_long)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


class _Cell(NamedTuple):
    """What a table shows at one place, and whether its column is of words, not of numbers."""

    shown: str
    is_word: bool


def _rows(table: pd.DataFrame) -> list[list[_Cell]]:
    """The head of a table, then its rows."""
    body = [[_shown(value) for value in row] for row in table.itertuples(index=False)]
    words = [any(cell and not _NUMBER.match(cell) for cell in column) for column in zip(*body, strict=True)]
    rows = [[str(column) for column in table.columns], *body]
    return [[_Cell(*pair) for pair in zip(row, words, strict=True)] for row in rows]


def _is_long(table: pd.DataFrame) -> bool:
    return len(table) > _SHOWN_ROWS


def _shown(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
