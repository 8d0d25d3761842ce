"""What pages quote: committed tables, reports and summaries, and checks of what is said about them."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

from paper_repro.report.decided import Claim, read_claims

__all__ = [
    "claim",
    "claims",
    "experiment_table",
    "one_row",
    "require",
    "said",
    "statement_table",
    "summary_note",
]

_ROOT = Path(__file__).parents[3]
_EXPERIMENTS = _ROOT / "paper_repro" / "results"
_STATEMENTS = _ROOT / "sims" / "results"


def require(holds: object, sentence: str) -> None:
    """Let a page be written only while what it says is so.

    Args:
        holds: whether the tables say so.
        sentence: of the page that would become false.

    Raises:
        ValueError: if they do not.
    """
    if not holds:
        raise ValueError(f"the tables do not say any more that {sentence}; mend the page's template")


def experiment_table(run: str, name: str) -> pd.DataFrame:
    """The table `paper_repro/results/RUN/NAME.csv`."""
    return pd.read_csv(_EXPERIMENTS / run / f"{name}.csv")


def statement_table(name: str) -> pd.DataFrame:
    """The table `sims/results/NAME.csv`."""
    return pd.read_csv(_STATEMENTS / f"{name}.csv")


def summary_note() -> str:
    """The line of `sims/results/summary.md` on sizes, seed and level."""
    return (_STATEMENTS / "summary.md").read_text(encoding="utf-8").split("\n\n")[1]


def one_row(table: pd.DataFrame, **where: object) -> pd.Series:
    """The one row of a table with those values.

    Raises:
        ValueError: if there is none, or more than one.
    """
    found = table
    for column, value in where.items():
        found = found[found[column] == value]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows have {where}; a page quotes one")
    return found.iloc[0]


def said(run: str, pattern: str) -> re.Match[str]:
    """Where the paragraphs of a run's report say something, as a regular expression.

    Raises:
        ValueError: if they do not, or more than once.
    """
    found = [match for text in _lines(run).paragraphs for match in re.finditer(pattern, text)]
    if len(found) != 1:
        raise ValueError(f"the report of {run} says {pattern!r} {len(found)} times; a page quotes one")
    return found[0]


def claims(run: str) -> list[Claim]:
    """What a run decides of the papers' claims, by `paper_repro/results/RUN/claims.csv`.

    Raises:
        FileError: if it has no such table.
    """
    return _claims_of(_EXPERIMENTS / run / "claims.csv")


def claim(run: str, start: str) -> Claim:
    """The one claim that starts with those words.

    Raises:
        ValueError: if there is none, or more than one.
    """
    found = [one for one in claims(run) if one.words.startswith(start)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} claims of {run} start with {start!r}; a page quotes one")
    return found[0]


@cache
def _claims_of(table: Path) -> list[Claim]:
    """Pages ask for them a dozen times."""
    return read_claims(table)


class _Lines(HTMLParser):
    """Paragraphs of a report."""

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        self._open: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "p":
            self._open = []

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "p" and self._open is not None:
            self.paragraphs.append("".join(self._open))
            self._open = None


def _lines(run: str) -> _Lines:
    return _lines_of(_EXPERIMENTS / run / "report.html")


@cache
def _lines_of(report: Path) -> _Lines:
    """Pages ask a report a dozen times, and its pictures make it large."""
    lines = _Lines()
    lines.feed(report.read_text(encoding="utf-8"))
    return lines
