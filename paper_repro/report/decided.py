"""What a run decides of a claim: seen, contradicted or undecided.

A claim says that a difference lies in an open region: above 0 ("more"), above -m ("reaches, to within m") or
between -m and m ("the same, to within m"). It is decided by an interval that covers the difference at 95%:
seen if the whole interval lies in the region, contradicted if the whole interval lies outside it. So a claim
that is false is seen with a probability of at most 5%, and a true one contradicted with at most 5%, each by
itself, as far as Student's law holds of its means. What is undecided has too few texts only where its
interval is wide (`Claim.needs_texts`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tradeoff.errors import FileError
from tradeoff.files import write_table

__all__ = ["MARGINS", "Claim", "Unit", "Verdict", "half_width", "read_claims", "unseen_share", "write_claims"]

_LEVEL = 0.95


class Verdict(Enum):
    """The three states of a claim, in the words and with the symbols that they are shown with."""

    SEEN = "seen"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"

    @property
    def symbol(self) -> str:
        """One character, so that no colour is the only cue."""
        return {"seen": "✓", "contradicted": "✗", "undecided": "–"}[self.value]


class Unit(Enum):
    """What a difference is measured in.

    Attributes:
        margin: of "the same" and "reaches"; an interval of a larger half-width is wide.
        digits: behind the point.
    """

    STEPS = ("tokens a step", 0.1, 3)
    SURPRISE = ("nats a token", 0.05, 4)
    TPR = ("of mean TPR", 0.1, 3)
    TOKENS = ("of the tokens", 0.1, 2)
    TIME = ("of the time a token", 0.1, 2)

    def __init__(self, words: str, margin: float, digits: int):
        self.words, self.margin, self.digits = words, margin, digits


#: The margins in words.
MARGINS = ", ".join(f"{unit.margin:g} {unit.words}" for unit in Unit)


@dataclass(frozen=True)
class Claim:
    """A claim and the interval that decides it.

    Attributes:
        words: what is claimed, and of which texts.
        unit: of the numbers.
        value, low, high: the difference that decides, and its 95% interval.
        above, below: the claim is true of differences between them.
        note: over how many settings it was taken, if over several.

    Raises:
        ValueError: if the difference or an end of its interval is not finite.
    """

    words: str
    unit: Unit
    value: float
    low: float
    high: float
    above: float = 0.0
    below: float = math.inf
    note: str = ""

    def __post_init__(self) -> None:
        for name, number in (("value", self.value), ("low", self.low), ("high", self.high)):
            if not math.isfinite(number):
                raise ValueError(
                    f"{name}={number} of the claim {self.words!r} is not finite; leave out a claim "
                    "without an interval"
                )

    @property
    def verdict(self) -> Verdict:
        """By the whole interval; one that ends where the region does is undecided."""
        if self.above < self.low and self.high < self.below:
            return Verdict.SEEN
        if self.high < self.above or self.below < self.low:
            return Verdict.CONTRADICTED
        return Verdict.UNDECIDED

    @property
    def seen(self) -> bool:
        """Whether the run shows it."""
        return self.verdict is Verdict.SEEN

    @property
    def needs_texts(self) -> bool:
        """Undecided by an interval that is wide: its half-width is larger than the margin of its unit."""
        wide = (self.high - self.low) / 2 > self.unit.margin
        return self.verdict is Verdict.UNDECIDED and wide

    @property
    def remark(self) -> str:
        """Why it is undecided; empty if it is not."""
        if self.verdict is not Verdict.UNDECIDED:
            return ""
        if self.needs_texts:
            return "too few texts"
        if math.isinf(self.below) and self.above == 0:
            most, digits = max(abs(self.low), abs(self.high)), self.unit.digits
            # Rounded up, but for what floating point adds.
            most = math.ceil(round(most * 10**digits, 6)) / 10**digits
            return f"no difference larger than {most:.{digits}f}"
        return "the interval crosses the margin"

    @property
    def numbers(self) -> str:
        """The difference with its interval, in words."""
        value, low, high = (f"{x:+.{self.unit.digits}f}" for x in (self.value, self.low, self.high))
        note = f" {self.note}" if self.note else ""
        return f"difference {value} {self.unit.words}{note}, 95% interval {low} to {high}"


def unseen_share(texts: int) -> float:
    """The largest share of texts of another kind of which, at 95%, a sample would have shown one.

    The p with (1 - p)^texts = 5%, about 3 / texts ("rule of three").
    """
    return float(1 - (1 - _LEVEL) ** (1 / texts))


def half_width(variances: Sequence[float], texts: Sequence[int]) -> float:
    """Half of the width of a 95% interval of a sum of means of independent samples.

    By Student's law with Welch's degrees of freedom, (sum v)^2 / sum v^2 / (n - 1) (Welch, 1947, "The
    generalization of 'Student's' problem when several different population variances are involved").

    Args:
        variances: [samples] what each adds to the variance of the sum, estimated; not all 0.
        texts: [samples] their sizes, each at least 2.

    Raises:
        ValueError: for a sample of fewer than 2 texts, and for variances that give no interval.
    """
    if min(texts) < 2:
        raise ValueError(f"texts={list(texts)} has a sample without a standard error; each needs at least 2")
    v, degrees = np.asarray(variances, float), np.asarray(texts, float) - 1
    if not (np.isfinite(v).all() and (v >= 0).all() and v.any()):
        raise ValueError(f"variances={v.tolist()} give no interval; all must be finite, and one above 0")
    # Of shares, which do not vanish when squared.
    shares = v / v.sum()
    freedom = 1 / (shares**2 / degrees).sum()
    return math.sqrt(v.sum()) * float(stats.t.isf((1 - _LEVEL) / 2, freedom))


def write_claims(claims: Sequence[Claim], path: Path) -> None:
    """Write claims as a table, with their verdicts in words.

    Raises:
        FileError: if the file cannot be written.
    """
    rows = [
        {
            "claim": one.words,
            "verdict": one.verdict.value,
            "remark": one.remark,
            "difference": one.value,
            "low": one.low,
            "high": one.high,
            "unit": one.unit.words,
            "above": one.above,
            "below": one.below,
            "note": one.note,
        }
        for one in claims
    ]
    write_table(pd.DataFrame(rows), path)


def read_claims(path: Path) -> list[Claim]:
    """Claims from the table of `write_claims`, decided again by their intervals.

    Raises:
        FileError: if it is missing or is no such table.
    """
    units = {unit.words: unit for unit in Unit}
    try:
        rows: list[dict[str, Any]] = pd.read_csv(path, keep_default_na=False).to_dict("records")
        return [
            Claim(
                words=row["claim"],
                unit=units[row["unit"]],
                value=float(row["difference"]),
                note=row["note"],
                **{name: float(row[name]) for name in ("low", "high", "above", "below")},
            )
            for row in rows
        ]
    except pd.errors.EmptyDataError:
        return []
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"{path} cannot be read ({error!r}); run the experiment again") from error
