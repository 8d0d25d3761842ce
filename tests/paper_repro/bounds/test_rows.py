"""Predictions that are right are within bounds, wrong ones are not."""

from __future__ import annotations

import math
from collections.abc import Iterable
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
    own_rate_bounds,
    rate_bounds,
    record_bounds,
    sum_variance,
    table_of,
)
from paper_repro.presets import Cell, PromptSet
from tradeoff.decoders import GumbelMax
from tradeoff.detection import Aaronson, Evidence
from tradeoff.kernels import make_method
from tradeoff.keyed import Key, KeyedPrf, Stream

#: Its strength is less than the entropy; the method of other cells gives every token by the key.
LEFT_TO_CHANCE, DETERMINED = make_method("two-keys", GumbelMax()), make_method("one-race", GumbelMax())
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
    return table_of(list(cell_bounds(CELL, found, every, LEFT_TO_CHANCE)))


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


@pytest.mark.parametrize(("predicted", "holds"), [(0.02, True), (0.4, False)])
def test_shares_found_beside_predictions(predicted: float, holds: bool) -> None:
    """Texts that no key wrote are found by 1 in 100; no two have a context in common."""
    lengths = [
        {"predicted": p, "predicted_error": 0.04, "tokens": n} for n, p in ((50, predicted), (20, 0.8))
    ]
    rng, detector = np.random.default_rng(8), Aaronson(Stream.SHARED)
    texts = [Evidence(rng.integers(1 << 30, size=60), PRF) for _ in range(100)]
    told = pd.DataFrame(lengths)
    first, prediction, control = rate_bounds(CELL, told, texts, detector, WRONG)
    limit = detector.threshold(48, 0.01)
    share = np.mean([detector.contributions(text)[:48].sum() >= limit for text in texts])
    assert (prediction.measured, prediction.count) == (pytest.approx(share), 100)
    rate = (100 * predicted + 2) / 104
    error = math.hypot(0.04, math.sqrt(rate * (1 - rate) / 100))
    assert prediction.z == pytest.approx((share - predicted) / error)
    assert (abs(prediction.z) <= bound_of(300)) == holds
    # By length, and the control beside the longest.
    assert (first.predicted, control.predicted, control.control) == (0.8, predicted, "wrong key")
    assert stats.binom.sf(round(100 * control.measured) - 1, 100, 0.01) > 1e-6
    assert not list(rate_bounds(CELL, told.iloc[:0], texts, detector, WRONG))
    assert not list(rate_bounds(CELL, told, [], detector, WRONG))


def test_shares_given_texts_know_every_position() -> None:
    """Half of the tokens are certain and half have probability e^-2: sums of ten of each, not of twenty draws
    from both, whose variance is larger."""
    rng, detector = np.random.default_rng(11), Aaronson(Stream.SHARED)
    p = np.tile([1.0, math.exp(-2)], 11)
    scores = -np.log(-np.expm1(p[2:] * np.log(rng.random((40_000, 20)))))
    expected = (scores.sum(axis=1) >= detector.threshold(20, 0.01)).mean()
    texts = [Evidence(rng.integers(1 << 30, size=22), PRF) for _ in range(30)]
    records = [SimpleNamespace(log_p=np.log(p).tolist(), prompt_hash=f"{i}") for i in range(30)]
    cell = replace(CELL, method="basic", lookahead=0, max_tokens=30)
    *_, last, control = own_rate_bounds(cell, records, texts, detector, WRONG)
    assert (last.statement, last.count, last.control) == ("share given texts", 30, "")
    assert abs(last.predicted - expected) < 5 * math.sqrt(0.25 / 40_000 + 0.25 / 30 / 4_000)
    # The texts are random, so that 1 in 100 is found, by any key.
    error = math.sqrt(expected * (1 - expected) / 30)
    assert last.z == pytest.approx((last.measured - expected) / error, rel=0.05)
    assert last.z < -5
    assert (control.control, control.predicted) == ("wrong key", last.predicted)
    assert control.z < -5


def wider(texts: list[Evidence], tokens: int = 100) -> float:
    """The variance of a sum over that of as many independent terms."""
    return sum_variance(np.ones(len(texts)), texts, tokens) / len(texts)


def test_contexts_in_common_widen_the_error_of_a_share() -> None:
    rng = np.random.default_rng(9)
    ids = [rng.integers(1 << 30, size=22) for _ in range(6)]
    different = [Evidence(one, PRF) for one in ids]
    assert wider(different) == pytest.approx(1)
    # Six equal texts are worth one.
    assert wider([different[0]] * 6) == pytest.approx(6)
    # Of 20 contexts the first 10 are common to two texts: a correlation of 1/2.
    half = [Evidence(np.concatenate([ids[0][:11], one[:11]]), PRF) for one in ids[1:3]]
    assert wider(half) == pytest.approx(1.5)
    assert wider(half, 12) == pytest.approx(2)
    # Of standard deviations 1 and 3: 1 + 9 + 2 * 3/2.
    assert sum_variance(np.array([1.0, 9.0]), half, 100) == pytest.approx(13)
    # A text without a context that counts is correlated with none.
    assert wider([*half, Evidence(ids[3][:2], PRF)]) == pytest.approx(4 / 3)


def test_verdicts_are_no_more_correlated_than_their_contexts() -> None:
    """Groups of four texts with half their contexts in common, under many keys: the variance of the share
    that is found is at most what `sum_variance` has, and larger than that of independent texts."""
    rng, detector = np.random.default_rng(10), Aaronson(Stream.SHARED)
    common = rng.integers(1 << 30, size=11)
    ids = [np.concatenate([common, rng.integers(1 << 30, size=11)]) for _ in range(4)]
    common_part = wider([Evidence(one, PRF) for one in ids])
    assert common_part == pytest.approx(2.5)
    threshold = detector.threshold(20, 0.3)
    keys = [KeyedPrf(Key(rng.bytes(16)), 2) for _ in range(1500)]
    found = np.array(
        [[detector.contributions(Evidence(one, key)).sum() >= threshold for one in ids] for key in keys]
    )
    alone = 0.3 * 0.7 / len(ids)
    variance = float(found.mean(axis=1).var())
    assert 1.2 * alone < variance <= common_part * alone


def test_what_must_not_happen_refutes() -> None:
    """A chance of 1 has no variance, and one rejected draft is one too many; rounded chances are no more."""
    right, wrong = drafts(200, 1.0), drafts(200, 1.0)
    wrong.sources = "r" + wrong.sources[1:]
    right.efficiency = [1.0000001] * 200
    every = [np.ones(200, dtype=bool)]
    z = [row_of(record_bounds(CELL, [one], every), "acceptance").z for one in (right, wrong)]
    assert z == [0.0, -math.inf]


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
    once = list(cell_bounds(CELL, [found], [np.ones(N, bool)], LEFT_TO_CHANCE))
    twice = list(cell_bounds(CELL, [found, found], [np.ones(N, bool), np.zeros(N, bool)], LEFT_TO_CHANCE))
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
        found.append(next(iter(cell_bounds(CELL, [made], [np.ones(N, dtype=bool)], LEFT_TO_CHANCE))).z)
    assert stats.kstest(found, stats.norm.cdf).pvalue > 1e-6
    assert math.isclose(float(np.std(found)), 1, abs_tol=0.2)


def drafts(count: int, chance: float, rng: np.random.Generator | None = None) -> SimpleNamespace:
    """A text of positions where drafts were verified, each accepted with the chance, or all."""
    accepted = np.ones(count, bool) if rng is None else rng.random(count) < chance
    return SimpleNamespace(
        token_ids=tuple(range(count)), log_p=[-1.0] * count, entropy=[1.0] * count,
        sources="".join("d" if one else "r" for one in accepted), efficiency=[chance] * count,
        by_token=None, by_block=None, run=SimpleNamespace(verify="token", lookahead=3, max_tokens=count),
    )  # fmt: skip


def row_of(found: Iterable[Bound], statement: str, what: str = "mean", control: str = "") -> Bound:
    (row,) = [row for row in found if (row.statement, row.what, row.control) == (statement, what, control)]
    return row


def test_wrong_acceptance_and_surprise_are_seen() -> None:
    """4,000 drafts accepted with 0.5, where 0.5 and where 0.6 is told; surprises of 1, where 1 and 1.1 is."""
    record = drafts(4_000, 0.5, np.random.default_rng(12))
    every = [np.ones(4_000, dtype=bool)]
    assert abs(row_of(record_bounds(CELL, [record], every), "acceptance").z) < 4
    record.efficiency = [0.6] * 4_000
    assert row_of(record_bounds(CELL, [record], every), "acceptance").z < -10
    rng = np.random.default_rng(13)
    record.log_p = (-rng.exponential(size=4_000)).tolist()
    assert abs(row_of(record_bounds(CELL, [record], every), "unbiased").z) < 4
    record.entropy = [1.1] * 4_000
    assert row_of(record_bounds(CELL, [record], every), "unbiased").z < -5


@pytest.mark.parametrize(("told", "holds"), [(0.5, True), (0.55, False)])
def test_steps_are_chosen_by_what_is_known_before_them(told: float, holds: bool) -> None:
    """Half of all positions are stale. One draft a step, accepted with 1/2 whichever its context is: steps
    that emit two tokens must not be left out more often than those that emit one."""
    rng = np.random.default_rng(14)
    accepted = rng.integers(0, 2, size=6_000)
    emitted = accepted + 1
    count = int(emitted.sum())
    record = drafts(count, 0.5)
    record.accepted, record.by_token = tuple(accepted.tolist()), (told,) * len(accepted)
    record.run = SimpleNamespace(verify="token", lookahead=1, max_tokens=count + 2)
    fresh = [rng.random(count) < 0.5]
    row = row_of(record_bounds(CELL, [record], fresh), "steps")
    assert 2_700 < row.count < 3_300
    assert (abs(row.z) < 4) == holds


def test_a_key_gives_every_token_but_for_ties() -> None:
    """Of 3,000 tokens one that the key does not give is a tie, and one in a hundred are a wrong kernel."""
    (found,) = entries(np.random.default_rng(15))
    every = [np.ones(N, dtype=bool)]
    for missed, holds in ((1, True), (N // 100, False)):
        found["ratio"][:missed] = [None] * missed
        rows = list(cell_bounds(CELL, [found], every, DETERMINED))
        row = row_of(rows, "key gives token")
        assert row.measured == pytest.approx(1 - missed / N)
        assert (abs(row.z) < bound_of(400)) == holds
    assert not [row for row in rows if row.statement == "strength"]
    assert row_of(rows, "key gives token", control="wrong key").measured == 0
    # Where chance decides too, what the key rules out cannot have happened.
    assert row_of(cell_bounds(CELL, [found], every, LEFT_TO_CHANCE), "strength").z == -math.inf


def test_what_is_no_number_is_no_control_that_failed() -> None:
    row = Bound("score", "a", "m", "w", 1.0, 3, "mean", "wrong key", 5, 1.0, 1.0, math.nan)
    with pytest.raises(ValueError, match="z of score, m, w, a is not a number"):
        table_of([row])


def test_no_positions_have_no_rows() -> None:
    (found,) = entries(np.random.default_rng(16))
    assert not list(cell_bounds(CELL, [found], [np.zeros(N, dtype=bool)], DETERMINED))
    assert not list(record_bounds(CELL, [drafts(9, 0.5)], [np.zeros(9, dtype=bool)]))
