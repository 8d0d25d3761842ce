"""Expected scores and power: closed forms, inverted characteristic functions, and simulated watermarks."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from scipy import integrate, special

from tests.helpers.support import Z, assert_within
from tradeoff.detection.forecast import (
    Forecast,
    expected_score,
    power,
    probabilities_of_entropy,
    score_variance,
    tokens_needed,
)
from tradeoff.laws import entropy

PROFILES = [np.array([0.05, 0.4, 0.9, 1.0]), np.array([0.7, 0.95, 1.0])]
#: What putting scores on a lattice may cost of the power.
LATTICE = 2e-5
#: Of a text that is nearly certain: 0.0251 nats a token.
SURE = np.exp([-0.0251])


def exact_power(profile: np.ndarray, tokens: int, fpr: float) -> float:
    """P(S >= T) from the characteristic function of S, by Davies' midpoint rule; for 8 tokens and more.

    1 - U = exp(-h) is Beta(1, 1/p): E exp(i x h) = Gamma(1 - ix) Gamma(1 + 1/p) / Gamma(1 + 1/p - ix).
    """
    wins, threshold = 1 / profile, float(special.gammainccinv(tokens, fpr))
    spread = math.sqrt(tokens * float(score_variance(profile).mean() + expected_score(profile).var()))
    # The rule is off by the probability that S lies further from T than half a period.
    step = math.pi / (abs(tokens * float(expected_score(profile).mean()) - threshold) + 40 * spread + 50)
    total, first, size = 0.0, 0, 1 << 12
    while True:
        x = (np.arange(first, first + size) + 0.5) * step
        gammas = special.loggamma(1 + wins) - special.loggamma(1 + wins - 1j * x[:, None])
        phi = np.exp(special.loggamma(1 - 1j * x)) * np.exp(gammas).mean(axis=1)
        if abs(phi[0]) ** tokens < 1e-12:
            return 0.5 + total / math.pi
        total += float((np.imag(np.exp(tokens * np.log(phi) - 1j * x * threshold)) / x).sum()) * step
        first += size


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
        error = math.sqrt(predicted * (1 - predicted) / texts)
        assert abs(rates[-1] - predicted) <= Z * error + LATTICE
    both = power(PROFILES, tokens, fpr)
    assert both == pytest.approx(np.mean([power([profile], tokens, fpr) for profile in PROFILES]))


@pytest.mark.parametrize("tokens", [1, 30, 400, 20_000, 100_000])
@pytest.mark.parametrize("fpr", [0.01, 0.05])
def test_power_without_entropy_is_the_false_positive_rate(tokens, fpr):
    assert power([np.ones(3)], tokens, fpr) == pytest.approx(fpr, abs=LATTICE)


@pytest.mark.parametrize("profile", [*PROFILES, np.array([0.05]), np.array([1e-9, 1e-4, 0.5])])
def test_power_of_one_token_in_closed_form(profile):
    """P(-log(1 - U) >= -log fpr) = 1 - (1 - fpr)^(1/p)."""
    for fpr in (0.01, 0.2):
        exact = -np.expm1(np.log1p(-fpr) / profile).mean()
        assert power([profile], 1, fpr) == pytest.approx(exact, abs=LATTICE)


@pytest.mark.parametrize("profile", PROFILES)
def test_power_of_two_tokens_by_integration(profile):
    """P(h_1 + h_2 < T) is the integral of the density of one at x and the distribution function at T - x."""
    threshold = float(special.gammainccinv(2, 0.01))

    def density(x):
        return float(((-math.expm1(-x)) ** (1 / profile - 1) / profile).mean()) * math.exp(-x)

    def cdf(x):
        return float(((-math.expm1(-x)) ** (1 / profile)).mean())

    below = integrate.quad(lambda x: density(x) * cdf(threshold - x), 0, threshold, epsabs=1e-10)[0]
    assert power([profile], 2, 0.01) == pytest.approx(1 - below, abs=LATTICE)


@pytest.mark.parametrize("profile", [*PROFILES, SURE, np.exp([-0.0149]), np.array([1e-3] + [1.0] * 99)])
@pytest.mark.parametrize("tokens", [8, 90, 3_000, 20_000, 60_000, 100_000])
def test_power_of_many_tokens_by_inversion(profile, tokens):
    """However small the gain of a token, and however many there are."""
    exact = exact_power(profile, tokens, 0.01)
    assert power([profile], tokens, 0.01) == pytest.approx(exact, abs=LATTICE)


def test_long_texts_are_detected_at_the_length_that_is_told():
    """Half of simulated texts of 20,000 tokens that are nearly certain."""
    needed, texts, hits = tokens_needed([SURE], 0.5), 1_000, 0
    threshold = special.gammainccinv(needed, 0.01)
    rng = np.random.default_rng(3)
    for _ in range(texts):
        scores = -np.log(-np.expm1(-SURE * rng.exponential(size=needed)))
        hits += int(scores.sum() >= threshold)
    assert abs(hits / texts - 0.5) <= Z * math.sqrt(0.25 / texts) + LATTICE


def test_memory_does_not_grow_with_the_profile():
    """Unblocked it would take 650 MB."""
    profile = np.linspace(0.1, 1.0, 40_000)
    tracemalloc.start()
    try:
        found = power([profile], 5)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    # Probabilities in their place that are as near as those of a coarser grid.
    assert found == pytest.approx(power([np.linspace(0.1, 1.0, 2_000)], 5), abs=1e-3)


@pytest.mark.parametrize(("tpr", "fpr"), [(0.5, 0.01), (0.95, 0.01), (0.9, 1e-6)])
def test_fewest_tokens(tpr, fpr):
    found = tokens_needed(PROFILES, tpr, fpr)
    assert power(PROFILES, found, fpr) >= tpr > power(PROFILES, found - 1, fpr)


@pytest.mark.parametrize("tpr", [0.5, 0.9, 0.99])
def test_fewest_tokens_of_a_text_that_is_nearly_certain(tpr):
    """The last takes 82,257, between the last power of two and the limit."""
    found = tokens_needed([SURE], tpr)
    assert exact_power(SURE, found, 0.01) >= tpr - LATTICE
    assert exact_power(SURE, found - 10, 0.01) < tpr + LATTICE


def test_a_hundred_thousand_tokens_are_examined():
    """Lengths at both sides of the limit, by the power there."""
    profile = np.exp([-0.0149])
    forecast = Forecast([profile])
    at_limit = exact_power(profile, 100_000, 0.01)
    found = forecast.tokens_needed(at_limit - 1e-3)
    assert found is not None
    assert 99_000 < found <= 100_000
    assert forecast.tokens_needed(at_limit + 1e-3) is None
    with pytest.raises(ValueError, match="not reached with 100000 tokens"):
        tokens_needed([profile], at_limit + 1e-3)


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
        (lambda: power(PROFILES, 0), "tokens=0 must be at least 1"),
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
