"""Predictions beside measurements: one row each, all within bounds that hold for all of them together.

Positions that an earlier text tells something of are left out (`fresh_positions`).

A row compares the mean of what was measured with the mean of the predictions at the same positions, or, as a
"slope", how both move together from position to position: sum of (m - mean m)(x - m), whose mean is 0. Both
are sums of martingale differences, so that their z scores are standard normal. A control does the same with a
key, a draft or contexts that the texts do not have, and must be outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from paper_repro.presets import Cell
from paper_repro.trials.fixed import FPR
from tradeoff.detection import Detector, Evidence
from tradeoff.texts import Record, counted_steps

__all__ = [
    "LEVEL",
    "Bound",
    "bound_of",
    "cell_bounds",
    "fresh_positions",
    "rate_bounds",
    "record_bounds",
    "table_of",
]

#: Chance that any row is outside if all predictions are right.
LEVEL = 0.01
#: A slope is asked of cells with so many positions.
FEWEST = 1_500
#: What entries tell only of positions where a draft was verified.
_VERIFIED = ("accepted", "efficiency", "wrong_draft")

_Array = np.ndarray


@dataclass(frozen=True)
class Bound:
    """A prediction and what was measured.

    Attributes:
        statement: what theory says: "unbiased", "acceptance", "strength", "score", "steps", "share found".
        prompts, method, watermark, temperature, lookahead: of the cell.
        what: "mean" or "slope".
        control: what is wrong; empty for a prediction.
        count: positions, steps or texts.
        predicted, measured: means over them.
        z: of their difference; of a slope that of its sum.
    """

    statement: str
    prompts: str
    method: str
    watermark: str
    temperature: float
    lookahead: int
    what: str
    control: str
    count: int
    predicted: float
    measured: float
    z: float


def fresh_positions(texts: Sequence[Evidence], records: Sequence[Record]) -> list[_Array]:
    """Positions that no earlier text says anything of: [tokens] booleans, a text each.

    Texts have one key, so that a context which a key acts on draws the same numbers in all of them. Only in
    the first is what they draw uncorrelated with all before; where a key does not act, it always is.

    Args:
        texts: under the key that wrote them, in order.
        records: of the same.
    """
    seen: set[bytes] = set()
    found = []
    for evidence, record in zip(texts, records, strict=True):
        contexts = [context.tobytes() for context in evidence.contexts]
        fresh = np.ones(len(record.token_ids), dtype=bool)
        fresh[evidence.index] = [context not in seen for context in contexts]
        seen.update(contexts)
        found.append(fresh)
    return found


def record_bounds(cell: Cell, records: Sequence[Record], fresh: Sequence[_Array]) -> Iterator[Bound]:
    """What records tell by themselves: mean surprise, acceptance, tokens a step.

    Args:
        cell: whose texts they are.
        records: measured ones, of different prompts.
        fresh: their positions that count, as of `fresh_positions`.
    """
    surprise = np.concatenate([-np.array(r.log_p)[f] for r, f in zip(records, fresh, strict=True)])
    entropies = np.concatenate([np.array(r.entropy)[f] for r, f in zip(records, fresh, strict=True)])
    yield from _pair(_empty(cell, "unbiased"), surprise, entropies, None)
    if not cell.lookahead:
        return
    told = [
        (record.sources[i] == "d", chance)
        for record, counts in zip(records, fresh, strict=True)
        for i, chance in enumerate(record.efficiency or ())
        if chance is not None and counts[i]
    ]
    if told and cell.label == cell.method:
        accepted, chance = np.array(told, dtype=float).T
        # Probabilities are rounded to 7 digits in records and may exceed 1 by rounding.
        yield from _pair(_empty(cell, "acceptance"), accepted, chance, np.maximum(chance * (1 - chance), 0.0))
    yield from _steps(cell, records, fresh)


def _steps(cell: Cell, records: Sequence[Record], fresh: Sequence[_Array]) -> Iterator[Bound]:
    """Accepted drafts of a step, given the drafts, by the rule that was followed."""
    found, expected = [], []
    for record, counts in zip(records, fresh, strict=True):
        rule = record.by_block if record.run.verify == "block" else record.by_token
        if rule is None:
            return
        counted = counted_steps(record.accepted, record.run.lookahead, record.run.max_tokens)
        ends = np.cumsum(counted)
        steps = zip(ends - counted, ends, strict=True)
        whole = np.array([counts[start:end].all() for start, end in steps], dtype=bool)
        found.append(counted[whole] - 1)
        expected.append(np.array(rule[: len(counted)])[whole])
    yield from _pair(_empty(cell, "steps"), np.concatenate(found), np.concatenate(expected), None)


def cell_bounds(cell: Cell, entries: Sequence[dict[str, Any]], fresh: Sequence[_Array]) -> Iterator[Bound]:
    """What both models and the key tell, and all controls.

    Args:
        cell: whose texts they are.
        entries: as of `read_cell`.
        fresh: which of their positions count, [t] booleans a text: `fresh_positions` at those.
    """

    def joined(name: str) -> _Array:
        parts = [np.zeros(0)]
        for entry, counts in zip(entries, fresh, strict=True):
            # A token that the key does not give counts as no evidence.
            values = np.array([0.0 if value is None else value for value in entry[name]], dtype=float)
            if len(values):
                drafted = np.array(entry["verified"], dtype=bool)
                parts.append(values[counts[drafted] if name in _VERIFIED else counts])
        return np.concatenate(parts)

    score, mean, variance = joined("score"), joined("mean"), joined("variance")
    row = _empty(cell, "score")
    yield from _pair(row, score, mean, variance)
    yield _mean(replace(row, control="wrong key"), joined("wrong_key"), mean, None)
    row = _empty(cell, "unbiased")
    shuffled = joined("shuffled"), joined("shuffled_entropy")
    yield _mean(replace(row, control="contexts shuffled"), *shuffled, None)
    if (strength := joined("strength")).size:
        row = _empty(cell, "strength")
        yield from _pair(row, joined("ratio"), strength, None)
        yield _mean(replace(row, control="wrong key"), joined("wrong_ratio"), strength, None)
    if (accepted := joined("accepted")).size:
        wrong = joined("wrong_draft")
        row = replace(_empty(cell, "acceptance"), control="wrong draft")
        yield _mean(row, accepted, wrong, np.maximum(wrong * (1 - wrong), 0.0))


def rate_bounds(
    cell: Cell, texts: int, predicted: pd.DataFrame, entries: Sequence[dict[str, Any]], detector: Detector
) -> Iterator[Bound]:
    """Shares of texts that are found, by length, beside what `tradeoff plan` predicts.

    Both have an error: the prediction is a mean over texts, and a share is binomial. The control is the share
    under another key of the texts that were read, beside the last prediction.

    Args:
        cell: whose texts they are.
        texts: how many there are.
        predicted: the rows of the experiment's table `predicted` on it.
        entries: as of `read_cell`.
        detector: that the predictions are of.
    """
    row = _empty(cell, "share found")
    for told in predicted.to_dict("records"):
        yield _rate(row, texts, told, told["measured"])
        last = told
    if not len(predicted):
        return
    false = [
        sum(entry["wrong_key"]) >= detector.threshold(len(entry["wrong_key"]), FPR)
        for entry in entries
        if entry["wrong_key"]
    ]
    yield _rate(replace(row, control="wrong key"), len(false), last, float(np.mean(false)))


def _rate(row: Bound, texts: int, told: dict[str, Any], measured: float) -> Bound:
    # As if there were four more texts, half of them found: a share of 0 or 1 has an error too.
    rate = (texts * told["predicted"] + 2) / (texts + 4)
    error = math.hypot(told["predicted_error"], math.sqrt(rate * (1 - rate) / texts))
    z = (measured - told["predicted"]) / error
    return replace(row, count=texts, predicted=told["predicted"], measured=measured, z=z)


def table_of(bounds: Sequence[Bound], level: float = LEVEL) -> pd.DataFrame:
    """All rows, with `holds`: whether |z| is at most `bound_of` as many predictions as there are."""
    table = pd.DataFrame([one.__dict__ for one in bounds])
    bound = bound_of(int((table["control"] == "").sum()), level)
    return table.assign(bound=bound, holds=table["z"].abs() <= bound)


def bound_of(count: int, level: float = LEVEL) -> float:
    """What none of `count` |z| exceeds with probability 1 - `level` or more (Bonferroni)."""
    return float(stats.norm.isf(level / 2 / count))


def _empty(cell: Cell, statement: str) -> Bound:
    where = cell.prompts.name, cell.label, cell.watermark, cell.temperature, cell.lookahead
    return Bound(statement, *where, "mean", "", 0, math.nan, math.nan, math.nan)


def _pair(row: Bound, measured: _Array, predicted: _Array, variance: _Array | None) -> Iterator[Bound]:
    """The mean, and of many positions the slope and, as a control, that on predictions of other ones."""
    yield _mean(row, measured, predicted, variance)
    if len(measured) < FEWEST:
        return
    yield _slope(row, measured, predicted, variance)
    elsewhere = np.roll(predicted, len(predicted) // 2)
    others = None if variance is None else np.roll(variance, len(predicted) // 2)
    yield _slope(replace(row, control="contexts shuffled"), measured, elsewhere, others)


def _mean(row: Bound, measured: _Array, predicted: _Array, variance: _Array | None) -> Bound:
    return _weighted(row, measured, predicted, variance, np.ones(len(measured)))


def _slope(row: Bound, measured: _Array, predicted: _Array, variance: _Array | None) -> Bound:
    return _weighted(replace(row, what="slope"), measured, predicted, variance, predicted - predicted.mean())


def _weighted(
    row: Bound, measured: _Array, predicted: _Array, variance: _Array | None, weights: _Array
) -> Bound:
    """z of the weighted sum of differences; where the variance is not known, by their squares."""
    difference = measured - predicted
    each = difference**2 if variance is None else variance
    error, total = math.sqrt(float(weights**2 @ each)), float(weights @ difference)
    return replace(
        row,
        count=len(measured),
        predicted=float(predicted.mean()),
        measured=float(measured.mean()),
        z=total / error if error else math.copysign(math.inf, total) if total else 0.0,
    )
