"""Rows of the final table: a statement, its prediction, an estimate with its error, and a verdict.

A row is a null hypothesis, "the prediction holds", with a p-value. Holm's procedure rejects rows at a
family-wise level, so that a run of true statements is green with probability above 0.9999. A negative
control is a row whose assumption was broken on purpose, so that its null is false: it must be rejected.
Identities and inequalities without random numbers have p-value 1 within a tolerance and 0 outside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tradeoff.estimate import Estimate

__all__ = ["EXACT", "NotEvaluatedError", "Row", "compare", "goodness_of_fit", "mean_and_error"]

#: Tolerance of identities that involve no random numbers.
EXACT = 1e-9
#: Cells of a chi-square test that expect fewer counts are pooled.
_FEWEST_EXPECTED = 25


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
