"""Values of a paper beside what is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

__all__ = ["Reference", "print_references"]


@dataclass(frozen=True)
class Reference:
    """A quantity, its reference value and how far the computed value may be from it.

    Attributes:
        name: what it is.
        value: what is computed here.
        reference: what it should be.
        tolerance: the largest allowed difference: half a unit of the reference's last digit (at most
            1e-9 where it has that many), or 4 standard errors of the difference.
        error: standard error of the value, 0 where it is exact.
    """

    name: str
    value: float
    reference: float
    tolerance: float
    error: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance."""
        return abs(self.value - self.reference) <= self.tolerance


def print_references(console: Console, rows: Sequence[Reference]) -> bool:
    """Print a table of reference values; whether all of them hold."""
    # Without lines between the columns a terminal of 80 has room for the quantities.
    table = Table(
        *("quantity", "value", "reference", "difference", "allowed", "verdict"),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        table.add_row(
            row.name,
            f"{row.value:.10f}" if row.error == 0 else f"{row.value:.4f} ± {row.error:.4f}",
            f"{row.reference:.10g}",
            f"{row.value - row.reference:+.1e}",
            f"{row.tolerance:.1e}",
            "ok" if row.holds else "MISSED",
            style=None if row.holds else "bold red",
        )
    console.print(table)
    missed = sum(not row.holds for row in rows)
    console.print(f"{len(rows) - missed} of {len(rows)} reference values reproduced", highlight=False)
    return missed == 0
