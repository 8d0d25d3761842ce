"""Expected scores and power: closed forms, and simulated watermarks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special

from tests.support import Z, assert_within
from tradeoff.detection.power import (
    expected_score,
    power,
    probabilities_of_entropy,
    score_variance,
    tokens_needed,
)
from tradeoff.simplex import entropy

PROFILES = [np.array([0.05, 0.4, 0.9, 1.0]), np.array([0.7, 0.95, 1.0])]


@pytest.mark.parametrize("p", [1e-4, 0.03, 0.5, 0.99, 1.0])
def test_moments_of_the_score(p):
    """sum_k 1/(k (1 + k p)) for the mean, and integrals over U = exp(-p t) for both."""
    k = np.arange(1, 2_000_000)
    # Beyond k = n the terms are below 1/(p k^2), 1/(p n) together.
    assert expected_score(p) == pytest.approx((1 / (k * (1 + k * p))).sum(), abs=1 / (p * len(k)) + 1e-9)

    def moment(power):
        def of_time(t):
            return math.exp(-t) * (-math.log(-math.expm1(-p * t))) ** power

        return integrate.quad(of_time, 0, 1, limit=500)[0] + integrate.quad(of_time, 1, 60, limit=500)[0]

    assert expected_score(p) == pytest.approx(moment(1), rel=1e-6)
    assert score_variance(p) == pytest.approx(moment(2) - moment(1) ** 2, rel=1e-5)


def test_a_certain_token_scores_like_any_other():
    """Exp(1), which has mean and variance 1; less certain ones score more."""
    assert expected_score(1.0) == pytest.approx(1)
    assert score_variance(1.0) == pytest.approx(1)
    p = np.linspace(0.001, 1, 500)
    assert expected_score(p).shape == score_variance(p).shape == p.shape
    assert (np.diff(expected_score(p)) < 0).all()


@pytest.mark.parametrize("tokens", [1, 8, 40])
@pytest.mark.parametrize("fpr", [0.01, 0.1])
def test_power_is_the_rate_at_which_simulated_texts_are_detected(tokens, fpr):
    rng = np.random.default_rng(1)
    texts, rates = 40_000, []
    threshold = special.gammainccinv(tokens, fpr)
    for profile in PROFILES:
        p = rng.choice(profile, (texts, tokens))
        scores = -np.log(-np.expm1(-p * rng.exponential(size=p.shape)))
        rates.append((scores.sum(axis=1) >= threshold).mean())
        predicted = power([profile], tokens, fpr)
        # Probabilities are binned to 1% and scores to a grid of 0.03: 0.003 of the power.
        error = math.sqrt(predicted * (1 - predicted) / texts)
        assert abs(rates[-1] - predicted) <= Z * error + 0.003
    both = power(PROFILES, tokens, fpr)
    assert both == pytest.approx(np.mean([power([profile], tokens, fpr) for profile in PROFILES]))


def test_power_without_entropy_is_the_false_positive_rate():
    for tokens in (1, 30, 400):
        assert power([np.ones(3)], tokens, 0.05) == pytest.approx(0.05, rel=0.03)


def test_power_of_one_token_in_closed_form():
    """P(-log(1 - U) >= -log fpr) = 1 - (1 - fpr)^(1/p)."""
    for p in (0.05, 0.5):
        assert power([np.array([p])], 1, 0.01) == pytest.approx(1 - 0.99 ** (1 / p), abs=0.002)


@pytest.mark.parametrize(("tpr", "fpr"), [(0.5, 0.01), (0.95, 0.01), (0.9, 1e-6)])
def test_fewest_tokens(tpr, fpr):
    found = tokens_needed(PROFILES, tpr, fpr)
    assert power(PROFILES, found, fpr) >= tpr > power(PROFILES, found - 1, fpr)


def test_one_token_may_do():
    """tpr below what one token gives."""
    assert tokens_needed([np.array([1e-6])], 0.9, 0.01) == 1


def test_expected_length_grows_with_certainty():
    lengths = [tokens_needed([np.array([p])]) for p in (0.1, 0.5, 0.8)]
    assert lengths == sorted(set(lengths))
    # A sum of n scores is nearly normal: means n and n mu must lie z_0.99 and z_0.95 deviations apart.
    mu, deviation = float(expected_score(0.8)), math.sqrt(float(score_variance(0.8)))
    normal = ((2.326 + 1.645 * deviation) / (mu - 1)) ** 2
    assert lengths[-1] == pytest.approx(normal, rel=0.1)


def test_no_length_detects_a_text_without_entropy():
    with pytest.raises(ValueError, match="too little entropy"):
        tokens_needed([np.ones(2)])


def test_probability_of_entropy_is_exact_for_uniform_laws():
    for n in (1, 2, 50):
        h = entropy(np.full(n, 1 / n))
        assert_within(float(probabilities_of_entropy(h)), 1 / n, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power([], 10), "profiles are empty"),
        (lambda: power([np.array([])], 10), "probabilities in"),
        (lambda: power([np.array([0.0])], 10), "probabilities in"),
        (lambda: power([np.array([1.5])], 10), "probabilities in"),
        (lambda: power([np.array([[0.5]])], 10), "probabilities in"),
        (lambda: power(PROFILES, 10, 0.0), "fpr=0.0"),
        (lambda: power(PROFILES, 10, 1.0), "fpr=1.0"),
        (lambda: tokens_needed(PROFILES, 0.0), "tpr=0.0"),
        (lambda: tokens_needed(PROFILES, 1.0), "tpr=1.0"),
        (lambda: tokens_needed(PROFILES, fpr=2.0), "fpr=2.0"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
