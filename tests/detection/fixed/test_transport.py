"""Detectors of SimplexWater, HeavyWater and completed watermarks: null laws and power."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.ideal import Given, assert_null_law, true_positives
from tests.helpers.support import ALPHA, assert_within
from tests.helpers.transporting import (
    BOTH,
    marked_numbers,
    null_numbers,
    own_sum,
    phrases,
    random_key,
    true_mean,
    written,
)
from tradeoff.decoders import Completed, SimplexScores, heavy_water, simplex_water
from tradeoff.detection import Detector, Evidence, WeightedMeanBits, detect
from tradeoff.detection.fixed.completed import CompletedSum
from tradeoff.detection.fixed.simplexwater import SimplexSum
from tradeoff.detection.fixed.transport import AuthorsTest, RankRatio
from tradeoff.keyed.prf import Stream
from tradeoff.optimal_transport.gaps import simplex_gap
from tradeoff.optimal_transport.scores import RandomScores, Scores, seeded_table
from tradeoff.optimal_transport.solvers import Sinkhorn

ONE = (Stream.SHARED,)
HEAVY = RandomScores("lognormal", 1024)
EXACT: list[Detector] = [
    SimplexSum(SimplexScores(4)),
    SimplexSum(SimplexScores(2, 3), BOTH),
    RankRatio(RandomScores("gamma", 64)),
    RankRatio(RandomScores("lognormal", 256), BOTH),
    CompletedSum(own_sum(SimplexScores(4))),
    CompletedSum(own_sum(RandomScores("gamma", 64), BOTH)),
    CompletedSum(own_sum(6), 0.95),
]


def family(detector: Detector) -> Scores:
    own = detector.own if isinstance(detector, CompletedSum) else detector
    return HEAVY if isinstance(own, WeightedMeanBits) else own.scores  # type: ignore[attr-defined]


def label(detector: Detector) -> str:
    own = detector.own if isinstance(detector, CompletedSum) else detector
    name = f"{own.rounds} rounds" if isinstance(own, WeightedMeanBits) else family(detector).name
    return f"{detector.name} {name} {len(own.streams)}"  # type: ignore[attr-defined]


every = pytest.mark.parametrize("detector", EXACT, ids=label)


def tails(statistics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of equally likely outcomes, and the shares that are at least as large."""
    values, counts = np.unique(statistics, return_counts=True)
    return values, np.cumsum(counts[::-1])[::-1] / len(statistics)


@pytest.mark.parametrize(
    ("kind", "scores"),
    [
        (SimplexSum, SimplexScores(2)),
        (SimplexSum, SimplexScores(3)),
        (SimplexSum, SimplexScores(1, 5)),
        (RankRatio, RandomScores("lognormal", 6)),
        (RankRatio, SimplexScores(3)),
    ],
)
@pytest.mark.parametrize("tokens", [[0, 1, 2], [1, 1, 1], [2, 0, 2]], ids=str)
def test_null_law_by_enumeration(kind, scores, tokens):
    """Over all k^3 values of s under one table, p-values are the exact tails: repeats do not matter."""
    rows = scores.rows(np.array(tokens), seeded_table(3))
    order = np.argsort(np.argsort(rows, axis=-1, kind="stable"), axis=-1)
    side = np.array(list(itertools.product(range(scores.k), repeat=3)))
    at = np.arange(3)
    numbers = Given(
        scores={Stream.SHARED: rows[at, side].ravel()}, ranks={Stream.SHARED: order[at, side].ravel()}
    )
    detector = kind(scores)
    values, expected = tails(detector.contributions(numbers).reshape(-1, 3).sum(axis=1))
    p = np.exp([detector.log_p(float(value), 3) for value in values])
    np.testing.assert_allclose(p, expected, rtol=1e-9)


@pytest.mark.parametrize("inner", [SimplexScores(2), RandomScores("gamma", 8), 3], ids=str)
def test_null_law_of_a_completed_token_by_enumeration(inner):
    """Own numbers and the race's rank floor(4096 U) are uniform and independent."""
    detector = CompletedSum(own_sum(inner))
    uniform = (np.arange(4096) + 0.5) / 4096
    if isinstance(inner, int):
        bits = np.array(list(itertools.product((0, 1), repeat=inner)), dtype=np.int8)
        numbers = Given({Stream.SHARED: np.tile(uniform, len(bits))}, {Stream.SHARED: bits.repeat(4096, 0)})
    else:
        row = inner.rows(np.array([1]), seeded_table(0))[0]
        rank = np.argsort(np.argsort(row, kind="stable"))
        numbers = Given(
            {Stream.SHARED: np.tile(uniform, len(row))},
            scores={Stream.SHARED: row.repeat(4096)},
            ranks={Stream.SHARED: rank.repeat(4096)},
        )
    values, expected = tails(detector.contributions(numbers))
    few = np.unique(np.linspace(0, len(values) - 1, 60).astype(int))
    p = np.exp([detector.log_p(float(values[i]), 1) for i in few])
    np.testing.assert_allclose(p, expected[few], rtol=1e-9)


@given(st.integers(2, 10), st.integers(1, 300), st.data())
def test_simplex_sum_is_binomial_with_the_true_mean(r, count, data):
    """Not 1/2: the zero word is no word."""
    detector, ones = SimplexSum(SimplexScores(r), BOTH), data.draw(st.integers(0, 2 * count))
    expected = stats.binom.logsf(ones - 1, 2 * count, true_mean(SimplexScores(r)))
    assert detector.log_p(float(ones), count) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@every
def test_false_positives_of_ideal_texts_whose_tokens_repeat(detector):
    texts, tokens = 50_000, 3
    if isinstance(detector, SimplexSum):
        # Few values: p-values jump, and the share at every one of them is the p-value.
        scores = detector.contributions(null_numbers(family(detector), texts * tokens, 1))
        sums = scores.reshape(texts, tokens).sum(axis=1)
        for value in np.unique(sums):
            expected = math.exp(detector.log_p(float(value), tokens))
            assert stats.binomtest(int((sums >= value).sum()), texts, min(expected, 1.0)).pvalue > ALPHA
        return
    scores = detector.contributions(null_numbers(family(detector), texts * tokens * 4, 1, 6))
    assert_null_law(lambda x: detector.log_p(x, 12), scores.reshape(texts, 12).sum(axis=1), 300)


@every
def test_false_positives_under_random_keys(detector):
    """The keyed function itself, on texts that repeat themselves."""
    rng = np.random.default_rng(2)
    texts, hits = 300, {0.01: 0, 0.2: 0}
    for _ in range(texts):
        log_p = detect(detector, Evidence(phrases(rng), random_key(rng))).log_p
        for level in hits:
            hits[level] += log_p <= math.log(level)
    for level, count in hits.items():
        assert stats.binomtest(count, texts, level, "greater").pvalue > ALPHA
    assert hits[0.2] > 0.2 * texts / 3


@every
@pytest.mark.parametrize("fpr", [0.3, 1e-3, 1e-9])
def test_threshold_is_the_least_sum_that_is_rare_enough(detector, fpr):
    total = detector.threshold(40, fpr)
    assert total == round(total)
    assert detector.log_p(total, 40) <= math.log(fpr) < detector.log_p(total - 1, 40)


def test_the_likelihood_ratio_of_ranks_rises_with_the_rank():
    detector = RankRatio(HEAVY)
    numbers = Given(ranks={Stream.SHARED: np.arange(1024)})
    scores = detector.contributions(numbers)
    assert (np.diff(scores) >= 0).all()
    # Its law has exponential mean 1 to rounding: a likelihood ratio.
    assert np.exp(scores / 1000).mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("detector", [d for d in EXACT if isinstance(d, CompletedSum)], ids=label)
def test_a_completed_statistic_is_the_sum_of_its_parts(detector):
    """The same numbers with the race moved to its least: the difference is the race's alone."""
    numbers = null_numbers(family(detector), 200, 4, 6)
    own = null_numbers(family(detector), 200, 4, 6)
    own._uniforms = {stream: np.full(200, 1e-9) for stream in own._uniforms}
    race = detector.contributions(numbers) - detector.contributions(own)
    uniform = sum((numbers.uniform(s) for s in detector.streams), np.zeros(200))
    assert race.min() >= 0
    assert stats.spearmanr(race, uniform).statistic > 0.9


# The authors' test


def test_the_z_test_of_log_normal_scores_convicts_six_times_its_level():
    """T = 100 and 1e-3: 5.9e-3 of texts of tokens that do not repeat."""
    rng, texts, tokens = np.random.default_rng(0), 150_000, 100
    raw = np.exp(rng.standard_normal((texts, tokens)))
    scores = (raw - math.exp(0.5)) / math.sqrt(math.e * (math.e - 1))
    detector = AuthorsTest(HEAVY)
    sums = (
        detector.contributions(Given(scores={Stream.SHARED: scores.ravel()})).reshape(texts, -1).sum(axis=1)
    )
    convicted = float((sums >= detector.threshold(tokens, 1e-3)).mean())
    assert_within(convicted, 5.9e-3, math.sqrt(5.9e-3 / texts))
    assert stats.binomtest(int(convicted * texts), texts, 1e-3, "greater").pvalue < ALPHA


def test_the_z_test_of_bits_takes_their_mean_for_a_half():
    """So a text that is long enough is convicted, whoever wrote it: k = 7, 1,000 tokens."""
    detector, tokens = AuthorsTest(SimplexScores(3)), 1_000
    least = math.ceil((detector.threshold(tokens, 1e-3) + tokens) / 2)
    assert stats.binom.sf(least - 1, tokens, true_mean(SimplexScores(3))) > 0.9


@pytest.mark.parametrize("streams", [ONE, BOTH], ids=len)
def test_the_z_test_by_hand(streams):
    """(sum f - T/2) / sqrt(T/4), and sum f / sqrt(T)."""
    ones = {stream: np.array([1.0, 1.0, 0.0, 1.0]) for stream in streams}
    bits, heavy = AuthorsTest(SimplexScores(4), streams), AuthorsTest(HEAVY, streams)
    t = 4 * len(streams)
    for detector, z in ((bits, (t * 3 / 4 - t / 2) / math.sqrt(t / 4)), (heavy, t * 3 / 4 / math.sqrt(t))):
        statistic = float(detector.contributions(Given(scores=ones)).sum())
        assert detector.log_p(statistic, 4) == pytest.approx(stats.norm.logsf(z))
        assert detector.log_p(detector.threshold(4, 0.01), 4) == pytest.approx(math.log(0.01))


# Power


@pytest.mark.parametrize("lam", [0.6, 0.9, 0.99])
def test_simplex_scores_rise_by_the_gap(lam):
    """min(1 - lambda, (k + 1)/(4 k)) above the null mean, for two tokens."""
    scores = SimplexScores(5)
    numbers = marked_numbers(simplex_water(5), np.array([lam, 1 - lam]), 10, 2_000, 1)
    found = SimplexSum(scores).contributions(numbers)
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert_within(found.mean(), true_mean(scores) + float(simplex_gap(lam, scores.k)), error)


def test_ranks_have_more_power_than_the_sum_of_scores_where_tokens_are_not_certain():
    """(.9, .1), 100 tokens, 1%: .51 to .42, even if the threshold of the sum is its own quantile."""
    numbers = marked_numbers(heavy_water(), np.array([0.9, 0.1]), 60, 2_500, 2)
    texts = 1_500
    ratio = true_positives(RankRatio(HEAVY), [numbers], 100).mean()
    null = null_numbers(HEAVY, texts * 100, 5).score(Stream.SHARED, HEAVY).reshape(texts, 100).sum(axis=1)
    sums = numbers.score(Stream.SHARED, HEAVY).reshape(texts, 100).sum(axis=1)
    assert ratio - (sums >= np.quantile(null, 0.99)).mean() > 0.03
    assert 0.45 < ratio < 0.58


def test_a_race_adds_what_sinkhorn_left():
    """(.9, .1), 100 tokens, 1%: .29 for ranks, .26 for the race, .54 for both."""
    decoder = Completed(heavy_water(solver=Sinkhorn()))
    numbers = marked_numbers(decoder, np.array([0.9, 0.1]), 60, 2_000, 3)
    both = true_positives(CompletedSum(RankRatio(HEAVY)), [numbers], 100).mean()
    alone = true_positives(RankRatio(HEAVY), [numbers], 100).mean()
    assert both - alone > 0.15


def test_a_mostly_silent_race_costs_an_exact_transport_nothing():
    numbers = marked_numbers(Completed(heavy_water()), np.array([0.9, 0.1]), 60, 2_000, 3)
    alone = true_positives(RankRatio(HEAVY), [numbers], 100).mean()
    assert true_positives(CompletedSum(RankRatio(HEAVY), 0.95), [numbers], 100).mean() > alone - 0.04
    assert true_positives(CompletedSum(RankRatio(HEAVY), 0.7), [numbers], 100).mean() < alone - 0.1


@pytest.mark.parametrize(
    ("decoder", "detector"),
    [
        (simplex_water(6), SimplexSum(SimplexScores(6))),
        (heavy_water("gamma", 128), RankRatio(RandomScores("gamma", 128))),
        (Completed(heavy_water("gamma", 128)), RankRatio(RandomScores("gamma", 128))),
        (Completed(simplex_water(6, solver=Sinkhorn())), CompletedSum(SimplexSum(SimplexScores(6), BOTH))),
    ],
    ids=lambda value: value.name,
)
def test_text_under_a_key_is_found_with_that_key_alone(decoder, detector):
    rng = np.random.default_rng(4)
    prf = random_key(rng)
    p = np.full(60, 1 / 60)
    text = written(decoder, p, 200, prf, detector.streams[-1], 1)
    assert detect(detector, Evidence(text, prf)).log_p < math.log(1e-6)
    assert detect(detector, Evidence(text, random_key(rng))).log_p > math.log(1e-3)


@pytest.mark.parametrize("kind", [SimplexSum, RankRatio, AuthorsTest])
def test_streams_are_named(kind):
    with pytest.raises(ValueError, match="streams must name at least one"):
        kind(SimplexScores(3), ())


@pytest.mark.parametrize("silent", [0, 1, -0.1, math.nan])
def test_shares_that_are_none_are_refused(silent):
    with pytest.raises(ValueError, match="silent="):
        CompletedSum(RankRatio(HEAVY), silent)


def test_the_z_test_is_for_bits():
    with pytest.raises(ValueError, match="q = 3"):
        AuthorsTest(SimplexScores(2, 3))
