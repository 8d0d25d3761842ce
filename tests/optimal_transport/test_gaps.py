"""Detection gaps: closed forms against linear programmes, tail integrals against other quadratures."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from tests.helpers.support import assert_within, distributions
from tests.optimal_transport.test_solvers import programme
from tradeoff.decoders import SimplexScores
from tradeoff.laws import entropy
from tradeoff.optimal_transport.gaps import (
    GUMBEL_DEVIATION,
    LAWS,
    binary_gap,
    crossing,
    equal_weight_gap,
    estimated_gap,
    gumbel_sampling_gap,
    gumbel_scores_gap,
    pair_frequencies,
    simplex_gap,
    sorted_gap,
    two_atom_gap,
    worst_pair_gap,
    zero_word_gap,
)
from tradeoff.optimal_transport.scores import seeded_table
from tradeoff.optimal_transport.solvers import Exact, detection_gap

LAMBDAS = (0.5, 0.6, 0.75, 0.9, 0.99)


@settings(max_examples=60)
@given(
    words=st.integers(1, 10).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 1), min_size=k, max_size=k), min_size=2, max_size=2)
    ),
    lam=st.floats(0.5, 1),
)
def test_two_atoms_are_the_optimum_of_the_linear_programme(words, lam):
    code = np.array(words, dtype=float)
    a = pair_frequencies(code)
    optimum = programme(np.array([lam, 1 - lam]), code)
    assert float(two_atom_gap(lam, a[0, 1], a[1, 0])) == pytest.approx(optimum, abs=1e-9)
    assert sorted_gap(lam, *code) == pytest.approx(optimum, abs=1e-9)


@settings(max_examples=60)
@given(lam=st.floats(0.5, 0.999), k=st.integers(2, 40), seed=st.integers(0, 2**32))
def test_sorting_is_the_exact_transport_of_two_tokens(lam, k, seed):
    p, scores = np.array([lam, 1 - lam]), np.random.default_rng(seed).lognormal(size=(2, k))
    gap = detection_gap(p, scores, Exact()(p, scores))
    assert sorted_gap(lam, *scores) == pytest.approx(gap, abs=1e-9)


@pytest.mark.parametrize("lam", LAMBDAS)
def test_equal_weights_and_the_simplex_code_with_and_without_its_zero_word(lam):
    k = 7
    code = SimplexScores(3).rows(np.arange(k), seeded_table(0))
    assert float(worst_pair_gap(lam, code)) == pytest.approx(min(1 - lam, (k + 1) / (4 * k)))
    assert float(simplex_gap(lam, k)) == pytest.approx(min(1 - lam, (k + 1) / (4 * k)))
    a = pair_frequencies(code)
    off = ~np.eye(k, dtype=bool)
    assert (a[off] == (k + 1) / (4 * k)).all()
    assert two_atom_gap(lam, a, a.T)[off] == pytest.approx(float(equal_weight_gap(lam, (k + 1) / 2, k)))
    with_zero = np.concatenate([np.zeros((1, k)), code])
    m = k + 1
    assert float(worst_pair_gap(lam, with_zero)) == pytest.approx((1 - lam) * (m - 2) / (2 * (m - 1)))
    assert float(zero_word_gap(lam, m)) == pytest.approx(float(worst_pair_gap(lam, with_zero)))
    # The heavy token's word is the zero word in the worst pair, not the light one's.
    b = (k + 1) / (2 * k)
    assert float(two_atom_gap(lam, 0.0, b)) == pytest.approx(float(zero_word_gap(lam, m)))
    # (Halves are the same law either way.)
    swapped = float(two_atom_gap(lam, b, 0.0)) - float(zero_word_gap(lam, m))
    assert swapped > 0.1 * (1 - lam) or (lam == 0.5 and swapped == pytest.approx(0))


@settings(max_examples=60)
@given(p=distributions(n=4), q=distributions(n=4), seed=st.integers(0, 2**32), share=st.floats(0, 1))
def test_the_gap_is_concave_in_the_law(p, q, seed, share):
    scores = np.random.default_rng(seed).integers(0, 2, size=(4, 6)).astype(float)

    def gap(law):
        return detection_gap(law, scores, Exact()(law, scores))

    mixed = share * p + (1 - share) * q
    assert gap(mixed) >= share * gap(p) + (1 - share) * gap(q) - 1e-9


@settings(max_examples=60)
@given(p=distributions(n=4), seed=st.integers(0, 2**32))
def test_no_law_with_a_smaller_largest_mass_does_worse_than_two_atoms(p, seed):
    code = np.random.default_rng(seed).integers(0, 2, size=(4, 6)).astype(float)
    lam = max(0.5, float(p.max()))
    assert detection_gap(p, code, Exact()(p, code)) >= float(worst_pair_gap(lam, code)) - 1e-9


def test_no_four_words_of_three_bits_do_better_than_the_simplex_code_with_its_zero_word():
    codes = np.array(list(itertools.product(itertools.product([0, 1], repeat=3), repeat=4)))
    assert codes.shape == (4096, 4, 3)
    simplex = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    for lam in LAMBDAS:
        assert float(worst_pair_gap(lam, codes).max()) == pytest.approx(float(worst_pair_gap(lam, simplex)))
        assert float(worst_pair_gap(lam, simplex)) == pytest.approx((1 - lam) / 3)


def _by_quad(law, lam: float) -> float:
    """The tail integral over u, adaptively, without the dual's help."""
    q = law.difference_quantile(lam)

    def above(u: float) -> float:
        x = law.quantile(np.float64(u))
        # E[X' - x; X' > x + t] = excess + t survival, in raw units.
        t = law.deviation * q
        return float(law.excess(x + t) + t * law.survival(x + t)) / law.deviation

    return integrate.quad(above, 0, 1, epsabs=1e-13, epsrel=1e-12, limit=2_000)[0]


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("lam", LAMBDAS)
def test_tail_integrals_by_another_quadrature(name, lam):
    law = LAWS[name]
    assert law.gap(lam) == pytest.approx(_by_quad(law, lam), abs=1e-11)
    assert law.gap(lam) == pytest.approx(float(law.tail_integral(law.difference_quantile(lam))), abs=1e-11)
    assert float(law.exceedance(law.difference_quantile(lam))) == pytest.approx(1 - lam, abs=1e-11)


@pytest.mark.parametrize("lam", LAMBDAS)
def test_closed_forms(lam):
    """A difference of normals is normal; one of Gumbels is logistic, whose tail integral is the entropy."""
    normal = math.sqrt(2) * stats.norm.pdf(stats.norm.ppf(lam))
    assert LAWS["gaussian"].gap(lam) == pytest.approx(normal, abs=1e-13)
    assert LAWS["gumbel"].gap(lam) == pytest.approx(float(gumbel_scores_gap([lam, 1 - lam])), abs=1e-13)
    assert LAWS["gumbel"].difference_quantile(lam) * GUMBEL_DEVIATION == pytest.approx(
        special.logit(lam), abs=1e-10
    )


@pytest.mark.parametrize("name", LAWS)
def test_the_score_laws(name):
    law = LAWS[name]
    reference = {
        "lognormal": stats.lognorm(1),
        "gamma": stats.gamma(0.2),
        "gumbel": stats.gumbel_r(),
        "gaussian": stats.norm(),
    }[name]
    assert (law.mean, law.deviation) == pytest.approx((reference.mean(), reference.std()))
    x = np.array([0.05, 0.5, 2.0, 6.0])
    assert law.survival(x) == pytest.approx(reference.sf(x), rel=1e-10)
    for value in x:
        integral = integrate.quad(reference.sf, value, np.inf, epsabs=1e-13)[0]
        assert float(law.excess(value)) == pytest.approx(integral, rel=1e-7)
    assert law.quantile(reference.cdf(x)) == pytest.approx(x, rel=1e-7)


def test_an_estimate_has_the_error_that_repetition_shows():
    rng, errors, values = np.random.default_rng(7), [], []
    for _ in range(2_000):
        estimate = estimated_gap(0.9, *rng.gumbel(size=(2, 500)))
        values.append(estimate.value)
        errors.append(estimate.standard_error)
    # The variance of a sample of 2,000 has a relative error of 3%, and Gumbel tails a little more.
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.2)
    raw = float(gumbel_scores_gap([0.9, 0.1])) * GUMBEL_DEVIATION
    # Half of a percent is what 500 values lose.
    assert float(np.mean(values)) == pytest.approx(raw, rel=0.05)


@pytest.mark.parametrize("x", [9.0, 9.3, 40.0])
def test_the_gumbel_excess_has_no_jump_where_its_series_takes_over(x):
    with np.errstate(all="raise"):
        value = float(LAWS["gumbel"].excess(np.array([x]))[0])
    assert value == pytest.approx(integrate.quad(stats.gumbel_r.sf, x, np.inf, epsabs=0)[0], rel=1e-8)


@settings(max_examples=50)
@given(p=distributions(max_n=6))
def test_gumbel_max_in_its_two_statistics(p):
    """Both gaps vanish for a point mass only, and two tokens' scores have their tail integral."""
    scores, sampling = float(gumbel_scores_gap(p)), float(gumbel_sampling_gap(p))
    assert scores * GUMBEL_DEVIATION == pytest.approx(float(entropy(p)), abs=1e-12)
    assert sampling >= -1e-12
    assert (sampling > 1e-9) == (scores > 1e-9) or min(sampling, scores) < 1e-6


def test_gumbel_sampling_in_simulation():
    p, rng = np.array([0.8, 0.15, 0.05]), np.random.default_rng(6)
    u = rng.random((400_000, 3))
    winner = np.take_along_axis(u, np.argmin(-np.log(u) / p, axis=-1)[:, None], axis=-1)[:, 0]
    statistic = -np.log1p(-winner) - 1
    error = float(statistic.std()) / math.sqrt(len(u))
    assert_within(float(statistic.mean()), float(gumbel_sampling_gap(p)), error)
    # Equal halves: the larger of two uniforms, H_2 - 1.
    assert float(gumbel_sampling_gap([0.5, 0.5])) == pytest.approx(0.5)
    assert float(gumbel_sampling_gap([1.0, 0.0])) == pytest.approx(0, abs=1e-15)


def test_binary_scores_are_the_limit_of_the_simplex_code():
    for lam in LAMBDAS:
        k = 2**20 - 1
        deviation = math.sqrt((k + 1) * (k - 1)) / (2 * k)
        assert float(simplex_gap(lam, k)) / deviation == pytest.approx(float(binary_gap(lam)), abs=2e-6)


@pytest.mark.parametrize(("name", "where"), [("gamma", 0.891452), ("lognormal", 0.920575)])
def test_heavy_tails_win_from_their_crossing_on(name, where):
    heavy, gumbel = LAWS[name].gap, LAWS["gumbel"].gap
    at = crossing(heavy, gumbel, 0.7, 0.99)
    assert at == pytest.approx(where, abs=1e-6)
    assert heavy(at) == pytest.approx(gumbel(at), abs=1e-11)
    assert heavy(at + 0.01) > gumbel(at + 0.01)
    assert heavy(at - 0.01) < gumbel(at - 0.01)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: two_atom_gap(0.4, 0.2, 0.2), r"lam=0.4 must lie in \[1/2, 1\]"),
        (lambda: two_atom_gap([0.6, float("nan")], 0.2, 0.2), r"lam=nan must lie"),
        (lambda: two_atom_gap(0.6, -0.1, 0.2), "least value -0.1.*pair_frequencies"),
        (lambda: two_atom_gap(0.6, 0.7, 0.5), "largest sum 1.2"),
        (lambda: worst_pair_gap(0.6, np.ones((1, 3))), "code has 1 words"),
        (lambda: simplex_gap(0.3, 7), "lam=0.3"),
        (lambda: zero_word_gap(1.1, 8), "lam=1.1"),
        (lambda: sorted_gap(0.2, np.zeros(3), np.zeros(3)), "lam=0.2"),
        (lambda: LAWS["gamma"].gap(1.0), "lam=1 has no light token"),
        (lambda: crossing(LAWS["gamma"].gap, LAWS["gumbel"].gap, 0.95, 0.99), "low=0.95 and high=0.99"),
    ],
)
def test_bad_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
