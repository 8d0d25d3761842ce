"""Measured TPR beside predictions: from logged probabilities, and from both models' laws at positions.

Positions are read in texts without speculation, as speculation changes no law of a text: some spread evenly
over those that count, each with the law of the score that a detector reads there under the method
(`race_score_law`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from paper_repro.presets import PromptSet
from paper_repro.trials.fixed import FPR, CellEvidence, Trial
from tradeoff.detection import Aaronson, Forecast, RaceScoreLaw, power, race_score_law, rate
from tradeoff.estimate import Estimate
from tradeoff.laws import without_rare
from tradeoff.llm import ModelPair, Sampling, position_laws
from tradeoff.texts import Prompt

__all__ = ["METHODS", "Laws", "power_table", "predicted_table", "read_laws"]

#: Methods with an exact law, and what their default detector is called among those that are tried.
METHODS = {
    "basic": "Aaronson",
    "keep-strength": "Aaronson",
    "joint-race": "Aaronson",
    "one-race": "Aaronson",
    "single-key": "Aaronson",
    "algorithm-1": "sum of both keys",
    "two-keys": "sum of both keys",
}
#: Of a text.
POSITIONS = 50
#: Tokens that are rarer in both laws are left out, and the laws normalised.
LEAST = 1e-6

#: (P, Q) by the position in the text; of several texts.
Laws = list[dict[int, tuple[np.ndarray, np.ndarray]]]


def read_laws(
    texts: CellEvidence,
    prompts: Sequence[Prompt],
    pair: ModelPair,
    count: int,
    report: Callable[[str], None] = lambda _: None,
) -> Laws:
    """Both models' laws at positions that count of the first `count` texts of a cell.

    Args:
        texts: of a method without speculation.
        prompts: of its set.
        pair: the models that wrote it.
        count: how many texts.
        report: called with a line of progress.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    found: Laws = []
    for record, evidence in list(zip(texts.records, texts.texts, strict=True))[:count]:
        report(f"{texts.cell.name}: laws of {record.id}")
        spread = np.linspace(0, max(len(evidence) - 1, 0), min(POSITIONS, len(evidence))).astype(int)
        index = evidence.index[spread]
        ids = by_id[record.id].token_ids
        p, q = position_laws(pair, Sampling(texts.cell.temperature), ids, record.token_ids, index)
        found.append({int(at): without_rare(p[i], q[i], LEAST)[:2] for i, at in enumerate(index)})
    return found


def predicted_table(
    evidence: Sequence[CellEvidence],
    trials: Sequence[Trial],
    laws: dict[tuple[PromptSet, float], Laws],
    report: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Predicted and measured TPR of Gumbel-max, one row a method, set of prompts and length.

    Args:
        evidence: the cells.
        trials: detectors on them.
        laws: of every set of prompts and temperature, as `read_laws` gives them.
        report: called with a line of progress.
    """
    rows: list[dict[str, Any]] = []
    for texts in evidence:
        cell = texts.cell
        known = laws.get((cell.prompts, cell.temperature))
        trial = next((t for t in trials if t.cell == cell and t.detector == METHODS.get(cell.label)), None)
        if cell.watermark != "gumbel" or not known or trial is None:
            continue
        report(f"predicting {cell.name}")
        scores: list[dict[int, RaceScoreLaw]] = [
            {at: race_score_law(cell.method, *pair) for at, pair in text.items()} for text in known
        ]
        for column, tokens in enumerate(trial.lengths):
            # Texts grow more predictable as they go on, so a length is predicted from its own tokens.
            some = [[law for at, law in text.items() if at < tokens] for text in scores]
            scored = round(float(np.mean([(one.index < tokens).sum() for one in texts.texts])))
            # A text draws its positions from one kind: the rate is the mean over kinds, and has its error.
            each = [Forecast.of_laws([one], FPR).power(scored) for one in some if one]
            rows.append(
                _row(trial, column, scored, float(np.mean(each)))
                | {"method": cell.method, "lookahead": cell.lookahead}
                | {"detector": trial.detector, "positions": sum(map(len, some))}
                | {"predicted_error": Estimate.of_mean(np.array(each)).standard_error}
            )
    return pd.DataFrame(rows)


def power_table(cells: Sequence[CellEvidence], trials: Sequence[Trial]) -> pd.DataFrame:
    """Measured TPR of Aaronson's test without speculation beside the prediction from logged probabilities."""
    rows = []
    for texts in cells:
        measured = [t for t in trials if t.cell == texts.cell and t.detector == Aaronson.name]
        if texts.cell.method != "basic" or not measured:
            continue
        for column, tokens in enumerate(texts.lengths):
            # Texts grow more predictable as they go on, so a length is predicted from its own tokens.
            profiles = [
                np.exp(np.minimum(np.array(record.log_p)[evidence.index[evidence.index < tokens]], 0.0))
                for record, evidence in zip(texts.records, texts.texts, strict=True)
            ]
            scored = round(float(np.mean([len(profile) for profile in profiles])))
            profiles = [profile for profile in profiles if len(profile)]
            rows.append(_row(measured[0], column, scored, power(profiles, scored, FPR)))
    return pd.DataFrame(rows)


def _row(trial: Trial, column: int, scored: int, predicted: float) -> dict[str, Any]:
    """Predicted beside measured, at one of the lengths of a detector on a cell."""
    measured = rate(trial.margins[:, column] >= 0)
    return {
        "prompts": trial.cell.prompts.name,
        "temperature": trial.cell.temperature,
        "tokens": trial.lengths[column],
        "scored": scored,
        "predicted": predicted,
        "measured": measured.value,
        "low": measured.low,
        "high": measured.high,
    }
