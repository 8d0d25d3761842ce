"""Tables of quality: every measure with its standard error, and its difference from no watermark, paired.

A cell is compared with the target alone on the same prompts at one temperature, all texts cut to one length;
texts that end before are left out together with what they would be compared with. Units are prompts, or
fives of prompts for what concerns several texts. Errors take units as independent, which texts under one key
are as far as their contexts differ (see `tradeoff.texts.metrics`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from paper_repro.generate import CellTexts
from paper_repro.presets import Cell
from paper_repro.quality.measures import (
    distinct,
    distinct_together,
    longest_repeat,
    repeated,
    self_bleu,
)
from tradeoff.estimate import Estimate
from tradeoff.texts import Record, distinct_texts, interval

__all__ = ["FIVE", "MEASURES", "estimated", "quality_row", "quality_table"]

#: Token ids by prompt, of one run.
Ids = Mapping[str, tuple[int, ...]]
#: Texts of different prompts that are compared with each other: a number that experiments of any size have,
#: and fives share no text, which gives errors.
FIVE = 5
_OF_ONE: Mapping[str, Callable[[tuple[int, ...]], float]] = MappingProxyType(
    {
        "distinct_1": lambda ids: distinct(ids, 1),
        "distinct_2": lambda ids: distinct(ids, 2),
        "distinct_3": lambda ids: distinct(ids, 3),
        "repeated_4": repeated,
        "longest_repeat": longest_repeat,
    }
)
_OF_FIVE: Mapping[str, Callable[[Sequence[tuple[int, ...]]], float]] = MappingProxyType(
    {"distinct_2_five": lambda texts: distinct_together(texts, 2), "self_bleu_five": self_bleu}
)
#: Columns of a table of quality, each with `_error`, `_difference`, `_low` and `_high`.
MEASURES = (*_OF_ONE, *_OF_FIVE)
_ENDS = ("error", "difference", "low", "high")
#: Fewer tokens have no 4-gram.
_FEWEST = 4


def quality_row(runs: Sequence[Ids], reference: Sequence[Ids] | None, tokens: int) -> dict[str, object]:
    """The measures of a cell, and their differences from another one.

    Args:
        runs: token ids by prompt; several runs are further texts of the same prompts, whose means count.
        reference: the same of the target alone, or None.
        tokens: of which texts are compared; shorter ones are left out.

    Returns:
        Columns texts, tokens, pairs, and those of `MEASURES`. What too few texts tell is empty.
    """
    whole = [_cut(run, tokens) for run in runs]
    row: dict[str, object] = {"texts": sum(map(len, whole)), "tokens": tokens}
    if reference is None:
        for name in MEASURES:
            row |= estimated(name, _values(name, whole))
        return row
    pairs = [_common(run, _cut(other, tokens)) for run, other in zip(whole, reference, strict=True)]
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    row["pairs"] = sum(map(len, first))
    for name in MEASURES:
        row |= estimated(name, _values(name, whole), _values(name, first), _values(name, second))
    return row


def estimated(
    name: str,
    values: Mapping[Any, float],
    first: Mapping[Any, float] | None = None,
    second: Mapping[Any, float] | None = None,
) -> dict[str, object]:
    """Columns NAME, NAME_error, NAME_difference, NAME_low and NAME_high (95%, Student's t).

    Args:
        name: of the measure.
        values: by unit.
        first, second: of the units that both of two cells have; the difference is first less second.
    """
    row: dict[str, object] = dict.fromkeys((name, *(f"{name}_{end}" for end in _ENDS)))
    if values:
        mean = Estimate.of_mean(np.array(list(values.values()), dtype=float))
        row |= {name: mean.value, f"{name}_error": mean.standard_error}
    if first and second:
        gains = Estimate.of_mean(np.array([float(first[unit]) - float(second[unit]) for unit in first]))
        low, high = interval(gains, len(first))
        row |= {f"{name}_difference": gains.value, f"{name}_low": low, f"{name}_high": high}
    return row


def quality_table(texts: Mapping[Cell, CellTexts]) -> pd.DataFrame:
    """One row a cell, from its records alone; all cells of a set of prompts at one length.

    Columns: prompts, temperature, watermark, method, lookahead, and those of `quality_row`.
    """
    rows = []
    for cell, found in texts.items():
        alike = [one for one in texts if _asked_alike(one, cell)]
        tokens = min(one.max_tokens for one in alike)
        if tokens < _FEWEST:
            continue
        plain = next((one for one in alike if _is_plain(one) and one != cell), None)
        about = {
            "prompts": cell.prompts.name,
            "temperature": cell.temperature,
            "watermark": cell.watermark,
            "method": cell.label,
            "lookahead": cell.lookahead,
        }
        reference = None if plain is None else [_ids(texts[plain].records)]
        rows.append(about | quality_row([_ids(found.records)], reference, tokens))
    return pd.DataFrame(rows)


def _asked_alike(one: Cell, other: Cell) -> bool:
    return (one.prompts, one.temperature) == (other.prompts, other.temperature)


def _is_plain(cell: Cell) -> bool:
    """Whether it is the target alone."""
    return (cell.method, cell.watermark) == ("basic", "none")


def _ids(records: Sequence[Record]) -> dict[str, tuple[int, ...]]:
    return {record.id: record.token_ids for record in distinct_texts(records)}


def _cut(run: Ids, tokens: int) -> dict[str, tuple[int, ...]]:
    """The first tokens of the texts that have as many."""
    return {name: ids[:tokens] for name, ids in run.items() if len(ids) >= tokens}


def _common(first: Ids, second: Ids) -> tuple[Ids, Ids]:
    """The texts whose prompts both have, in the order of the first."""
    names = [name for name in first if name in second]
    return {name: first[name] for name in names}, {name: second[name] for name in names}


def _values(name: str, runs: Sequence[Ids]) -> dict[object, float]:
    """A measure by unit, prompts or fives of them, of which the mean over runs is taken."""
    found: dict[object, list[float]] = {}
    for run in runs:
        units: dict[object, float]
        if name in _OF_FIVE:
            units = {place: _OF_FIVE[name](five) for place, five in enumerate(_fives(list(run.values())))}
        else:
            units = {prompt: _OF_ONE[name](ids) for prompt, ids in run.items()}
        for unit, value in units.items():
            found.setdefault(unit, []).append(value)
    return {unit: float(np.mean(values)) for unit, values in found.items()}


def _fives(texts: Sequence[tuple[int, ...]]) -> list[Sequence[tuple[int, ...]]]:
    """Fives of texts in order; what is left over is left out."""
    return [texts[start : start + FIVE] for start in range(0, len(texts) - FIVE + 1, FIVE)]
