"""Predictions beside measurements: one row each, all within bounds that hold for all of them together.

Positions that an earlier text tells something of are left out (`fresh_positions`).

A row compares the mean of what was measured with the mean of the predictions at the same positions, or, as a
"slope", how both move together from position to position: sum of (m - mean m)(x - m), whose mean is 0. Both
are sums of martingale differences, so that their z scores are standard normal. A control does the same with a
key, a draft or contexts that the texts do not have, and must be outside.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from paper_repro.presets import LENGTHS, Cell
from paper_repro.trials.fixed import FPR
from tradeoff.detection import Detector, Evidence
from tradeoff.keyed import Prf
from tradeoff.texts import Record, counted_steps

__all__ = [
    "LEVEL",
    "Bound",
    "alike",
    "bound_of",
    "cell_bounds",
    "fresh_positions",
    "own_rate_bounds",
    "rate_bounds",
    "record_bounds",
    "table_of",
]

#: Chance that any row is outside if all predictions are right.
LEVEL = 0.01
#: A slope is asked of cells with so many positions.
FEWEST = 1_500
#: Simulated sums a text.
_DRAWS = 4_000
#: What entries tell only of positions where a draft was verified.
_VERIFIED = ("accepted", "efficiency", "wrong_draft")

_Array = np.ndarray


@dataclass(frozen=True)
class Bound:
    """A prediction and what was measured.

    Attributes:
        statement: what theory says: "unbiased", "acceptance", "strength", "score", "steps", "share found",
            "share given texts".
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
    cell: Cell, predicted: pd.DataFrame, texts: Sequence[Evidence], detector: Detector, wrong: Prf
) -> Iterator[Bound]:
    """Shares of texts that are found, by length, beside what `tradeoff plan` predicts.

    Both have an error: the prediction is a mean over texts, and a share is binomial, but for contexts in
    common (`alike`). The control is the share under another key, beside the last prediction.

    Args:
        cell: whose texts they are.
        predicted: the rows of the experiment's table `predicted` on it.
        texts: all of them, under the key that wrote them.
        detector: that the predictions are of.
        wrong: the function under another key.
    """
    row = _empty(cell, "share found")
    for told in predicted.to_dict("records"):
        yield _rate(row, len(texts), told, told["measured"], alike(texts, told["tokens"]))
    if len(predicted):
        found = [_found(text.under(wrong), detector) for text in texts]
        yield _rate(replace(row, control="wrong key"), len(texts), told, float(np.mean(found)), alike(texts))


def own_rate_bounds(
    cell: Cell, records: Sequence[Record], texts: Sequence[Evidence], detector: Detector
) -> Iterator[Bound]:
    """Shares of texts that Aaronson's test finds, by length, given the texts.

    Without speculation the score of a token of probability p is -log(1 - V^p), V uniform, whichever token has
    won, so that a text tells the law of its sum: of its own positions and not, as `tradeoff plan` has it, of
    as many drawn from them.

    Args:
        cell: with Gumbel-max and without speculation.
        records: in the order of the texts.
        texts: all of them, under the key that wrote them.
        detector: Aaronson's.
    """
    rng = np.random.default_rng(len(texts))
    lengths = [tokens for tokens in LENGTHS if tokens <= cell.max_tokens]
    found, chance = np.zeros((2, len(lengths), len(texts)))
    for i, (record, text) in enumerate(zip(records, texts, strict=True)):
        p = np.exp(np.minimum(np.array(record.log_p)[text.index], 0.0))
        drawn = np.cumsum(-np.log(-np.expm1(p * np.log(rng.random((_DRAWS, len(p)))))), axis=1)
        scores = np.cumsum(detector.contributions(text))
        for row, tokens in enumerate(lengths):
            if scored := int((text.index < tokens).sum()):
                threshold = detector.threshold(scored, FPR)
                found[row, i] = scores[scored - 1] >= threshold
                chance[row, i] = (drawn[:, scored - 1] >= threshold).mean()
    for row, tokens in enumerate(lengths):
        variance = chance[row] * (1 - chance[row]) * alike(texts, tokens)
        yield _mean(_empty(cell, "share given texts"), found[row], chance[row], variance)


def _found(text: Evidence, detector: Detector) -> bool:
    scores = detector.contributions(text)
    return bool(scores.size) and float(scores.sum()) >= detector.threshold(scores.size, FPR)


def alike(texts: Sequence[Evidence], tokens: int | None = None) -> float:
    """The variance of a share of texts, over that of as many independent ones: at least 1.

    A context in common draws the same numbers, so that two sums are correlated by at most the share of
    contexts that they have in common, were all scores as variable, and verdicts no more than sums.

    Args:
        texts: under one key.
        tokens: how many of each are read; all if None.
    """
    weight: Counter[bytes] = Counter()
    some = [text.contexts[: None if tokens is None else (text.index < tokens).sum()] for text in texts]
    some = [contexts for contexts in some if len(contexts)]
    for contexts in some:
        for context in contexts:
            weight[context.tobytes()] += len(contexts) ** -0.5
    # A text's own contexts are different, and have 1 together; all beyond are products of two texts'.
    return sum(value**2 for value in weight.values()) / len(some) if some else 1.0


def _rate(row: Bound, texts: int, told: dict[str, Any], measured: float, wider: float) -> Bound:
    # As if there were four more texts, half of them found: a share of 0 or 1 has an error too.
    rate = (texts * told["predicted"] + 2) / (texts + 4)
    error = math.hypot(told["predicted_error"], math.sqrt(rate * (1 - rate) / texts * wider))
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
