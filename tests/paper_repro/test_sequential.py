"""Tokens to detection: what is counted, and what is compared with what."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pandas as pd
import pytest

from figures.experiment.shares import draw_sequential_figure, draw_shares
from paper_repro.presets import Cell, PromptSet
from paper_repro.trials.fixed import CellEvidence, Fold
from paper_repro.trials.replays import BUCKETS
from paper_repro.trials.sequential import (
    ALPHAS,
    SequentialTrial,
    sequential_table,
    sequential_trials,
    share_table,
)
from tests.helpers.ideal import Given
from tradeoff.detection import Aaronson, ArsPrior, Evidence, Oracle
from tradeoff.detection.bets.gumbel import RaceBets
from tradeoff.detection.detector import Exactness
from tradeoff.detection.sequential import OverTime, Sequential
from tradeoff.detection.with_models.draft_aware import Anchored, AnchorReading, Seeds, fit_eps
from tradeoff.detection.with_models.hits import SeedHits
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream

PRF = KeyedPrf(Key(bytes(range(32))), 2)
PROMPTS = PromptSet(name="a", source="builtin:question")
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


def verdicts(needed: list[float], length: int = LENGTH) -> np.ndarray:
    """Whether the verdict is there after 1, 2, ... tokens, of texts that need so many: [texts, length]."""
    return np.arange(1, length + 1) >= np.array(needed, float)[:, None]


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
            assert np.array_equal(trials[key].detected[alpha], verdicts(expected))
            assert trials[key].tokens(alpha).tolist() == np.minimum(expected, LENGTH).tolist()
            assert min(expected) < LENGTH


def test_a_fixed_length_is_a_single_look_at_every_length() -> None:
    """The p-value of just that many tokens is at most the level."""
    part = texts(1)
    folds = [Fold(list(range(8)), [Aaronson()])]
    (fixed,) = (t for t in sequential_trials(part, folds) if t.kind == "fixed length")
    aaronson = Aaronson()
    for evidence, detected in zip(part.texts, fixed.detected[0.01], strict=True):
        for length in range(1, LENGTH + 1):
            count = int(np.searchsorted(evidence.index, length))
            total = float(aaronson.contributions(evidence)[:count].sum())
            p = math.exp(aaronson.log_p(total, count)) if count else 1.0
            assert detected[length - 1] == (p <= 0.01)


def test_a_text_may_be_found_at_one_length_and_missed_at_the_next() -> None:
    """One telling token and then nothing: a look at its first tokens finds it, one at all of them does not,
    while over time a verdict stays."""
    text = cast(Evidence, Given({Stream.SHARED: np.array([1 - 1e-9] + [0.01] * 30)}))
    part = CellEvidence(cell(), [], [text])
    trials = {t.kind: t for t in sequential_trials(part, [Fold([0], [Aaronson()])])}
    looks, over_time = (trials[k].detected[0.01][0] for k in ("fixed length", "Bonferroni over time"))
    assert looks[0]
    assert not looks[30:].any()
    assert over_time.all()


def test_a_fixed_length_reads_the_last_tokens_too() -> None:
    """Seven tokens count, and the sixth and seventh tell: a look at 6 tokens or more finds the text."""
    uniforms = np.array([0.5] * 5 + [1 - 1e-9, 1 - 1e-9])
    text = cast(Evidence, Given({Stream.SHARED: uniforms}))
    part = CellEvidence(cell(), [], [text])
    (fixed,) = (t for t in sequential_trials(part, [Fold([0], [Aaronson()])]) if t.kind == "fixed length")
    assert np.array_equal(fixed.detected[0.01], verdicts([6]))


def test_of_a_single_look_the_median_is_the_least_length_that_finds_half_of_the_texts() -> None:
    """Half are found at 30 tokens, though each of them is missed at some later length."""
    detected = np.zeros((4, LENGTH), dtype=bool)
    detected[0, 19:40] = detected[1, 29:35] = detected[2, 39:] = True
    looks = SequentialTrial(
        CellEvidence(cell(), [], []), "look", "fixed length", np.arange(4), dict.fromkeys(ALPHAS, detected)
    )
    rows = sequential_table([looks, trial("best", "Bonferroni over time", [45.0] * 4)])
    row = rows[rows["test"] == "look"].iloc[0]
    assert (row["lower_quartile"], row["median"], row["upper_quartile"]) == (20, 30, math.inf)
    assert row["detected"] == 0.25
    assert row["reduction"] == pytest.approx(1 - 30 / 45)
    assert looks.tokens(0.02).tolist() == [LENGTH - 21, LENGTH - 6, 40, LENGTH]


def test_texts_are_tested_by_the_detectors_that_have_not_seen_them() -> None:
    """Detectors of one name, of which those of either fold have a threshold of their own."""

    class Stricter(Aaronson):
        def threshold(self, count: int, fpr: float) -> float:
            return super().threshold(count, fpr) + 5

    part, detectors = texts(4), (Aaronson(), Stricter())
    folds = [Fold(list(range(half, 8, 2)), [detectors[half]]) for half in (0, 1)]
    trials = {t.kind: t for t in sequential_trials(part, folds)}
    alone = [
        {t.kind: t for t in sequential_trials(part, [Fold(list(range(8)), [detector])])}
        for detector in detectors
    ]
    for kind in ("Bonferroni over time", "fixed length"):
        for alpha in ALPHAS:
            first, second = (by_kind[kind].detected[alpha] for by_kind in alone)
            expected = np.where((np.arange(8) % 2)[:, None], second, first)
            assert np.array_equal(trials[kind].detected[alpha], expected)
        first, second = (by_kind[kind].tokens(0.01) for by_kind in alone)
        assert (first < second)[::2].any()
        assert (first < second)[1::2].any()


def test_laws_that_are_simulated_have_no_small_p_values() -> None:
    """They end at one in as many scores as were drawn, far above what Bonferroni asks for."""

    class Simulated(Aaronson):
        name = "simulated law"
        exactness = Exactness.SIMULATED

    names = {t.test for t in sequential_trials(texts(0), [Fold(list(range(8)), [Simulated(), Aaronson()])])}
    assert names == {"race bets", "Aaronson"}


def read_texts(part: CellEvidence, seed: int) -> list[AnchorReading]:
    """Readings of texts nine tenths of whose tokens are their seeds, as far as 1000 tokens go."""
    rng, found = np.random.default_rng(seed), []
    for evidence in part.texts:
        n = len(evidence)
        mass, hits = rng.uniform(0.2, 0.9, n), rng.random(n) < 0.9
        seeds = {m: Seeds(hits, mass) for m in (1000, *BUCKETS)}
        found.append(AnchorReading(evidence.index, mass, seeds))
    return found


def test_hits_with_the_draft_model_are_a_baseline_on_the_texts_that_were_read() -> None:
    part = texts(5)
    readings = read_texts(part, 0)[:6]
    folds = [Fold(list(range(8)), [Aaronson()])]
    trials = {(t.test, t.kind): t for t in sequential_trials(part, folds, readings, 1000)}
    over_time = trials["draft-aware hits", "Bonferroni over time"]
    fixed = trials["draft-aware hits", "fixed length"]
    hits = SeedHits(1000)
    for alpha in ALPHAS:
        for i, reading in enumerate(readings):
            expected = hits.over_time(reading).tokens_needed(alpha) or math.inf
            assert np.array_equal(over_time.detected[alpha][i], verdicts([expected])[0])
            log_p = np.concatenate([[0.0], hits.log_p(reading)])
            for length in range(1, LENGTH + 1):
                count = int(np.searchsorted(reading.index, length))
                assert fixed.detected[alpha][i, length - 1] == (log_p[count] <= math.log(alpha))
    assert over_time.which.tolist() == fixed.which.tolist() == list(range(6))
    assert fixed.detected[0.02].any(axis=1).sum() > 3


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
            assert np.array_equal(trials[name].detected[0.01][i], verdicts([needed])[0])
    own = Anchored(1000, fit_eps(readings[::2], 1000)).test(readings[0]).tokens_needed(0.01)
    assert trials["e*, tokens"].tokens(0.01)[0] != own


def trial(test: str, kind: str, needed: list[float], prompts: PromptSet = PROMPTS) -> SequentialTrial:
    evidence = CellEvidence(cell(prompts), [], [])
    detected = dict.fromkeys(ALPHAS, verdicts(needed))
    return SequentialTrial(evidence, test, kind, np.arange(len(needed)), detected)


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
    other = PromptSet(name="b", source="builtin:continuation")
    baseline = [
        trial("best", "Bonferroni over time", [10.0] * 4 + [60.0] * 4, prompts)
        for prompts in (PROMPTS, other)
    ]
    ours = [trial("aware", "anchored", [5.0] * 4, prompts) for prompts in (PROMPTS, other)]
    table = sequential_table([*baseline, *ours])
    row = table[table["test"] == "aware"].iloc[0]
    assert row["texts"] == 8
    assert row["reduction"] == pytest.approx(0.5)


def test_the_baseline_is_the_best_on_the_texts_compared() -> None:
    """One is best on all texts and another on the first four, of which a third has read but three."""
    even = trial("even", "Bonferroni over time", [30.0] * 8)
    early = trial("early", "Bonferroni over time", [20.0] * 3 + [60.0] * 5)
    few = trial("few", "Bonferroni over time", [5.0] * 3)
    table = sequential_table(
        [even, early, few, trial("bets", "betting", [15.0] * 8), trial("aware", "anchored", [15.0] * 4)]
    )
    rows = table[table["alpha"] == 0.02].set_index("test")
    assert rows["baseline"].dropna().to_dict() == {"bets": "even", "aware": "early"}
    assert rows.loc["bets", "reduction"] == pytest.approx(1 - 15 / 30)
    assert rows.loc["aware", "reduction"] == pytest.approx(1 - 15 / 20)


def test_of_baselines_that_miss_most_texts_the_one_that_misses_fewest_is_compared() -> None:
    most = trial("most", "Bonferroni over time", [10.0] + [math.inf] * 9)
    fewer = trial("fewer", "Bonferroni over time", [10.0] * 4 + [math.inf] * 6)
    table = sequential_table([most, fewer, trial("bets", "betting", [15.0] * 10)])
    assert table["baseline"].dropna().tolist() == ["fewer"] * 2


def test_a_test_that_no_baseline_was_tried_beside_is_compared_with_none() -> None:
    few = trial("few", "Bonferroni over time", [5.0] * 3)
    other = trial(
        "other", "Bonferroni over time", [5.0] * 8, PromptSet(name="b", source="builtin:continuation")
    )
    table = sequential_table([few, other, trial("bets", "betting", [15.0] * 8)])
    assert "reduction" not in table or table["reduction"].isna().all()


def test_texts_are_compared_by_their_numbers() -> None:
    """A baseline that was tried on the second and third texts among others, in another order."""
    evidence = CellEvidence(cell(), [], [])
    over_time = dict.fromkeys(ALPHAS, verdicts([10.0, 40.0, 20.0]))
    baseline = SequentialTrial(evidence, "best", "Bonferroni over time", np.array([5, 2, 1]), over_time)
    ours = SequentialTrial(
        evidence, "bets", "betting", np.array([1, 2]), dict.fromkeys(ALPHAS, verdicts([10.0, 30.0]))
    )
    table = sequential_table([baseline, ours])
    assert table.loc[table["test"] == "bets", "reduction"].tolist() == pytest.approx([1 - 10 / 20] * 2)


def test_medians_and_reductions_are_of_one_kind() -> None:
    """Of an even number of texts the median is the lower of the middle two, in all columns."""
    ours = trial("bets", "betting", [10.0, 20.0, math.inf, math.inf])
    best = trial("best", "Bonferroni over time", [10.0, 40.0, math.inf, math.inf])
    table = sequential_table([ours, best])
    rows = table[table["alpha"] == 0.02].set_index("test")
    assert rows["median"].to_dict() == {"bets": 20, "best": 40}
    assert rows.loc["bets", "reduction"] == pytest.approx(1 - 20 / 40)
    assert (rows["lower_quartile"] == 10).all()
    assert np.isinf(rows["upper_quartile"]).all()
    assert np.isinf(sequential_table([trial("none", "betting", [9.0, math.inf, math.inf])])["median"]).all()


def test_tests_on_one_set_of_prompts_are_compared_on_that() -> None:
    other = PromptSet(name="b", source="builtin:continuation")
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


def test_a_text_counts_from_the_very_token_it_needed() -> None:
    table = share_table([trial("bets", "betting", [25.0, 26.0, math.inf, LENGTH])])
    shares = table[table["alpha"] == 0.02].set_index("tokens")["share"]
    assert shares[[20, 25, 30, LENGTH - 5, LENGTH]].tolist() == [0, 0.25, 0.5, 0.5, 0.75]


def test_the_picture_is_drawn_from_the_table_alone(tmp_path) -> None:
    trials = [
        trial("race bets", "betting", [7.0, 33.0]),
        trial("e*, 4 buckets", "anchored", [7.0, math.inf]),
        trial("draft-aware bets", "anchored", [7.0, 9.0]),
        trial("draft-aware hits", "Bonferroni over time", [17.0, 39.0]),
        trial("Aaronson", "Bonferroni over time", [20.0, 40.0]),
    ]
    table = share_table(trials)
    (temperature,) = table["temperature"].unique()
    labels = [text.get_text() for text in draw_shares(table, temperature).legends[0].get_texts()]
    assert labels == [
        "race bets",
        "e*, 4 buckets",
        "draft-aware bets",
        "draft-aware hits, Bonferroni over time",
        "Aaronson, Bonferroni over time",
    ]
    table.to_csv(tmp_path / "sequential_shares.csv", index=False)
    assert [path.name for path in draw_sequential_figure(tmp_path)] == [f"sequential_{temperature:g}.png"]
    pd.DataFrame().to_csv(tmp_path / "sequential_shares.csv", index=False)
    assert draw_sequential_figure(tmp_path) == []


def test_a_fitted_choice_is_a_baseline_too() -> None:
    part = texts(2)
    folds = [Fold(list(range(8)), [ArsPrior(0.5)])]
    kinds = {t.kind for t in sequential_trials(part, folds)}
    assert kinds == {"betting", "Bonferroni over time", "fixed length"}
