"""What generated texts say about a method: AATPS, acceptance against theory, LOGPPL, time per token.

Every estimate carries the standard error that belongs to its sampling: texts are independent, the steps
within one are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeoff.simulation import Estimate

__all__ = [
    "Acceptance",
    "aatps",
    "acceptance",
    "excess_surprise",
    "log_perplexity",
    "paired_log_perplexity",
    "per_token_time",
]

Record = Mapping[str, Any]


def aatps(records: Sequence[Record]) -> Estimate:
    """Average accepted tokens per step, the token after the drafts included: between 1 and K + 1.

    Steps are counted before the text is cut at its end. A ratio of sums over texts, with the standard error
    of a ratio estimator whose independent units are texts.

    Raises:
        ValueError: without records.
    """
    _check(records)
    tokens = np.array([sum(record["accepted"]) + len(record["accepted"]) for record in records], float)
    steps = np.array([len(record["accepted"]) for record in records], float)
    ratio = tokens.sum() / steps.sum()
    return Estimate(float(ratio), _standard_error(tokens - ratio * steps) / float(steps.mean()))


@dataclass(frozen=True)
class Acceptance:
    """How often drafts were accepted, and how often they should have been.

    Attributes:
        rate: share of verified drafts that were accepted.
        expected: mean over the same positions of the method's own formula (1 - TV for most); NaN, like the
            standard error, for methods without one.
        overlap: mean over the same positions of 1 - TV(Q, P), the most that is possible.
        standard_error: of rate - expected, if the formula holds: at every position, given all before it,
            acceptance is a coin of the expected probability, so the differences are uncorrelated.
        verified: number of positions.
    """

    rate: float
    expected: float
    overlap: float
    standard_error: float
    verified: int

    @property
    def z(self) -> float:
        """(rate - expected) / standard error."""
        return (self.rate - self.expected) / self.standard_error


def acceptance(records: Sequence[Record]) -> Acceptance:
    """Acceptance rate against theory, from measured records with one candidate a level.

    Raises:
        ValueError: without records, if they were not measured, or if nothing was verified.
    """
    _check(records)
    if any("overlap" not in record for record in records):
        raise ValueError("the records hold no overlaps; generate them with measure=True (--measure)")
    accepted, expected, overlaps = [], [], []
    for record in records:
        lists = zip(record["sources"], record["efficiency"], record["overlap"], strict=True)
        for source, efficiency, overlap in lists:
            if overlap is not None:
                accepted.append(source == "d")
                expected.append(math.nan if efficiency is None else efficiency)
                overlaps.append(overlap)
    if not accepted:
        raise ValueError(
            "no draft was verified in these records; they come from a method without speculation"
        )
    p = np.array(expected)
    return Acceptance(
        float(np.mean(accepted)),
        float(p.mean()),
        float(np.mean(overlaps)),
        # Probabilities are rounded to 7 digits in records and may exceed 1 by rounding.
        math.sqrt(float(np.maximum(p * (1 - p), 0).sum())) / len(p),
        len(p),
    )


def log_perplexity(records: Sequence[Record], *, model: bool = False) -> Estimate:
    """LOGPPL: mean over texts of the mean -log P(token) under the target.

    Args:
        records: generated texts.
        model: at temperature 1 with nothing cut, instead of as sampled.

    Raises:
        ValueError: without records.
    """
    _check(records)
    values = np.array([record["logppl_model" if model else "logppl"] for record in records])
    return Estimate(float(values.mean()), _standard_error(values))


def paired_log_perplexity(records: Sequence[Record], reference: Sequence[Record]) -> Estimate:
    """Mean difference of LOGPPL between two methods on the same prompts (first minus second).

    Raises:
        ValueError: if they have no prompt in common.
    """
    by_id = {record["id"]: record["logppl"] for record in reference}
    pairs = [(r["logppl"], by_id[r["id"]]) for r in records if r["id"] in by_id]
    if not pairs:
        raise ValueError("the two lists of records have no prompt in common; generate them from one file")
    differences = np.array([ours - theirs for ours, theirs in pairs])
    return Estimate(float(differences.mean()), _standard_error(differences))


def excess_surprise(records: Sequence[Record]) -> Estimate:
    """Mean of -log P(token) - Ent(P) over all tokens of measured records: 0 for an unbiased method.

    Given all before it, every token has mean surprise Ent(P), so the differences are uncorrelated whatever the
    texts are about; this sees a bias that the spread of LOGPPL between texts hides. The expectation is over
    keys: texts under one key share what their common contexts draw.

    Raises:
        ValueError: without records, or if they were not measured.
    """
    _check(records)
    if any("entropy" not in record for record in records):
        raise ValueError("the records hold no entropies; generate them with measure=True (--measure)")
    values = np.concatenate([-np.array(r["log_p"]) - np.array(r["entropy"]) for r in records])
    return Estimate(float(values.mean()), _standard_error(values))


def per_token_time(records: Sequence[Record]) -> Estimate:
    """PTT: milliseconds from admission to the last token, divided by the tokens; for runs at batch 1.

    Raises:
        ValueError: without records.
    """
    _check(records)
    times = np.array([1000 * record["seconds"] / len(record["token_ids"]) for record in records])
    return Estimate(float(times.mean()), _standard_error(times))


def _check(records: Sequence[Record]) -> None:
    if not records:
        raise ValueError("there are no records to measure; generate some texts first")


def _standard_error(values: np.ndarray) -> float:
    """Of the mean of independent values; infinite for a single one."""
    if len(values) < 2:
        return math.inf
    return float(values.std(ddof=1) / math.sqrt(len(values)))
