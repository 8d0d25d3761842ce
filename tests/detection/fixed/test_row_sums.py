"""The sum of scores given the tokens: its law in one text under one key."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.ideal import Given
from tests.helpers.support import ALPHA
from tests.helpers.transporting import BOTH, phrases, random_key, written
from tradeoff.decoders import heavy_water
from tradeoff.detection import Evidence, detect
from tradeoff.detection.fixed.row_sums import RowSum, TableSum
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.prf import Stream
from tradeoff.optimal_transport.scores import RandomScores

HEAVY = RandomScores("lognormal", 256)


def convolved(rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """P(sum >= lowest + 0, 1, ...), by convolution."""
    law = np.ones(1)
    for row, count in zip(rows, counts, strict=True):
        for _ in range(count):
            law = np.convolve(law, np.bincount(row - row.min()) / len(row))
    return np.cumsum(law[::-1])[::-1]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_law_is_the_convolution_of_the_rows(m, k, seed):
    rng = np.random.default_rng(seed)
    rows, counts = rng.integers(-9, 30, (m, k)), rng.integers(1, 4, m)
    law, lowest = RowSum(rows, counts), int(counts @ rows.min(axis=-1))
    expected = convolved(rows, counts)
    for place, p in enumerate(expected):
        if p > 0:
            assert law.log_sf(lowest + place) == pytest.approx(math.log(p), rel=1e-7, abs=1e-9)
    assert law.log_sf(lowest - 1) == 0.0
    assert law.log_sf(lowest + len(expected)) == -math.inf


def test_far_tails_of_heavy_scores():
    """Down to 1e-25, where one large score, or two, make the sum."""
    rng = np.random.default_rng(0)
    rows = np.rint(100 * np.exp(2 * rng.standard_normal((4, 64)))).astype(int)
    counts = np.array([3, 1, 5, 2])
    law, expected = RowSum(rows, counts), convolved(rows, counts)
    lowest = int(counts @ rows.min(axis=-1))
    for place in np.linspace(1, len(expected) - 1, 30).astype(int):
        if expected[place] > 1e-25:
            assert law.log_sf(lowest + place) == pytest.approx(math.log(expected[place]), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 6, 20])
def test_outliers_of_few_tokens_count(count):
    """Log-normal scores reach beyond 12 deviations: at p near .3 they are a part of it."""
    for seed in range(8):
        tokens = np.arange(count)
        rows = np.rint(100 * HEAVY.rows(tokens, random_key(np.random.default_rng(seed)))).astype(np.int64)
        law, expected = RowSum(rows, np.ones(count, dtype=int)), convolved(rows, np.ones(count, dtype=int))
        lowest = int(rows.min(axis=-1).sum())
        for p in (0.9, 0.5, 0.4, 0.3, 0.2, 0.1, 0.01, 1e-4):
            place = min(int(np.searchsorted(-expected, -p)), len(expected) - 1)
            assert law.log_sf(lowest + place) == pytest.approx(math.log(expected[place]), abs=1e-7), p


@pytest.mark.parametrize("tokens", [[0, 1, 2, 3], [0, 1, 0, 1], [2, 2, 2, 2]], ids=str)
def test_null_law_of_a_text_by_enumeration(tokens):
    """Over all values of s at its four tokens under one key's table."""
    scores = RandomScores("lognormal", 7)
    prf = random_key(np.random.default_rng(1), 1)
    evidence = Evidence(tokens, prf)
    # Contexts do not matter here: all four count.
    evidence.index = np.arange(4)
    detector = TableSum.of(evidence, scores)
    rows = scores.rows(np.array(tokens), prf)
    side = np.array(list(itertools.product(range(7), repeat=4)))
    numbers = Given(scores={Stream.SHARED: rows[np.arange(4), side].ravel()})
    sums = detector.contributions(numbers).reshape(-1, 4).sum(axis=1)
    for value in np.unique(sums)[::50]:
        assert detector.log_p(float(value), 4) == pytest.approx(math.log((sums >= value).mean()), rel=1e-9)


@pytest.mark.parametrize("streams", [(Stream.SHARED,), BOTH], ids=len)
def test_false_positives_under_random_keys(streams):
    """p-values are uniform, on texts of few tokens that repeat themselves."""
    rng = np.random.default_rng(3)
    p = []
    for _ in range(200):
        evidence = Evidence(phrases(rng, 9), random_key(rng))
        p.append(math.exp(detect(TableSum.of(evidence, HEAVY, streams), evidence).log_p))
    assert stats.kstest(p, "uniform").pvalue > ALPHA
    assert stats.binomtest(int(np.sum(np.array(p) <= 0.05)), len(p), 0.05).pvalue > ALPHA


def test_the_z_test_convicts_too_many_whatever_the_table():
    """Its threshold for 1e-3 at 100 tokens has a probability above 3e-3, exactly, in text after text."""
    rng = np.random.default_rng(4)
    threshold = 100 * stats.norm.isf(1e-3) * math.sqrt(100)
    for repeated in (False, True):
        tokens = rng.permutation(102) if not repeated else rng.integers(0, 30, 102)
        evidence = Evidence(tokens, KeyedPrf(random_key(rng).key, 2))
        count = len(evidence)
        law = TableSum.of(evidence, RandomScores("lognormal", 1024))
        assert law.log_p(threshold * math.sqrt(count / 100), count) > math.log(3e-3)


def test_threshold_is_the_least_sum_that_is_rare_enough():
    rng = np.random.default_rng(5)
    evidence = Evidence(rng.integers(0, 20, 60), random_key(rng))
    detector = TableSum.of(evidence, HEAVY)
    for count in (1, len(evidence)):
        total = detector.threshold(count, 0.01)
        assert detector.log_p(total, count) <= math.log(0.01) < detector.log_p(total - 1, count)


def test_watermarked_text_is_found():
    rng = np.random.default_rng(6)
    prf, p = random_key(rng), np.full(50, 1 / 50)
    text = written(heavy_water("lognormal", 256), p, 120, prf, Stream.SHARED, 1)
    evidence = Evidence(text, prf)
    assert detect(TableSum.of(evidence, HEAVY), evidence).log_p < math.log(1e-9)


def test_streams_are_named():
    with pytest.raises(ValueError, match="streams must name at least one"):
        TableSum.of(Evidence([1, 2, 3], random_key(np.random.default_rng(0))), HEAVY, ())
