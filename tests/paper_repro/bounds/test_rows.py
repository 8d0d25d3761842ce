"""Predictions that are right are within bounds, wrong ones are not."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from paper_repro.bounds.rows import (
    FEWEST,
    Bound,
    bound_of,
    cell_bounds,
    fresh_positions,
    rate_bounds,
    table_of,
)
from paper_repro.presets import Cell, PromptSet
from tradeoff.detection import Aaronson, Evidence
from tradeoff.keyed import Key, KeyedPrf, Stream

CELL = Cell(PromptSet(name="a", source="builtin:question"), "one-race", "gumbel", 0.5, 3, 10, 100, True)
N = 2 * FEWEST


def entries(rng: np.random.Generator, gain: float = 1.0, surprise: float = 1.0) -> list[dict]:
    """A text whose scores are exponential with the predicted mean, times `gain`."""
    mean = rng.uniform(1.0, 3.0, N)
    entropy = rng.uniform(0.5, 2.0, N)
    chance = rng.uniform(0.3, 0.9, N)
    return [
        {
            "score": (gain * mean * rng.exponential(size=N)).tolist(),
            "wrong_key": rng.exponential(size=N).tolist(),
            "verified": [1] * N,
            "mean": mean.tolist(),
            "variance": (mean**2).tolist(),
            "shuffled": (entropy + rng.exponential(size=N)).tolist(),
            "shuffled_entropy": entropy.tolist(),
            "ratio": (surprise * entropy * rng.exponential(size=N)).tolist(),
            "wrong_ratio": [None] * N,
            "strength": entropy.tolist(),
            "accepted": (rng.random(N) < chance).astype(int).tolist(),
            "efficiency": chance.tolist(),
            "wrong_draft": (chance - 0.1).tolist(),
        }
    ]


def rows(found: list[dict]) -> pd.DataFrame:
    every = [np.ones(len(entry["score"]), dtype=bool) for entry in found]
    return table_of(list(cell_bounds(CELL, found, every)))


def test_right_predictions_hold_and_controls_do_not() -> None:
    table = rows(entries(np.random.default_rng(1)))
    controls = table["control"] != ""
    assert set(table["control"]) == {"", "wrong key", "contexts shuffled", "wrong draft"}
    assert (table["holds"] == ~controls).all()
    assert set(table.loc[~controls, "statement"]) == {"score", "strength"}
    assert (table.loc[~controls, "what"].value_counts() == 2).all()


@pytest.mark.parametrize(
    ("changed", "statement"), [({"gain": 1.2}, "score"), ({"surprise": 0.85}, "strength")]
)
def test_wrong_predictions_do_not_hold(changed: dict[str, float], statement: str) -> None:
    table = rows(entries(np.random.default_rng(2), **changed))
    wrong = table[(table["control"] == "") & ~table["holds"]]
    assert set(wrong["statement"]) == {statement}
    assert "mean" in set(wrong["what"])


def test_a_mean_that_is_right_by_chance_shows_in_the_slope() -> None:
    """Scores of another position have the right mean, and do not move with the prediction."""
    (found,) = entries(np.random.default_rng(3))
    found["score"] = np.roll(found["score"], N // 3).tolist()
    table = rows([found])
    score = table[(table["statement"] == "score") & (table["control"] == "")].set_index("what")
    assert score.loc["mean", "holds"]
    assert not score.loc["slope", "holds"]


def test_few_positions_have_no_slope() -> None:
    few = [
        {name: values[:100] for name, values in entry.items()} for entry in entries(np.random.default_rng(4))
    ]
    assert set(rows(few)["what"]) == {"mean"}


@pytest.mark.parametrize(("found", "holds"), [(0.83, True), (0.5, False)])
def test_shares_found_beside_predictions(found: float, holds: bool) -> None:
    """80% predicted with an error of 4 points, and 100 texts."""
    told = pd.DataFrame([{"predicted": 0.8, "predicted_error": 0.04, "measured": found, "tokens": 50}])
    # Ten scores under another key, far from what 1 in 100 reach.
    entries = [{"wrong_key": [1.0] * 10}] * 24
    prediction, control = rate_bounds(CELL, 100, told, entries, Aaronson(Stream.SHARED))
    rate = 82 / 104
    error = math.hypot(0.04, math.sqrt(rate * (1 - rate) / 100))
    assert prediction.z == pytest.approx((found - 0.8) / error)
    assert (abs(prediction.z) <= bound_of(1)) == holds
    assert (control.control, control.measured) == ("wrong key", 0.0)
    assert control.z < -bound_of(300)
    assert not list(rate_bounds(CELL, 100, told.iloc[:0], entries, Aaronson(Stream.SHARED)))


def test_what_must_not_happen_refutes() -> None:
    """A chance of 1 has no variance, and one rejected draft is one too many."""
    (found,) = entries(np.random.default_rng(6))
    found |= {"efficiency": [1.0] * N, "wrong_draft": [1.0] * N, "accepted": [1] * (N - 1) + [0]}
    (wrong,) = [row for row in cell_bounds(CELL, [found], [np.ones(N, bool)]) if row.control == "wrong draft"]
    assert wrong.z == -math.inf
    found["accepted"] = [1] * N
    (right,) = [row for row in cell_bounds(CELL, [found], [np.ones(N, bool)]) if row.control == "wrong draft"]
    assert right.z == 0.0


def test_a_context_of_an_earlier_text_tells_the_score_beforehand() -> None:
    """Of two texts the second repeats "1 2 3" of the first, and 7 within itself, where no key acts."""
    prf = KeyedPrf(Key(bytes(16)), 2)
    ids = [(1, 2, 3, 4), (8, 1, 2, 3, 7, 7, 7, 7)]
    texts = [Evidence(one, prf) for one in ids]
    records = [SimpleNamespace(token_ids=one) for one in ids]
    first, second = fresh_positions(texts, records)
    assert first.all()
    # The tokens after "1 2" and "2 3" are foretold. That after a repeat of "7 7" is truly random.
    assert second.tolist() == [True, True, True, False, False, True, True, True]


def test_equal_texts_count_once() -> None:
    """Twice the same text is no more evidence than one."""
    (found,) = entries(np.random.default_rng(7))
    once = list(cell_bounds(CELL, [found], [np.ones(N, bool)]))
    twice = list(cell_bounds(CELL, [found, found], [np.ones(N, bool), np.zeros(N, bool)]))
    assert once == twice


def test_the_bound_holds_for_all_rows_together() -> None:
    for count in (1, 10, 300):
        assert count * 2 * stats.norm.sf(bound_of(count, 0.01)) == pytest.approx(0.01)
    row = Bound("score", "a", "m", "w", 1.0, 3, "mean", "", 5, 1.0, 1.0, 0.0)
    many = [replace(row, z=z) for z in (0.0, 3.2, -3.3)]
    table = table_of([*many, replace(row, z=-9.0, control="wrong key")], 0.01)
    # Of three predictions, whatever controls there are.
    assert table["bound"].iloc[0] == bound_of(3, 0.01)
    assert table["holds"].tolist() == [abs(z) <= bound_of(3, 0.01) for z in (0.0, 3.2, -3.3, -9.0)]


def test_z_scores_are_standard_normal() -> None:
    """Over many texts of exponential scores, whose variance is known."""
    rng, found = np.random.default_rng(5), []
    for _ in range(400):
        (made,) = entries(rng)
        found.append(next(iter(cell_bounds(CELL, [made], [np.ones(N, dtype=bool)]))).z)
    assert stats.kstest(found, stats.norm.cdf).pvalue > 1e-6
    assert math.isclose(float(np.std(found)), 1, abs_tol=0.2)
