"""The model-aware test: its tail against enumeration and closed forms, and its level for every text."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.support import ALPHA, Z
from tradeoff.detection.tails import binomial_log_sf
from tradeoff.detection.with_models.model_aware import ModelAware, two_point_log_sf


def enumerated(p: np.ndarray, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All sums, falling, and the probability of at least each (less rounding)."""
    hits = np.array(list(itertools.product([False, True], repeat=len(p))))
    sums = np.where(hits, high, low).sum(axis=1)
    weights = np.where(hits, p, 1 - p).prod(axis=1)
    order = np.argsort(-sums)
    return sums[order], np.cumsum(weights[order])


@given(st.integers(0, 1 << 30), st.integers(1, 12))
def test_tail_against_enumeration(seed, count):
    """At totals all over the support, within Z of the standard errors that it reports."""
    rng = np.random.default_rng(seed)
    p = np.exp(-rng.exponential(2.0, count))
    p[rng.random(count) < 0.1] = 1.0
    low = rng.normal(size=count)
    high = low + rng.exponential(size=count) * (rng.random(count) < 0.9)
    sums, tails = enumerated(p, high, low)
    possible = tails > 0
    for place in np.unique(np.linspace(0, possible.sum() - 1, 5).astype(int)):
        total = float(sums[possible][place])
        exact = tails[sums >= total - 1e-9].max()
        tail = two_point_log_sf(total, p, high, low)
        assert abs(math.exp(tail.log_p) / exact - 1) <= Z * max(tail.relative_error, 1e-4) + 1e-9
        assert tail.relative_error < 0.1
    assert two_point_log_sf(float(sums[possible].max()) + 0.01, p, high, low).log_p == -math.inf
    assert two_point_log_sf(float(sums[possible].min()), p, high, low).log_p == 0.0


@pytest.mark.parametrize("count", [5, 300, 3_000])
def test_every_token_a_hit(count):
    """One outcome: the product of the probabilities, below 1e-300 too."""
    p = np.linspace(0.01, 0.9, count)
    test = ModelAware(0.1).test(np.ones(count, dtype=bool), p)
    assert test.log_p == pytest.approx(np.log(p).sum(), rel=1e-6)
    assert count < 3_000 or test.log_p < -700


@pytest.mark.parametrize(("count", "hits"), [(50, 30), (200, 150), (4_000, 3_500)])
def test_equal_probabilities_are_binomial(count, hits):
    """With p = 1/2 at every token the statistic counts hits."""
    scores = np.arange(count) < hits
    result = ModelAware(0.2).test(scores, np.full(count, 0.5))
    assert result.log_p == pytest.approx(binomial_log_sf(hits, count), abs=0.1)


def test_a_token_that_was_certain_says_nothing():
    """P(w) = 1 is a hit under every key: with it or without, the p-value is the same."""
    p, hits = np.array([0.2, 0.5, 0.1]), np.array([True, False, True])
    plain = ModelAware().test(hits, p).log_p
    padded = ModelAware().test(np.append(hits, [True] * 3), np.append(p, np.ones(3))).log_p
    assert padded == pytest.approx(plain, abs=0.05)
    assert ModelAware().test(np.ones(4, dtype=bool), np.ones(4)).log_p == 0.0
    assert ModelAware().test(np.zeros(0, dtype=bool), np.zeros(0)).log_p == 0.0


def test_impossible_tokens_are_misses():
    """A token that sampling excludes (top-k) can be no hit, and counts as nothing else."""
    p, hits = np.array([0.0, 0.5, 0.25]), np.array([False, True, True])
    assert ModelAware().test(hits, p).log_p == pytest.approx(math.log(0.125), abs=1e-6)


def test_scores_are_log_likelihood_ratios():
    """(1 - epsilon) / P + epsilon at hits, epsilon elsewhere; a ratio has mean 1 without a watermark."""
    p = np.array([0.001, 0.3, 1.0])
    for epsilon in (0.01, 0.5):
        test = ModelAware(epsilon)
        hit, miss = np.exp(test.log_ratio(np.ones(3, bool), p)), np.exp(test.log_ratio(np.zeros(3, bool), p))
        np.testing.assert_allclose(hit, (1 - epsilon) / p + epsilon)
        np.testing.assert_allclose(miss, epsilon)
        np.testing.assert_allclose(p * hit + (1 - p) * miss, 1)
    result = ModelAware().test(np.array([True, False]), np.array([0.5, 0.5]), np.array([4, 9]))
    assert result.index.tolist() == [4, 9]
    assert result.tokens_scored == 2
    assert result.statistic == pytest.approx(math.log(1.9) + math.log(0.1))
    assert ModelAware().test(np.array([True, False]), np.array([0.5, 0.5])).index.tolist() == [0, 1]


def test_false_positives_for_a_fixed_text():
    """A random key hits token t with probability P(w_t): p-values of all 2^10 outcomes are their tails,

    so the level is kept at every threshold, up to the error of the simulation.
    """
    p = np.array([0.9, 0.7, 0.5, 0.5, 0.3, 0.3, 0.2, 0.1, 0.05, 0.01])
    test = ModelAware(0.1)
    rng = np.random.default_rng(1)
    hits = rng.random((1_500, len(p))) < p
    kinds, counts = np.unique(hits, axis=0, return_counts=True)
    values = np.array([test.test(kind, p).log_p for kind in kinds])
    for level in (0.01, 0.1, 0.5):
        rejected = int(counts[values <= math.log(level)].sum())
        # 2% stands for the error of the simulated tails.
        assert stats.binomtest(rejected, len(hits), level * 1.02, alternative="greater").pvalue > ALPHA
        assert rejected > 0


def test_reproducible_and_seeded():
    p = np.linspace(0.05, 0.6, 40)
    high, low = -np.log(p), np.full(40, -2.0)
    first, again = (two_point_log_sf(-20.0, p, high, low) for _ in range(2))
    assert first == again
    other = two_point_log_sf(-20.0, p, high, low, seed=1)
    assert other != first
    assert abs(other.log_p - first.log_p) <= Z * 1.5 * (first.relative_error + other.relative_error)


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -0.1, math.nan])
def test_bad_allowances_are_refused(epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        ModelAware(epsilon)
