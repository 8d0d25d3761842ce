"""Numbers and tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

__all__ = [
    "EDIT_WORDS",
    "at_most",
    "between",
    "listed",
    "markdown_table",
    "number",
    "percent",
    "percent_between",
    "plus_minus",
]

#: Edits of `paper_repro.trials.robustness.EDITS`, for readers.
EDIT_WORDS = {
    "substitution": "tokens replaced",
    "insertion": "tokens inserted",
    "deletion": "tokens deleted",
    "truncation": "the end cut off",
    "pasted into human text": "pasted into human text, in place of the end",
    "tokenised again": "words tokenised again",
    "lower case": "all in lower case",
}


def number(value: float, digits: int) -> str:
    """With so many digits behind the point, a true minus sign, and a dash for what is not finite."""
    if not math.isfinite(value):
        return "–"
    # Adding 0 makes a plain zero of the one with a sign.
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")


def at_most(value: float, digits: int) -> str:
    """A bound on what was found: rounded up, so that it stays one."""
    scale = 10.0**digits
    # Not from 0.07 to 0.08, because 100 times 0.07 is more than 7.
    return number(math.ceil(value * scale - 1e-9) / scale, digits)


def percent(value: float, digits: int = 0) -> str:
    """A share in hundredths."""
    return f"{number(100 * value, digits)}%"


def plus_minus(value: float, error: float, digits: int) -> str:
    """An estimate and its standard error."""
    return f"{number(value, digits)} ± {number(error, digits)}"


def between(value: float, low: float, high: float, digits: int) -> str:
    """An estimate and the ends of its interval."""
    return f"{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


def percent_between(value: float, low: float, high: float, digits: int = 0) -> str:
    """`between` in hundredths."""
    return f"{percent(value, digits)} ({number(100 * low, digits)} to {number(100 * high, digits)})"


def listed(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; vertical bars in cells are escaped.

    Raises:
        ValueError: for a row of another length than the heading's.
    """
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"row {row} has {len(row)} cells; the heading has {len(head)}")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines)
