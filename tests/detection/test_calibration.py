"""Thresholds that keep their word for every law, ROC curves, and exact intervals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.support import ALPHA
from tradeoff.detection.calibration import null_threshold, rate, roc

scores = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


@given(scores, st.sampled_from([0.1, 0.2, 0.25, 1 / 3, 0.5, 0.9]))
def test_threshold_holds_for_exchangeable_scores(values, fpr):
    """Any one of n + 1 scores may be the further one: it exceeds the threshold of the others in few cases."""
    exceeded = 0
    for held in range(len(values)):
        others = values[:held] + values[held + 1 :]
        exceeded += values[held] > null_threshold(np.array(others), fpr)
    assert exceeded <= fpr * len(values) + 1e-9


@pytest.mark.parametrize(("n", "fpr"), [(3, 0.25), (4, 0.2), (5, 0.5), (6, 0.3)])
def test_threshold_by_enumeration(n, fpr):
    """Over all orders of n + 1 distinct scores the rate is floor(fpr (n + 1)) / (n + 1), no less."""
    orders = list(itertools.permutations(range(n + 1)))
    exceeded = sum(order[-1] > null_threshold(np.array(order[:-1]), fpr) for order in orders)
    assert exceeded / len(orders) == pytest.approx(math.floor(fpr * (n + 1) + 1e-9) / (n + 1))


def test_threshold_by_simulation():
    """Over draws of null scores and of a further one: 3 of 300 exceed it, by 299 null scores."""
    rng = np.random.default_rng(1)
    null, further = rng.exponential(size=(4_000, 299)), rng.exponential(size=4_000)
    exceeded = [x > null_threshold(row, 0.01) for x, row in zip(further, null, strict=True)]
    assert stats.binomtest(sum(exceeded), len(exceeded), 0.01).pvalue > ALPHA


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.1])
def test_too_few_null_scores_admit_no_threshold(fpr):
    """Fewer than 1/fpr - 1 of them; with that many it is the largest."""
    enough = round(1 / fpr) - 1
    assert null_threshold(np.arange(enough - 1), fpr) == math.inf
    assert null_threshold(np.arange(enough), fpr) == enough - 1
    assert null_threshold(np.array([]), fpr) == math.inf


@pytest.mark.parametrize("fpr", [0.0, 1.0, -0.1, math.nan])
def test_bad_rates_are_refused(fpr):
    with pytest.raises(ValueError, match="fpr"):
        null_threshold(np.arange(100), fpr)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        null_threshold(np.array([0.0, math.nan]), 0.5)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_is_that_of_clopper_and_pearson(case):
    """The rates under which as many hits, or as few, are just not too unlikely."""
    hits, n = case
    for level in (0.95, 0.99):
        found = rate(np.arange(n) < hits, level)
        tail = (1 - level) / 2
        assert found.value == hits / n
        assert found.texts == n
        assert found.low <= found.value <= found.high
        assert found.low == (0 if hits == 0 else pytest.approx(stats.beta.ppf(tail, hits, n - hits + 1)))
        assert found.high == (1 if hits == n else pytest.approx(stats.beta.isf(tail, hits + 1, n - hits)))
        if hits:
            assert stats.binom.sf(hits - 1, n, found.low) == pytest.approx(tail, rel=1e-6)


def test_rate_as_words():
    assert str(rate(np.array([True, False]))) == "0.500 (0.013 to 0.987)"
    with pytest.raises(ValueError, match="at least one text"):
        rate(np.array([]))


@given(scores, scores)
def test_roc_counts_what_exceeds_each_threshold(null, marked):
    """Ascending from (0, 0) to (1, 1); its points are those of all thresholds, and its area is a rank sum."""
    x, y = roc(np.array(null), np.array(marked))
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    points = {
        (sum(v > t for v in null) / len(null), sum(v > t for v in marked) / len(marked))
        for t in (-1.0, *range(7), 7.0)
    }
    found = list(zip(x.tolist(), y.tolist(), strict=True))
    for point in points:
        assert any(point == pytest.approx(other) for other in found)
    for other in found:
        assert any(other == pytest.approx(point) for point in points)
    area = np.trapezoid(y, x)
    wins = np.mean([(m > v) + 0.5 * (m == v) for m in marked for v in null])
    assert area == pytest.approx(wins)


@pytest.mark.parametrize(("null", "marked"), [([], [1.0]), ([1.0], [])])
def test_roc_needs_both_kinds_of_texts(null, marked):
    with pytest.raises(ValueError, match="with and without"):
        roc(np.array(null), np.array(marked))
