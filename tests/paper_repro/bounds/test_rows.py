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
    alike,
    bound_of,
    cell_bounds,
    fresh_positions,
    own_rate_bounds,
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


PRF, WRONG = (KeyedPrf(Key(bytes([i] * 16)), 2) for i in (1, 2))


@pytest.mark.parametrize(("found", "holds"), [(0.83, True), (0.5, False)])
def test_shares_found_beside_predictions(found: float, holds: bool) -> None:
    """80% predicted with an error of 4 points, and 100 texts, which are random: no context is shared."""
    told = pd.DataFrame([{"predicted": 0.8, "predicted_error": 0.04, "measured": found, "tokens": 50}])
    rng, detector = np.random.default_rng(8), Aaronson(Stream.SHARED)
    texts = [Evidence(rng.integers(1 << 30, size=60), PRF) for _ in range(100)]
    prediction, control = rate_bounds(CELL, told, texts, detector, WRONG)
    rate = 82 / 104
    error = math.hypot(0.04, math.sqrt(rate * (1 - rate) / 100))
    assert prediction.z == pytest.approx((found - 0.8) / error)
    assert (abs(prediction.z) <= bound_of(1)) == holds
    # None of these texts was written by a key.
    assert (control.control, control.count) == ("wrong key", 100)
    assert stats.binom.sf(round(100 * control.measured) - 1, 100, 0.01) > 1e-6
    assert control.z < -bound_of(300)
    assert not list(rate_bounds(CELL, told.iloc[:0], texts, detector, WRONG))


def test_shares_given_texts_know_every_position() -> None:
    """Half of the tokens are certain and half have probability e^-2: sums of ten of each, not of twenty draws
    from both, whose variance is larger."""
    rng, detector = np.random.default_rng(11), Aaronson(Stream.SHARED)
    p = np.tile([1.0, math.exp(-2)], 11)
    scores = -np.log(-np.expm1(p[2:] * np.log(rng.random((40_000, 20)))))
    expected = (scores.sum(axis=1) >= detector.threshold(20, 0.01)).mean()
    texts = [Evidence(rng.integers(1 << 30, size=22), PRF) for _ in range(30)]
    records = [SimpleNamespace(log_p=np.log(p).tolist())] * 30
    cell = replace(CELL, method="basic", lookahead=0, max_tokens=30)
    last = list(own_rate_bounds(cell, records, texts, detector))[-1]
    assert (last.statement, last.count) == ("share given texts", 30)
    assert abs(last.predicted - expected) < 5 * math.sqrt(0.25 / 40_000 + 0.25 / 30 / 4_000)
    # The texts are random, so that 1 in 100 is found.
    error = math.sqrt(expected * (1 - expected) / 30)
    assert last.z == pytest.approx((last.measured - expected) / error, rel=0.05)
    assert last.z < -5


def test_contexts_in_common_widen_the_error_of_a_share() -> None:
    rng = np.random.default_rng(9)
    ids = [rng.integers(1 << 30, size=22) for _ in range(6)]
    different = [Evidence(one, PRF) for one in ids]
    assert alike(different) == pytest.approx(1)
    # Six equal texts are worth one.
    assert alike([different[0]] * 6) == pytest.approx(6)
    # Of 20 contexts the first 10 are common to two texts: a correlation of 1/2.
    half = [Evidence(np.concatenate([ids[0][:11], one[:11]]), PRF) for one in ids[1:3]]
    assert alike(half) == pytest.approx(1.5)
    assert alike(half, 12) == pytest.approx(2)
    # A text without a context that counts is correlated with none.
    assert alike([*half, Evidence(ids[3][:2], PRF)]) == pytest.approx(1.5)
    assert alike([Evidence(ids[3][:2], PRF)]) == 1


def test_verdicts_are_no_more_correlated_than_alike_says() -> None:
    """Groups of four texts with half their contexts in common, under many keys: the variance of the share
    that is found is at most that of independent texts times `alike`, and larger than without it."""
    rng, detector = np.random.default_rng(10), Aaronson(Stream.SHARED)
    common = rng.integers(1 << 30, size=11)
    ids = [np.concatenate([common, rng.integers(1 << 30, size=11)]) for _ in range(4)]
    wider = alike([Evidence(one, PRF) for one in ids])
    assert wider == pytest.approx(2.5)
    threshold = detector.threshold(20, 0.3)
    keys = [KeyedPrf(Key(rng.bytes(16)), 2) for _ in range(1500)]
    found = np.array(
        [[detector.contributions(Evidence(one, key)).sum() >= threshold for one in ids] for key in keys]
    )
    alone = 0.3 * 0.7 / len(ids)
    variance = float(found.mean(axis=1).var())
    assert 1.2 * alone < variance <= wider * alone


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
