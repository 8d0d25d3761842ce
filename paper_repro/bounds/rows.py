"""Predictions beside measurements: one row each, all within bounds that hold for all of them together.

Positions that an earlier text tells something of are left out (`fresh_positions`).

A row compares the mean of what was measured with the mean of the predictions at the same positions, or, as a
"slope", how both move together from position to position: sum over positions of (m - mean m)(x - m), whose
mean is 0. The first is a sum of martingale differences, and so is the second but for the mean of all m, so
that z scores are about standard normal. Errors of shares of texts are wider where texts have contexts in
common, and these z scores narrower. A control does the same with a key, a draft or contexts that the texts do
not have, and must be outside: it shows that the rows could have failed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from paper_repro.bounds.positions import has_formula
from paper_repro.presets import LENGTHS, Cell
from paper_repro.trials.fixed import Limits, score_sums
from tradeoff.decoders import is_degenerate
from tradeoff.detection import Detector, Evidence
from tradeoff.kernels import Method
from tradeoff.keyed import Prf
from tradeoff.texts import Record, counted_steps

__all__ = [
    "LEVEL",
    "Bound",
    "bound_of",
    "cell_bounds",
    "fresh_positions",
    "own_rate_bounds",
    "rate_bounds",
    "record_bounds",
    "sum_variance",
    "table_of",
]

#: Chance that any row is outside if all predictions are right.
LEVEL = 0.01
#: A slope is asked of cells with so many positions.
FEWEST = 1_500
#: Simulated sums a text.
_DRAWS = 4_000
#: Share of tokens that a key may fail to give: near ties, which laws read one by one and in batches decide
#: differently.
TIES = 1e-3
#: What entries tell only of positions where a draft was verified.
_VERIFIED = ("accepted", "efficiency", "wrong_draft")

_Array = np.ndarray


@dataclass(frozen=True)
class Bound:
    """A prediction and what was measured.

    Attributes:
        statement: what is predicted: "unbiased", "acceptance", "steps", "key gives token", "strength",
            "score", "simulated score", "share found", "share given texts".
        prompts, method, watermark, temperature, lookahead: of the cell.
        what: "mean" or "slope".
        control: what is wrong; empty for a prediction.
        count: positions, steps or texts.
        predicted, measured: means over them, of a slope too.
        z: of the difference of the means; of a slope that of its sum.
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
        chance = np.minimum(chance, 1.0)
        yield from _pair(_empty(cell, "acceptance"), accepted, chance, chance * (1 - chance))
    yield from _steps(cell, records, fresh)


def _steps(cell: Cell, records: Sequence[Record], fresh: Sequence[_Array]) -> Iterator[Bound]:
    """Accepted drafts of a step, given the drafts, by the rule that was followed.

    Steps count whose first context is fresh: which later ones are reached is the outcome.
    """
    found, expected = [], []
    for record, counts in zip(records, fresh, strict=True):
        rule = record.by_block if record.run.verify == "block" else record.by_token
        if rule is None:
            return
        counted = counted_steps(record.accepted, record.run.lookahead, record.run.max_tokens)
        first = counts[np.cumsum(counted) - counted]
        found.append(counted[first] - 1)
        expected.append(np.array(rule[: len(counted)])[first])
    yield from _pair(_empty(cell, "steps"), np.concatenate(found), np.concatenate(expected), None)


def cell_bounds(
    cell: Cell, entries: Sequence[dict[str, Any]], fresh: Sequence[_Array], method: Method
) -> Iterator[Bound]:
    """What both models and the key tell, and all controls.

    Args:
        cell: whose texts they are.
        entries: as of `read_cell`.
        fresh: which of their positions count, [t] booleans a text: `fresh_positions` at those.
        method: of the cell.
    """

    def joined(name: str, nothing: float = math.nan) -> _Array:
        """Of all entries; `nothing` for None, the log ratio of a token that a key rules out."""
        parts = [np.zeros(0)]
        for entry, counts in zip(entries, fresh, strict=True):
            values = np.array([nothing if value is None else value for value in entry[name]], dtype=float)
            if len(values):
                drafted = np.array(entry["verified"], dtype=bool)
                parts.append(values[counts[drafted] if name in _VERIFIED else counts])
        return np.concatenate(parts)

    score, mean, variance = joined("score"), joined("mean"), joined("variance")
    row = _empty(cell, "score" if has_formula(method) else "simulated score")
    yield from _pair(row, score, mean, variance)
    yield from _mean(replace(row, control="wrong key"), joined("wrong_key"), mean, None)
    row = _empty(cell, "unbiased")
    shuffled = joined("shuffled"), joined("shuffled_entropy")
    yield from _mean(replace(row, control="contexts shuffled"), *shuffled, None)
    if method.determined and is_degenerate(method.decoder):
        # The strength is then the surprise of the token, of which the records tell.
        row = _empty(cell, "key gives token")
        for control, name in (("", "ratio"), ("wrong key", "wrong_ratio")):
            given = np.isfinite(joined(name, -math.inf)).astype(float)
            ones = np.ones(len(given))
            yield from _mean(replace(row, control=control), given, ones, TIES * ones)
    else:
        row, strength = _empty(cell, "strength"), joined("strength")
        yield from _pair(row, joined("ratio", -math.inf), strength, None)
        # The least that a wrong key could say of a token that it rules out.
        yield from _mean(replace(row, control="wrong key"), joined("wrong_ratio", 0.0), strength, None)
    row = replace(_empty(cell, "acceptance"), control="wrong draft")
    yield from _mean(row, joined("accepted"), joined("wrong_draft"), None)


def rate_bounds(
    cell: Cell, predicted: pd.DataFrame, texts: Sequence[Evidence], detector: Detector, wrong: Prf
) -> Iterator[Bound]:
    """Shares of texts that are found, by length, beside what `tradeoff plan` predicts from others.

    Both have an error: the prediction is a mean over texts, and a share is binomial, but for contexts in
    common (`sum_variance`). The control is the share under another key, beside the longest prediction.

    Args:
        cell: whose texts they are.
        predicted: the rows of the experiment's table `predicted` on it.
        texts: of prompts that predictions do not come from, under the key that wrote them.
        detector: that the predictions are of.
        wrong: the function under another key.
    """
    told = sorted(predicted.to_dict("records"), key=lambda one: one["tokens"]) if texts else []
    lengths = [one["tokens"] for one in told]
    row, limit = _empty(cell, "share found"), Limits(detector)
    found = _found(texts, detector, limit, lengths)
    for one, verdicts in zip(told, found, strict=True):
        yield _rate(row, verdicts, one, texts)
    for one in told[-1:]:
        others = [text.under(wrong) for text in texts]
        (verdicts,) = _found(others, detector, limit, [one["tokens"]])
        yield _rate(replace(row, control="wrong key"), verdicts, one, texts)


def own_rate_bounds(
    cell: Cell, records: Sequence[Record], texts: Sequence[Evidence], detector: Detector, wrong: Prf
) -> Iterator[Bound]:
    """Shares of texts that Aaronson's test finds, by length, given the texts.

    Without speculation the score of a token of probability p is -log(1 - V^p), V uniform, whichever token has
    won, so that a text tells the law of its sum: of its own positions and not, as `tradeoff plan` has it, of
    as many drawn from them. The control is the share under another key, at the full length.

    Args:
        cell: with Gumbel-max and without speculation.
        records: in the order of the texts.
        texts: all of them, under the key that wrote them.
        detector: Aaronson's.
        wrong: the function under another key.
    """
    lengths = [tokens for tokens in LENGTHS if tokens <= cell.max_tokens]
    if not lengths:
        return
    limit, row = Limits(detector), _empty(cell, "share given texts")
    chance = np.array([_own_chances(*one, limit, lengths) for one in zip(records, texts, strict=True)]).T
    found = _found(texts, detector, limit, lengths)
    for tokens, verdicts, expected in zip(lengths, found, chance, strict=True):
        yield _given(row, verdicts, expected, texts, tokens)
    (others,) = _found([text.under(wrong) for text in texts], detector, limit, lengths[-1:])
    yield _given(replace(row, control="wrong key"), others, chance[-1], texts, lengths[-1])


def _given(row: Bound, verdicts: _Array, expected: _Array, texts: Sequence[Evidence], tokens: int) -> Bound:
    error = math.sqrt(sum_variance(expected * (1 - expected), texts, tokens))
    predicted, measured = float(expected.mean()), float(verdicts.mean())
    z = _ratio(float((verdicts - expected).sum()), error)
    return replace(row, count=len(texts), predicted=predicted, measured=measured, z=z)


def _own_chances(record: Record, text: Evidence, limit: Limits, lengths: Sequence[int]) -> _Array:
    """Simulated, by length; the same draws for every text of one prompt."""
    rng = np.random.default_rng([*record.prompt_hash.encode()])
    p = np.exp(np.minimum(np.array(record.log_p)[text.index], 0.0))
    sums = np.zeros((_DRAWS, len(p) + 1))
    np.cumsum(-np.log(-np.expm1(p * np.log(rng.random((_DRAWS, len(p)))))), axis=1, out=sums[:, 1:])
    counts = np.searchsorted(text.index, lengths)
    return (sums[:, counts] >= limit(counts)).mean(axis=0)


def _found(texts: Sequence[Evidence], detector: Detector, limit: Limits, lengths: Sequence[int]) -> _Array:
    """Whether texts are found by so many of their tokens: [lengths, texts] booleans."""
    sums, counts, _ = score_sums(detector, texts, lengths)
    return (sums >= limit(counts)).T


def sum_variance(variances: _Array, texts: Sequence[Evidence], tokens: int) -> float:
    """The most that the variance of the sum of verdicts on texts can be, by the contexts they have in common.

    A context in common draws the same numbers. Of sums of independent terms of one law, m of them in common,
    no functions are more correlated than the sums themselves, m / sqrt(n n') (Dembo, Kagan and Shepp, 2001);
    here terms are taken to have one law, and those in common to be equal, which they are at most.

    Args:
        variances: of the verdicts, [texts].
        texts: under one key.
        tokens: how many of each are read.
    """
    shares: defaultdict[bytes, float] = defaultdict(float)
    alone = 0.0
    for variance, text in zip(variances.tolist(), texts, strict=True):
        contexts = text.contexts[: int(np.searchsorted(text.index, tokens))]
        # A text without contexts is correlated with none.
        alone += 0.0 if len(contexts) else variance
        for context in contexts:
            shares[context.tobytes()] += math.sqrt(variance / len(contexts))
    # A text's own contexts differ, and have its variance together; all beyond are products of two texts'.
    return alone + sum(value**2 for value in shares.values())


def _rate(row: Bound, verdicts: _Array, told: dict[str, Any], texts: Sequence[Evidence]) -> Bound:
    count, predicted = len(texts), told["predicted"]
    # As if there were four more texts, half of them found: a share of 0 or 1 has an error too.
    rate = (count * predicted + 2) / (count + 4)
    variance = sum_variance(np.full(count, rate * (1 - rate)), texts, told["tokens"])
    measured, error = float(verdicts.mean()), math.hypot(told["predicted_error"], math.sqrt(variance) / count)
    return replace(
        row, count=count, predicted=predicted, measured=measured, z=_ratio(measured - predicted, error)
    )


def table_of(bounds: Sequence[Bound], level: float = LEVEL) -> pd.DataFrame:
    """All rows, with `holds`: whether |z| is at most `bound_of` as many predictions as there are.

    Raises:
        ValueError: for a row whose z is not a number, which would be neither within nor outside.
    """
    table = pd.DataFrame([one.__dict__ for one in bounds])
    if (unknown := table["z"].isna()).any():
        row = table[unknown].iloc[0]
        where = ", ".join(row[["statement", "method", "watermark", "prompts"]])
        raise ValueError(f"z of {where} is not a number; look for probabilities of 0 in its records")
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
    yield from _mean(row, measured, predicted, variance)
    if len(measured) < FEWEST:
        return
    yield _slope(row, measured, predicted, variance)
    elsewhere = np.roll(predicted, len(predicted) // 2)
    # Their squares, as variances of other positions are not those of these.
    yield _slope(replace(row, control="contexts shuffled"), measured, elsewhere, None)


def _mean(row: Bound, measured: _Array, predicted: _Array, variance: _Array | None) -> Iterator[Bound]:
    """Nothing, of no positions."""
    if len(measured):
        yield _weighted(row, measured, predicted, variance, np.ones(len(measured)))


def _slope(row: Bound, measured: _Array, predicted: _Array, variance: _Array | None) -> Bound:
    return _weighted(replace(row, what="slope"), measured, predicted, variance, predicted - predicted.mean())


def _weighted(
    row: Bound, measured: _Array, predicted: _Array, variance: _Array | None, weights: _Array
) -> Bound:
    """z of the weighted sum of differences; where the variance is not known, by their squares."""
    difference = measured - predicted
    if (beyond := difference[~np.isfinite(difference)]).size:
        # One of them refutes, whatever the others are.
        total, error = float(beyond[0]), 0.0
    else:
        each = difference**2 if variance is None else variance
        total, error = float(weights @ difference), math.sqrt(float(weights**2 @ each))
    return replace(
        row,
        count=len(measured),
        predicted=float(predicted.mean()),
        measured=float(measured.mean()),
        z=_ratio(total, error),
    )


def _ratio(total: float, error: float) -> float:
    """What must not happen at all is infinitely many errors away."""
    if error or math.isnan(total):
        return total / error if error else math.nan
    return math.copysign(math.inf, total) if total else 0.0
