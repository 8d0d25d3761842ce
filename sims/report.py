"""Rows of the final table: a statement, its prediction, an estimate with its error, and a verdict.

A row is a null hypothesis, "the prediction holds", with a p-value. Holm's procedure rejects rows at a
family-wise level, so that a run of true statements is green with probability above 0.9999. A negative
control is a row whose assumption was broken on purpose, so that its null is false: it must be rejected.
Identities and inequalities without random numbers have p-value 1 within a tolerance and 0 outside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy import stats

from tradeoff.estimate import Estimate
from tradeoff.files import replacing, write_table

__all__ = [
    "EXACT",
    "LEVEL",
    "NotEvaluatedError",
    "Row",
    "Verdict",
    "compare",
    "goodness_of_fit",
    "judge",
    "mean_and_error",
    "print_table",
    "write_summary",
]

#: Family-wise level. The tests' normal approximations are a few times too bold this far out, for skewed
#: estimates; this leaves them that room below the wanted 1e-4. A row on a hundred tokens of a real pair, with
#: estimated variances, is some hundred times too bold to the left: at the least sizes the room is used up.
LEVEL = 1e-5
#: Tolerance of identities that involve no random numbers.
EXACT = 1e-9
#: Cells of a chi-square test that expect fewer counts are pooled.
_FEWEST_EXPECTED = 25
_WIDTH = 160


class NotEvaluatedError(RuntimeError):
    """A statement needs something that is not to be had here; the message says what, and what to do."""


@dataclass(frozen=True)
class Row:
    """One prediction and what became of it.

    Attributes:
        statement: of the paper, as in "Theorem 3.1".
        setting: what was simulated or computed.
        predicted: by the statement.
        relation: of the estimate to the prediction: "=", "≤" or "≥".
        estimate, standard_error: what was found; the error is 0 where there are no random numbers.
        test: name of the test.
        statistic: its value: z, chi-square, or the difference.
        p_value: of the null hypothesis that the prediction holds.
        expected_red: whether this is a negative control.
    """

    statement: str
    setting: str
    predicted: float
    relation: str
    estimate: float
    standard_error: float
    test: str
    statistic: float
    p_value: float
    expected_red: bool = False


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


def compare(
    statement: str,
    setting: str,
    predicted: float,
    estimate: float,
    standard_error: float = 0.0,
    *,
    relation: str = "=",
    tolerance: float = EXACT,
    control: bool = False,
) -> Row:
    """A row that compares a number with its prediction.

    With a standard error this is a z test, one-sided for "≤" and "≥"; without one, the estimate may miss
    the prediction by `tolerance`. A difference below the tolerance is never significant: an estimate
    whose error has shrunk to rounding noise is compared as an exact number.

    Raises:
        ValueError: for an unknown relation.
    """
    if relation not in ("=", "≤", "≥"):
        raise ValueError(f"relation={relation!r} is unknown; use =, ≤ or ≥")
    difference = float(estimate) - float(predicted)
    excess = {"=": abs(difference), "≤": difference, "≥": -difference}[relation]
    if math.isnan(excess) or math.isnan(standard_error):
        # As expected of nothing: a statement is rejected, and a control is not.
        test, statistic, p_value = "not a number", math.nan, float(control)
    elif standard_error <= tolerance:
        test, statistic, p_value = f"exact to {tolerance:.0e}", difference, float(excess <= tolerance)
    else:
        test, statistic = "z", difference / standard_error
        p_value = float(stats.norm.sf(excess / standard_error)) * (2 if relation == "=" else 1)
    return Row(
        statement,
        setting,
        float(predicted),
        relation,
        float(estimate),
        float(standard_error),
        test,
        statistic,
        min(p_value, 1.0),
        control,
    )


def goodness_of_fit(
    statement: str, setting: str, counts: np.ndarray, law: np.ndarray, *, control: bool = False
) -> Row:
    """A chi-square row: counts of any shape against the law of the same shape.

    Cells that expect too few counts for the chi-square approximation are pooled. Counts where the law has
    no mass reject outright. Predicted is the number of degrees of freedom, which is the statistic's mean.
    """
    counts, law = np.ravel(counts).astype(float), np.ravel(law)
    expected = counts.sum() * law
    impossible = counts[law == 0].sum() > 0
    small = expected < _FEWEST_EXPECTED
    counts = np.append(counts[~small], counts[small].sum())
    expected = np.append(expected[~small], expected[small].sum())
    counts, expected = counts[expected > 0], expected[expected > 0]
    freedom = max(len(counts) - 1, 1)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return Row(
        statement,
        setting,
        float(freedom),
        "=",
        statistic,
        math.sqrt(2 * freedom),
        f"χ² ({freedom} df)",
        statistic,
        0.0 if impossible else float(stats.chi2.sf(statistic, freedom)),
        control,
    )


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of independent values [rows]."""
    found = Estimate.of_mean(values)
    return found.value, found.standard_error


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
