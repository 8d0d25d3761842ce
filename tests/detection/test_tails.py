"""Tails: against closed forms and exact convolutions, where double precision reaches and far below."""

from __future__ import annotations

import decimal
import itertools
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tradeoff.detection.tails import (
    LatticeSum,
    binomial_log_sf,
    gamma_log_sf,
    gamma_log_sfs,
    weighted_log_sfs,
    weighted_threshold,
)


@given(st.integers(1, 500), st.floats(0.0, 4.0))
def test_gamma_agrees_with_scipy(shape, ratio):
    """Wherever scipy, which takes the logarithm of the tail, does not underflow."""
    x = ratio * shape
    reference = stats.gamma.logsf(x, shape)
    assume(reference > -700)
    assert gamma_log_sf(x, shape) == pytest.approx(reference, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("x", [0.5, 30.0, 700.0, 5_000.0, 1e6])
def test_gamma_of_few_terms_in_closed_form(x):
    """exp(-x), exp(-x) (1 + x) and exp(-x) (1 + x + x^2/2), past where probabilities underflow."""
    assert gamma_log_sf(x, 1) == pytest.approx(-x, rel=1e-13)
    assert gamma_log_sf(x, 2) == pytest.approx(math.log1p(x) - x, rel=1e-13)
    assert gamma_log_sf(x, 3) == pytest.approx(math.log1p(x + x * x / 2) - x, rel=1e-13)


@pytest.mark.parametrize(("shape", "x"), [(50, 1_500.0), (400, 3_000.0), (1_000, 20_000.0)])
def test_gamma_below_underflow_in_exact_fractions(shape, x):
    """exp(-x) sum x^k / k! with the sum in whole numbers."""
    total, term = Fraction(0), Fraction(1)
    for k in range(shape):
        total += term
        term *= Fraction(int(x), k + 1)
    log_total = math.log(total.numerator // total.denominator)
    assert gamma_log_sf(x, shape) == pytest.approx(log_total - x, rel=1e-12)
    assert log_total - x < -690


def test_gamma_at_the_edges():
    assert gamma_log_sf(0.0, 5) == gamma_log_sf(-1.0, 5) == gamma_log_sf(0.0, 0) == 0.0
    assert gamma_log_sf(1e-9, 0) == -math.inf


@given(st.integers(1, 60), st.floats(0.01, 300), st.floats(1.001, 2))
def test_gamma_falls_with_the_score_and_rises_with_the_count(shape, x, factor):
    # To rounding: near 1 neighbouring probabilities have one logarithm.
    assert gamma_log_sf(x * factor, shape) <= gamma_log_sf(x, shape) + 1e-15
    assert gamma_log_sf(x, shape) <= 0
    assert gamma_log_sf(x, shape + 1) >= gamma_log_sf(x, shape)


def weighted_in_fractions(sums: list[float], shape: int, alpha: float) -> list[float]:
    """log P((1 - alpha) G + alpha G' >= x) by partial fractions of the transform, with more digits than their
    terms of both signs cancel: sums of Gamma tails of every shape up to `shape`."""
    one, other = Fraction(1) - Fraction(alpha), Fraction(alpha)
    lost = 2 * shape * math.log10(2 * float(max(one, other) / abs(one - other)))
    with decimal.localcontext(prec=math.ceil(lost) + 350):
        totals = [Decimal(0)] * len(sums)
        for of, minus in ((one, other), (other, one)):
            a, b = (Decimal(weight.numerator) / Decimal(weight.denominator) for weight in (of, minus))
            # Of Gamma variables of shape, shape - 1, ... 1.
            weights = [(a / (a - b)) ** shape]
            for k in range(shape - 1):
                weights.append(weights[-1] * (shape + k) * -b / ((a - b) * (k + 1)))
            # A term of their tails belongs to all larger shapes.
            weights = list(itertools.accumulate(weights))[::-1]
            for i, x in enumerate(map(Decimal, sums)):
                term = (-x / a).exp()
                for k, weight in enumerate(weights):
                    totals[i] += weight * term
                    term = term * x / (a * (k + 1))
        return [float(total.ln()) for total in totals]


@pytest.mark.parametrize(
    ("shape", "alpha"),
    [(t, alpha) for t in (1, 2, 7, 50) for alpha in (0.001, 0.01, 0.1, 0.3, 0.499, 0.9)]
    + [(250, alpha) for alpha in (0.001, 0.1, 0.3)]
    + [pytest.param(2_000, alpha, marks=pytest.mark.slow) for alpha in (0.001, 0.1, 0.3)],
)
def test_weighted_sums_in_many_digits(shape, alpha):
    """From 1 to 1e-300, to 1e-10 in the logarithm; thresholds lie where the tail is that small."""
    levels = [0.9, 0.01, 1e-6, 1e-40, 1e-150, 1e-300]
    found = [weighted_threshold(level, shape, 1 - alpha, alpha) for level in levels]
    around = [shape * (1 + z / math.sqrt(shape)) for z in (-0.999, -0.9, -0.3, -1e-9, 0.0, 1e-9, 0.3, 2.0)]
    sums = [*around, *found]
    reference = weighted_in_fractions(sums, shape, alpha)
    tails = weighted_log_sfs(np.array(sums), shape, 1 - alpha, alpha)
    np.testing.assert_allclose(tails, reference, rtol=0, atol=1e-10)
    np.testing.assert_allclose(reference[len(around) :], np.log(levels), rtol=0, atol=1e-9)
    # It does not matter which comes first.
    np.testing.assert_allclose(weighted_log_sfs(np.array(sums), shape, alpha, 1 - alpha), tails, atol=1e-12)


@given(st.integers(1, 3_000), st.floats(0.0, 40.0), st.floats(0.01, 10.0))
def test_weights_that_are_equal_give_a_gamma_variable(shape, ratio, weight):
    x = np.array([2 * shape * ratio])
    reference = gamma_log_sfs(x, 2 * shape)
    tails = weighted_log_sfs(weight * x, shape, weight, weight)
    np.testing.assert_allclose(tails, reference, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("small", [1e-9, 1e-16, 1e-300])
def test_a_weight_of_nearly_nothing_leaves_one_gamma_variable(small):
    x = np.array([0.1, 20.0, 30.0, 500.0])
    np.testing.assert_allclose(weighted_log_sfs(x, 20, 1.0, small), gamma_log_sfs(x, 20), atol=1e-6)


def test_weighted_sums_at_the_edges():
    tails = weighted_log_sfs(np.array([-1.0, 0.0, 5e-324, 1e-40]), 3, 0.9, 0.1)
    np.testing.assert_array_equal(tails[:2], 0.0)
    np.testing.assert_allclose(tails[2:], 0.0, rtol=0, atol=1e-80)
    assert weighted_log_sfs(np.zeros(0), 3, 0.9, 0.1).shape == (0,)
    # One exponential variable is left far out: a/(a - b) exp(-x/a).
    far = float(weighted_log_sfs(np.array([1e9]), 1, 0.9, 0.1)[0])
    assert far == pytest.approx(math.log(0.9 / 0.8) - 1e9 / 0.9, rel=1e-15)
    # More sums than are in memory at a time.
    many = np.linspace(0.0, 50.0, 3_000)
    tails = weighted_log_sfs(many, 10, 0.7, 0.3)
    np.testing.assert_array_equal(tails[::999], weighted_log_sfs(many[::999], 10, 0.7, 0.3))
    assert (np.diff(tails) <= 1e-14).all()


@given(st.integers(0, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(-2, n + 2))))
def test_binomial_counts_subsets(case):
    """The share of the 2^n subsets with at least k elements."""
    n, k = case
    subsets = sum(math.comb(n, j) for j in range(max(k, 0), n + 1))
    expected = math.log(subsets) - n * math.log(2) if subsets else -math.inf
    assert binomial_log_sf(k, n) == pytest.approx(expected, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("n", [1_100, 30_000])
def test_binomial_below_underflow(n):
    """2^-n (1 + n + n (n - 1)/2) for at least n - 2 of n."""
    expected = math.log(1 + n + n * (n - 1) // 2) - n * math.log(2)
    assert expected < -700
    assert binomial_log_sf(n - 2, n) == pytest.approx(expected, rel=1e-12)


@st.composite
def whole_laws(draw) -> tuple[int, np.ndarray]:
    """(lowest value, weights of it and the whole numbers above), some of them 0 or tiny."""
    weights = draw(st.lists(st.sampled_from([0.0, 1e-6, 0.01, 0.3, 1.0]), min_size=2, max_size=7))
    weights[0], weights[-1] = max(weights[0], 0.01), max(weights[-1], 1e-6)
    return draw(st.integers(-5, 5)), np.array(weights)


@given(whole_laws(), st.integers(1, 7))
def test_lattice_law_equals_the_exact_convolution(law, count):
    """At every value a sum can have, and just outside."""
    low, weights = law
    exact = np.ones(1)
    for _ in range(count):
        exact = np.convolve(exact, weights / weights.sum())
    tail = np.cumsum(exact[::-1])[::-1]
    lattice = LatticeSum(np.arange(low, low + len(weights)), weights, points=None)
    for k, p in enumerate(tail):
        assert lattice.log_sf(count * low + k, count) == pytest.approx(math.log(p), rel=1e-8, abs=1e-10)
    assert lattice.log_sf(count * low - 1, count) == 0.0
    assert lattice.log_sf(count * low + len(tail), count) == -math.inf
    assert lattice.mean == pytest.approx(low + np.arange(len(weights)) @ weights / weights.sum())


@pytest.mark.parametrize("n", [1, 10, 300, 5_000])
def test_lattice_of_fair_bits_is_binomial(n):
    """Over the whole range; for 5,000 bits that is down to 1e-1505."""
    lattice = LatticeSum(np.array([0, 1]), np.ones(2), points=None)
    for k in np.unique(np.linspace(0, n, 23).astype(int)):
        expected = binomial_log_sf(int(k), n)
        assert lattice.log_sf(float(k), n) == pytest.approx(expected, rel=1e-9, abs=1e-11)


def test_lattice_at_its_largest_value():
    """There the tail is one term: the weight to the power of the count."""
    lattice = LatticeSum(np.arange(4), np.array([0.9, 0.09, 0.009, 0.001]), points=None)
    for n in (1, 100, 1_000):
        assert lattice.log_sf(3 * n, n) == pytest.approx(n * math.log(0.001), rel=1e-9)


@given(whole_laws(), st.integers(1, 60), st.floats(1e-12, 0.9))
def test_threshold_is_the_smallest_total_that_is_rare_enough(law, count, p):
    low, weights = law
    lattice = LatticeSum(np.arange(low, low + len(weights)), weights, points=None)
    total = lattice.threshold(math.log(p), count)
    assert total == pytest.approx(round(total), abs=1e-9)
    assert lattice.log_sf(total, count) <= math.log(p)
    assert lattice.log_sf(total - 1, count) > math.log(p)


@pytest.fixture(scope="module")
def exponential() -> LatticeSum:
    edges = np.concatenate([[0.0], np.geomspace(1e-6, 60.0, 4000)])
    return LatticeSum((edges[1:] + edges[:-1]) / 2, -np.diff(np.exp(-edges)))


@pytest.mark.parametrize("count", [1, 5, 30, 300])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5, 3.0, 8.0])
def test_continuous_law_on_a_lattice(exponential, count, ratio):
    """Sums of Exp(1) are Gamma: the lattice, of step 0.03, costs little of the logarithm."""
    reference = gamma_log_sf(ratio * count, count)
    assert exponential.log_sf(ratio * count, count) == pytest.approx(reference, rel=1e-4, abs=5e-3)


@pytest.mark.parametrize("count", [1, 20, 300])
@pytest.mark.parametrize("p", [0.5, 0.01, 1e-12])
def test_threshold_of_a_continuous_law(exponential, count, p):
    """Within a lattice step (0.03) of the Gamma law's."""
    total = exponential.threshold(math.log(p), count)
    assert total == pytest.approx(stats.gamma.isf(p, count), abs=0.04, rel=1e-4)
    assert exponential.log_sf(total, count) == pytest.approx(math.log(p), abs=0.04)


def test_no_tokens_are_the_point_mass_at_zero(exponential):
    assert exponential.log_sf(0.0, 0) == 0.0
    assert exponential.log_sf(1e-9, 0) == -math.inf


def test_a_constant_score_says_nothing():
    """A detector whose every score is 0 must not reject."""
    assert LatticeSum(np.zeros(5), np.ones(5)).log_sf(0.0, 30) == 0.0


@pytest.mark.parametrize(
    ("values", "weights"),
    [([0.0, np.inf], [1, 1]), ([np.nan], [1]), ([0.0, 1.0], [-1, 2]), ([0.0, 1.0], [0, 0])],
)
def test_what_is_no_law_is_refused(values, weights):
    with pytest.raises(ValueError, match="finite"):
        LatticeSum(np.array(values), np.array(weights))
