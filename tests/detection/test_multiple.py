"""Corrections for many tests: their definitions, and the errors that they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.support import ALPHA
from tradeoff.detection import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(-50, 0), min_size=1, max_size=12).map(np.array)


@given(P_VALUES)
def test_holm_is_the_closed_bonferroni_test(log_p: np.ndarray) -> None:
    """A hypothesis is rejected if every intersection of hypotheses with it is, each by Bonferroni's test."""
    log_p = log_p[:7]
    indices = range(len(log_p))
    for i, corrected in enumerate(holm(log_p)):
        largest = max(
            min(0.0, math.log(len(some)) + min(log_p[j] for j in some))
            for size in range(1, len(log_p) + 1)
            for some in itertools.combinations(indices, size)
            if i in some
        )
        assert math.isclose(corrected, largest, abs_tol=1e-12)


@given(P_VALUES)
def test_benjamini_hochberg_against_scipy(log_p: np.ndarray) -> None:
    expected = stats.false_discovery_control(np.exp(log_p))
    np.testing.assert_allclose(np.exp(benjamini_hochberg(log_p)), expected, rtol=1e-9)


def test_family_wise_error_and_false_discoveries() -> None:
    """Of 20 tests 12 are null; errors at the level 10%."""
    rng, runs, level = np.random.default_rng(0), 4000, math.log(0.1)
    null = np.arange(20) < 12
    shifts = np.where(null, 0.0, 2.5)
    log_p = stats.norm.logsf(rng.normal(size=(runs, 20)) + shifts)
    any_false = sum(bool((holm(row)[null] <= level).any()) for row in log_p)
    assert stats.binomtest(any_false, runs, 0.1, "greater").pvalue > ALPHA
    called = [benjamini_hochberg(row) <= level for row in log_p]
    shares = [(one & null).sum() / max(one.sum(), 1) for one in called]
    # The rate is the level times the share of null tests, exactly, as they are independent.
    error = np.std(shares) / math.sqrt(runs)
    assert abs(np.mean(shares) - 0.1 * 12 / 20) < stats.norm.isf(ALPHA / 2) * error


def test_one_test_and_none() -> None:
    for correct in (holm, benjamini_hochberg):
        assert correct(np.array([-3.0])).tolist() == [-3.0]
        assert correct(np.zeros(0)).tolist() == []
