"""Verdicts on all rows, the table, and the summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sims.tools.rows import EXACT, Row
from tradeoff.files import replacing, write_table

__all__ = ["LEVEL", "Verdict", "judge", "print_table", "write_summary"]


#: Family-wise level. The tests' normal approximations are a few times too bold this far out, for skewed
#: estimates; this leaves them that room below the wanted 1e-4. A row on a hundred tokens of a real pair, with
#: estimated variances, is some hundred times too bold to the left: at the least sizes the room is used up.
LEVEL = 1e-5


_WIDTH = 160


@dataclass(frozen=True)
class Verdict:
    """A row after Holm's procedure: `red` if its prediction was rejected."""

    row: Row
    red: bool

    @property
    def as_expected(self) -> bool:
        """Whether a statement is green, or a control red."""
        return self.red == self.row.expected_red

    @property
    def word(self) -> str:
        """ "green", "red", "red, as it must" for a control, or what went wrong with it."""
        if self.row.expected_red:
            return "red, as it must" if self.red else "GREEN, though broken"
        return "RED" if self.red else "green"


def judge(rows: Sequence[Row], level: float = LEVEL) -> list[Verdict]:
    """Holm's procedure: in order of p-value, the k-th of m rows is rejected while p <= level/(m - k)."""
    red = [False] * len(rows)
    for k, i in enumerate(sorted(range(len(rows)), key=lambda i: rows[i].p_value)):
        if rows[i].p_value > level / (len(rows) - k):
            break
        red[i] = True
    return [Verdict(row, is_red) for row, is_red in zip(rows, red, strict=True)]


def print_table(console: Console, verdicts: Sequence[Verdict]) -> None:
    """The table, in the order of the rows; wide enough for one line a row where there is no terminal."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("statement", "setting", "predicted", "estimated ± s.e.", "test", "p", "verdict"):
        table.add_column(name, no_wrap=name not in ("setting", "verdict"), overflow="fold")
    for verdict in verdicts:
        *cells, word = _cells(verdict)
        colour = "red" if verdict.row.expected_red else "green"
        table.add_row(*cells, Text(word, colour if verdict.as_expected else "bold white on red"))
    console.print(table)


def write_summary(verdicts: Sequence[Verdict], out: Path, note: str) -> list[Path]:
    """Write summary.csv and summary.md into the existing folder `out`.

    Args:
        verdicts: of all rows.
        out: the folder.
        note: one line on sizes, seed and level.

    Raises:
        FileError: if a file cannot be written.
    """
    table = pd.DataFrame([vars(v.row) | {"red": v.red, "as_expected": v.as_expected} for v in verdicts])
    write_table(table, out / "summary.csv")
    head = ("statement", "setting", "predicted", "estimated ± s.e.", "test", "p", "verdict")
    lines = ["# The paper's statements, checked", "", note, ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(v)) + " |" for v in verdicts]
    with replacing(out / "summary.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [out / "summary.csv", out / "summary.md"]


def _cells(verdict: Verdict) -> list[str]:
    row = verdict.row
    setting = f"control: {row.setting}" if row.expected_red else row.setting
    relation = "" if row.relation == "=" else f"{row.relation} "
    error = f" ± {row.standard_error:.2g}" if row.standard_error > EXACT else ""
    test = {"z": f"z = {row.statistic:+.2f}", f"exact to {EXACT:.0e}": "exact"}.get(row.test, row.test)
    return [
        row.statement,
        setting,
        f"{relation}{row.predicted:.6g}",
        f"{row.estimate:.6g}{error}",
        test,
        f"{row.p_value:.2g}",
        verdict.word,
    ]
