"""The fixed-length test that owns the draft model: its law is exact for every text and every length."""

from __future__ import annotations

import itertools
import math
import time
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.support import ALPHA
from tradeoff.detection.with_models.draft_aware import AnchorReading, Seeds
from tradeoff.detection.with_models.hits import SeedHits, weighted_hits_log_sf

N = 1000
TEXTS = 5_000


def reading(mass: np.ndarray, hits: np.ndarray, index: np.ndarray | None = None) -> AnchorReading:
    places = np.arange(len(mass)) if index is None else index
    return AnchorReading(places, mass, {N: Seeds(hits, mass)})


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 5)), min_size=1, max_size=8),
)
def test_tails_of_every_length_are_sums_over_all_outcomes(tokens):
    chances, hits, weights = (np.array(part) for part in zip(*tokens, strict=True))
    found = np.exp(weighted_hits_log_sf(chances, hits, weights))
    for k in range(1, len(tokens) + 1):
        observed, expected = int(weights[:k] @ hits[:k]), 0.0
        for outcome in itertools.product([False, True], repeat=k):
            if int(weights[:k] @ np.array(outcome)) >= observed:
                expected += math.prod(p if h else 1 - p for p, h in zip(chances, outcome, strict=False))
        assert found[k - 1] == pytest.approx(expected, rel=1e-12, abs=2e-300)


def test_equal_chances_are_binomial_far_into_the_tail():
    """Forty hits of forty tokens in a hundred of which each was worth 1/1000: 1e-92, to twelve digits."""
    chances, hits = np.full(100, 1e-3), np.arange(100) < 40
    found = weighted_hits_log_sf(chances, hits, np.ones(100, dtype=int))
    assert found[0] == pytest.approx(math.log(1e-3), rel=1e-13)
    assert found[39] == pytest.approx(40 * math.log(1e-3), rel=1e-13)
    assert found[-1] == pytest.approx(stats.binom.logsf(39, 100, 1e-3), rel=1e-12)
    assert found[-1] < -200


def test_p_values_stay_above_what_floats_can_hold():
    """They may be too large, and never 0: three hundred hits at 1/1000 have the probability 1e-900."""
    found = weighted_hits_log_sf(np.full(300, 1e-3), np.ones(300, bool), np.ones(300, dtype=int))
    assert found[95] == pytest.approx(96 * math.log(1e-3), rel=1e-9)
    assert found[-1] == pytest.approx(math.log(1e-300))


def test_the_rarest_hits_weigh_no_more_than_those_of_a_millionth():
    """Of two tokens one hit: whichever it is, the statistic is the same, and so is its p-value."""
    mass = np.array([1e-6, 1e-12])
    either = math.log(1e-6 + 1e-12 - 1e-18)
    for hits in ([True, False], [False, True]):
        assert SeedHits(N).log_p(reading(mass, np.array(hits)))[-1] == pytest.approx(either, rel=1e-12)
    # Above a millionth the rarer of two hits tells more.
    mass = np.array([1e-5, 1e-3])
    rare, common = (SeedHits(N).log_p(reading(mass, np.array(h)))[-1] for h in ([True, False], [False, True]))
    assert rare < common - 2


def test_what_is_sure_says_nothing():
    """Tokens of probability 1, which always hit, change no p-value wherever they stand."""
    rng = np.random.default_rng(0)
    mass = rng.random(30)
    hits = rng.random(30) < 0.8
    at = np.sort(rng.integers(0, 31, 12))
    plain = SeedHits(N).log_p(reading(mass, hits))
    padded = SeedHits(N).log_p(reading(np.insert(mass, at, 1.0), np.insert(hits, at, True)))
    kept = ~np.insert(np.zeros(30, bool), at, True)
    np.testing.assert_allclose(padded[kept], plain, atol=1e-12)
    assert plain.min() < -2


def test_what_cannot_be_hit_says_nothing():
    mass, hits = np.array([0.5, 0.0, 0.5]), np.array([True, False, True])
    log_p = SeedHits(N).log_p(reading(mass, hits))
    assert log_p[1] == log_p[0]
    hits[1] = True
    with pytest.raises(ValueError, match=r"token_mass is 0 at position 1, .*read both with one anchor"):
        SeedHits(N).log_p(reading(mass, hits))


def test_laws_are_no_wider_than_their_sums_spread():
    """Two thousand tokens, half of them hits of 1/10,000: the law of all sums would have 184,000 cells."""
    hits, weights = np.arange(2_000) % 2 == 0, np.full(2_000, 92)
    started = time.process_time()
    found = weighted_hits_log_sf(np.full(2_000, 1e-4), hits, weights)
    assert time.process_time() - started < 2
    known = stats.binom.logsf(np.cumsum(hits) - 1, np.arange(1, 2_001), 1e-4)
    assert np.count_nonzero(known > -660) > 100
    np.testing.assert_allclose(found[known > -660], known[known > -660], rtol=1e-12)
    # What was cut off adds a millionth of the least tail.
    np.testing.assert_allclose(found[known < -700], math.log(1e-300), rtol=0, atol=1e-5)


def test_sums_keep_their_places_where_the_low_end_is_cut_off():
    """Tokens that are nearly sure: of small sums nothing is left."""
    chances = np.full(400, 1 - 2.0**-40)
    hits = np.arange(400) != 200
    found = weighted_hits_log_sf(chances, hits, np.full(400, 3))
    np.testing.assert_allclose(found, stats.binom.logsf(np.cumsum(hits) - 1, np.arange(1, 401), chances[0]))


@pytest.mark.parametrize(
    ("chances", "weights", "message"),
    [
        ([0.5, math.nan], [1, 1], "chances holds nan; pass probabilities"),
        ([0.5, -0.1], [1, 1], "chances holds -0.1; pass probabilities"),
        ([0.5, 1.5], [1, 1], "chances holds 1.5; pass probabilities"),
        ([0.5, 0.5], [1, -2], "weights hold -2; pass whole numbers >= 0"),
        ([0.5, 0.5], [1.0, 2.5], "weights hold 1.0; pass whole numbers >= 0"),
        ([0.5], [1, 1], "are of 1, 2 and 2 tokens; pass one of each"),
    ],
)
def test_chances_and_weights_that_are_none_are_refused(chances, weights, message):
    with pytest.raises(ValueError, match=message):
        weighted_hits_log_sf(np.array(chances), np.array([True, False]), np.array(weights))


def test_the_order_of_texts_is_that_of_the_likelihood_ratio():
    """Against a text half of whose tokens are their seeds for sure; to the fineness of the lattice."""
    mass = np.array([0.9, 0.6, 0.3, 0.1, 0.02, 0.001])
    found = []
    for outcome in itertools.product([False, True], repeat=len(mass)):
        hits = np.array(outcome)
        ratio = np.where(hits, np.log((1 + mass) / (2 * mass)), -math.log(2)).sum()
        found.append((SeedHits(N).log_p(reading(mass, hits))[-1], ratio))
    found.sort(key=lambda pair: pair[1])
    for (p, ratio), (other, greater) in itertools.combinations(found, 2):
        if greater - ratio > 0.1 * len(mass):
            assert other < p


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_first_verdicts_on_texts_without_a_watermark_keep_the_level(alpha):
    """Whatever the tokens' probabilities; a look after every token uncorrected would convict more."""
    over_time, looked = (int((lowest <= math.log(alpha)).sum()) for lowest in lowest_of_null_texts())
    assert stats.binomtest(over_time, TEXTS, alpha, "greater").pvalue > ALPHA
    assert stats.binomtest(looked, TEXTS, alpha, "greater").pvalue < ALPHA


@cache
def lowest_of_null_texts() -> tuple[np.ndarray, np.ndarray]:
    """Lowest log p over time of every text, with Bonferroni's correction and without: [TEXTS] each."""
    rng, tokens, found = np.random.default_rng(1), 30, []
    laws = [rng.beta(0.4, 0.4, tokens) for _ in range(20)]
    for i in range(TEXTS):
        text = reading(laws[i % 20], rng.random(tokens) < laws[i % 20])
        found.append((SeedHits(N).over_time(text).log_p.min(), SeedHits(N).log_p(text).min()))
    over_time, looked = np.array(found).T
    return over_time, looked


def test_time_is_paid_for_by_the_token_and_counted_in_positions_of_the_text():
    """1/1000 each: alpha/(k (k + 1)) = 0.01/2 is met at once, at the position of the first token that
    counts."""
    index = np.array([4, 7, 9])
    text = reading(np.full(3, 1e-3), np.ones(3, bool), index)
    assert SeedHits(N).over_time(text).tokens_needed(0.01) == 5
    assert SeedHits(N).over_time(text).tokens_needed(0.0019) == 8
    nothing = reading(np.zeros(0), np.zeros(0, bool), np.zeros(0, int))
    assert SeedHits(N).over_time(nothing).tokens_needed(0.01) is None


def test_seeds_that_were_not_read_are_refused():
    with pytest.raises(ValueError, match="values=4 was not read"):
        SeedHits(4).log_p(reading(np.ones(1), np.ones(1, bool)))
