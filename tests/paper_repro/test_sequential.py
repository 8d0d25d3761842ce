"""Tokens to detection: what is counted, and what is compared with what."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pandas as pd
import pytest

from figures.sequential import draw_sequential_figure, draw_shares
from paper_repro.detection import CellEvidence, Fold
from paper_repro.presets import Cell, PromptSet
from paper_repro.replays import BUCKETS
from paper_repro.sequential import (
    ALPHAS,
    SequentialTrial,
    sequential_table,
    sequential_trials,
    share_table,
)
from tests.detection.ideal import Given
from tradeoff.detection import Aaronson, ArsPrior, Evidence, Oracle
from tradeoff.detection.anchored import Anchored, AnchorReading, Seeds, fit_eps
from tradeoff.detection.bets import RaceBets
from tradeoff.detection.sequential import OverTime, Sequential
from tradeoff.keys import Key
from tradeoff.prf import KeyedPrf, Stream

PRF = KeyedPrf(Key(bytes(range(32))), 2)
PROMPTS = PromptSet("a", "builtin:question")
LENGTH = 60


def cell(prompts: PromptSet = PROMPTS) -> Cell:
    return Cell(prompts, "one-race", "gumbel", 1.0, 3, 8, LENGTH, True)


def texts(seed: int, vocabulary: int = 6) -> CellEvidence:
    """Eight texts of a flat model, watermarked."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(8):
        ids = rng.integers(vocabulary, size=2).tolist()
        while len(ids) < LENGTH:
            race = PRF.race(Stream.SHARED, np.array(ids[-2:]), np.arange(vocabulary * 50))
            keep = rng.permutation(vocabulary * 50)[:vocabulary]
            ids.append(int(keep[np.argmin(race[keep])]))
        found.append(Evidence(ids, PRF))
    return CellEvidence(cell(), [], found)


def test_trials_are_those_of_the_tests_themselves() -> None:
    """Bets, and Bonferroni over time by thresholds, stop where the tests of the library stop."""
    part = texts(0)
    folds = [Fold([0, 2, 4, 6], [Aaronson(), Oracle()]), Fold([1, 3, 5, 7], [Aaronson(), Oracle()])]
    trials = {(t.test, t.kind): t for t in sequential_trials(part, folds)}
    assert set(trials) == {
        ("race bets", "betting"),
        ("Aaronson", "Bonferroni over time"),
        ("Aaronson", "fixed length"),
    }
    for alpha in ALPHAS:
        for test, key in (
            (Sequential(RaceBets()), ("race bets", "betting")),
            (OverTime(Aaronson()), ("Aaronson", "Bonferroni over time")),
        ):
            expected = [test.test(e).tokens_needed(alpha) or math.inf for e in part.texts]
            assert trials[key].needed[alpha].tolist() == expected
            assert min(expected) < LENGTH


def test_a_fixed_length_is_one_from_which_on_the_text_is_detected() -> None:
    part = texts(1)
    folds = [Fold(list(range(8)), [Aaronson()])]
    (fixed,) = (t for t in sequential_trials(part, folds) if t.kind == "fixed length")
    aaronson = Aaronson()
    for evidence, needed in zip(part.texts, fixed.needed[0.01], strict=True):
        for length in range(5, LENGTH + 1, 5):
            count = int(np.searchsorted(evidence.index, length))
            total = float(aaronson.contributions(evidence)[:count].sum())
            p = math.exp(aaronson.log_p(total, count)) if count else 1.0
            if length >= needed:
                assert p <= 0.01
            elif length == needed - 5:
                assert p > 0.01


def test_a_fixed_length_reads_the_last_tokens_too() -> None:
    """Seven tokens count, and the sixth and seventh tell: the text is detected at its end, at 10 tokens."""
    uniforms = np.array([0.5] * 5 + [1 - 1e-9, 1 - 1e-9])
    text = cast(Evidence, Given({Stream.SHARED: uniforms}))
    part = CellEvidence(cell(), [], [text])
    (fixed,) = (t for t in sequential_trials(part, [Fold([0], [Aaronson()])]) if t.kind == "fixed length")
    assert fixed.needed[0.01].tolist() == [10]


def test_eps_is_fitted_to_the_texts_of_the_other_half() -> None:
    """Even texts hit always and odd ones never, so that either half is read with the eps of the other."""
    part = texts(3)
    readings = []
    for i, evidence in enumerate(part.texts):
        n = len(evidence)
        hits = np.full(n, i % 2 == 0)
        seeds = {m: Seeds(hits, np.full(n, 0.4)) for m in (1000, *BUCKETS)}
        readings.append(AnchorReading(evidence.index, np.full(n, 0.4), seeds))
    folds = [Fold(list(range(8)), [Aaronson()])]
    trials = {t.test: t for t in sequential_trials(part, folds, readings, 1000)}
    for values, name in ((1000, "e*, tokens"), *((m, f"e*, {m} buckets") for m in BUCKETS)):
        for i, reading in enumerate(readings):
            eps = fit_eps(readings[1 - i % 2 :: 2], values)
            needed = Anchored(values, eps).test(reading).tokens_needed(0.01) or math.inf
            assert trials[name].needed[0.01][i] == needed
    own = Anchored(1000, fit_eps(readings[::2], 1000)).test(readings[0]).tokens_needed(0.01)
    assert trials["e*, tokens"].needed[0.01][0] != own


def trial(test: str, kind: str, needed: list[float], prompts: PromptSet = PROMPTS) -> SequentialTrial:
    values = np.array(needed, float)
    evidence = CellEvidence(cell(prompts), [], [])
    return SequentialTrial(evidence, test, kind, np.arange(len(values)), dict.fromkeys(ALPHAS, values))


def test_medians_count_the_undetected_as_detected_at_the_end() -> None:
    """Eight of ten at 20 against 40 tokens; the best test over time is the one to beat."""
    ours = trial("bets", "betting", [20.0] * 8 + [math.inf] * 2)
    slow = trial("slow", "Bonferroni over time", [50.0] * 10)
    best = trial("best", "Bonferroni over time", [40.0] * 8 + [math.inf] * 2)
    table = sequential_table([ours, slow, best])
    row = table[(table["test"] == "bets") & (table["alpha"] == 0.02)].iloc[0]
    assert row["baseline"] == "best"
    assert row["reduction"] == pytest.approx(0.5)
    assert row["reduction_low"] <= 0.5 <= row["reduction_high"]
    assert row["detected"] == pytest.approx(0.8)
    assert (row["median"], row["lower_quartile"], row["upper_quartile"]) == (20, 20, 20)
    assert table.loc[table["kind"] == "Bonferroni over time", "reduction"].isna().all()


def test_the_median_interval_is_that_of_order_statistics() -> None:
    """Of ten texts the second and the ninth bracket it with 97.9%, the third and the eighth with 89%."""
    table = sequential_table([trial("bets", "betting", [float(x) for x in range(1, 11)])])
    assert table["median_low"].tolist() == [2, 2]
    assert table["median_high"].tolist() == [9, 9]
    assert table["median"].tolist() == [5, 5]


def test_tests_on_fewer_texts_are_compared_on_those() -> None:
    """Readings through the draft model exist for the first texts of every set of prompts only."""
    other = PromptSet("b", "builtin:continuation")
    baseline = [
        trial("best", "Bonferroni over time", [10.0] * 4 + [60.0] * 4, prompts)
        for prompts in (PROMPTS, other)
    ]
    ours = [trial("aware", "anchored", [5.0] * 4, prompts) for prompts in (PROMPTS, other)]
    table = sequential_table([*baseline, *ours])
    row = table[table["test"] == "aware"].iloc[0]
    assert row["texts"] == 8
    assert row["reduction"] == pytest.approx(0.5)


def test_tests_on_one_set_of_prompts_are_compared_on_that() -> None:
    other = PromptSet("b", "builtin:continuation")
    baseline = [
        trial("best", "Bonferroni over time", [10.0] * 4),
        trial("best", "Bonferroni over time", [40.0] * 8, other),
    ]
    table = sequential_table([*baseline, trial("aware", "anchored", [5.0] * 6, other)])
    assert table.loc[table["test"] == "aware", "reduction"].tolist() == pytest.approx([1 - 5 / 40] * 2)


def test_shares_rise_to_what_was_detected() -> None:
    table = share_table([trial("bets", "betting", [7.0, 33.0, math.inf, math.inf])])
    shares = table[table["alpha"] == 0.02].set_index("tokens")["share"]
    assert shares[5] == 0
    assert shares[10] == 0.25
    assert shares[LENGTH] == 0.5


def test_the_picture_is_drawn_from_the_table_alone(tmp_path) -> None:
    trials = [
        trial("race bets", "betting", [7.0, 33.0]),
        trial("e*, 4 buckets", "anchored", [7.0, math.inf]),
        trial("draft-aware bets", "anchored", [7.0, 9.0]),
        trial("Aaronson", "Bonferroni over time", [20.0, 40.0]),
    ]
    table = share_table(trials)
    labels = [text.get_text() for text in draw_shares(table).legends[0].get_texts()]
    assert labels == [
        "bets, key alone",
        "e* with the draft model, 4 buckets",
        "bets with the draft model",
        "Aaronson, Bonferroni over time",
    ]
    table.to_csv(tmp_path / "sequential_shares.csv", index=False)
    assert [path.name for path in draw_sequential_figure(tmp_path)] == ["sequential.png"]
    pd.DataFrame().to_csv(tmp_path / "sequential_shares.csv", index=False)
    assert draw_sequential_figure(tmp_path) == []


def test_a_fitted_choice_is_a_baseline_too() -> None:
    part = texts(2)
    folds = [Fold(list(range(8)), [ArsPrior(0.5)])]
    kinds = {t.kind for t in sequential_trials(part, folds)}
    assert kinds == {"betting", "Bonferroni over time", "fixed length"}
