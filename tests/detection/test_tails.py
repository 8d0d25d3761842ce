"""Tails: against closed forms and exact convolutions, where double precision reaches and far below."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tradeoff.detection.tails import LatticeSum, binomial_log_sf, gamma_log_sf


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
