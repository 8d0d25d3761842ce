"""Two keys that are weighed, and text of the dual key of vLLM without speculation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from tests.helpers.support import ALPHA, P, Z, assert_within
from tradeoff.detection import (
    Aaronson,
    Detector,
    Evidence,
    SumOfKeys,
    WeightedSumOfKeys,
    detect,
    expected_race_score,
    log_p_values,
    race_score_variance,
)
from tradeoff.kernels import DualKey, KeyedRandomness
from tradeoff.keyed import Stream, VllmPhilox

VLLM = WeightedSumOfKeys(0.1)
WIDTH, VOCABULARY, TEXTS, TOKENS = 4, 64, 500, 50


def test_scores_are_weighed():
    prf = VllmPhilox(17, WIDTH)
    evidence = Evidence(np.random.default_rng(0).integers(0, 1 << 15, 40), prf)
    first, second = (-np.log1p(-evidence.uniform(stream)) for stream in (Stream.DRAFT, Stream.TARGET))
    scores = WeightedSumOfKeys(0.3).contributions(evidence)
    np.testing.assert_allclose(scores, 0.7 * first + 0.3 * second, rtol=1e-14)
    assert VLLM.name == "sum of both keys, weighed 0.9 and 0.1"
    assert VLLM.null == "exact: 0.9 Gamma(t, 1) + 0.1 Gamma(t, 1)"


def test_half_and_half_is_the_test_of_the_plain_sum():
    sums, half = np.array([5.0, 20.0, 60.0, 900.0]), WeightedSumOfKeys(0.5)
    reference = log_p_values(SumOfKeys(), sums, 12)
    np.testing.assert_allclose(log_p_values(half, sums / 2, 12), reference, atol=1e-11)
    for fpr in (0.9, 0.01, 1e-12):
        assert half.threshold(12, fpr) == pytest.approx(SumOfKeys().threshold(12, fpr) / 2, rel=1e-12)


@pytest.mark.parametrize("detector", [VLLM, WeightedSumOfKeys(0.45)], ids=lambda one: one.name)
def test_p_values_are_uniform_under_keys_of_nobody(detector):
    """One text under keys that are drawn at random, at several levels."""
    keys = 1_000
    ids = np.random.default_rng(1).integers(0, 50, 30)
    rng = np.random.default_rng(2)
    evidence = Evidence(ids, VllmPhilox(0, WIDTH))
    log_p = []
    for key in rng.integers(0, 1 << 63, keys).tolist():
        score = detect(detector, evidence.under(VllmPhilox(key, WIDTH)))
        log_p.append(score.log_p)
    p = np.exp(log_p)
    assert stats.kstest(p, "uniform").pvalue > ALPHA
    for level in (0.5, 0.1, 0.01):
        assert_within((p <= level).mean(), level, math.sqrt(level * (1 - level) / keys))


@pytest.mark.parametrize(
    ("level", "few", "many"), [(1e-6, (1.7, 1.8), (1.2, 1.3)), (1e-9, (2.8, 2.9), (1.5, 1.6))]
)
def test_moments_that_match_give_p_values_that_are_too_small(level, few, many):
    """vLLM's Gamma law has the mean t and the variance 0.82 t of the sum; of 5 and of 100 tokens the chance
    of its p-value `level` is so many times as large."""
    for tokens, (low, high) in ((5, few), (100, many)):
        statistic = 0.82 * special.gammainccinv(tokens / 0.82, level)
        assert low < math.exp(VLLM.log_p(float(statistic), tokens)) / level < high


def test_no_other_weights_have_more_signal_to_noise():
    """That of alpha is the root of (1 - alpha)^2 + alpha^2 of what one key without speculation has."""
    excess = float(expected_race_score("basic", P)) - 1
    assert excess * math.hypot(0.9, 0.1) == pytest.approx(1.620, abs=5e-4)
    # Each score is Exp(1) under the other key, so that a mean is 1 + excess * share.
    signal = {w: excess * (0.9 * (1 - w) + 0.1 * w) / math.hypot(w, 1 - w) for w in np.linspace(0, 1, 101)}
    assert max(signal, key=signal.__getitem__) == pytest.approx(0.1)
    assert signal[0.5] == pytest.approx(excess / math.sqrt(2))


def dual_key_texts(alpha: float, seed: int) -> list[Evidence]:
    """Texts in the format of vLLM, on laws from nearly certain to several likely tokens, as models have."""
    rng, prf = np.random.default_rng(seed), VllmPhilox(987_654_321_987_654_321, WIDTH)
    ids, method = rng.integers(0, VOCABULARY, (TEXTS, WIDTH)), DualKey(alpha=alpha)
    unmasked, vocabulary = np.zeros(TEXTS, dtype=bool), np.arange(VOCABULARY)
    for _ in range(TOKENS):
        evenness = np.exp(rng.uniform(math.log(0.001), math.log(0.07), (TEXTS, 1)))
        law = rng.gamma(evenness, size=(TEXTS, VOCABULARY)) + 1e-30
        numbers = KeyedRandomness(prf, ids[:, -WIDTH:], unmasked, [lambda: rng] * TEXTS, vocabulary)
        token = method.bonus(law / law.sum(axis=1, keepdims=True), numbers)
        ids = np.concatenate([ids, token[:, None]], axis=1)
    texts = [Evidence(text, prf) for text in ids]
    return [evidence.restricted(evidence.index >= WIDTH) for evidence in texts]


def found(detector: Detector, texts: list[Evidence], fpr: float) -> np.ndarray:
    return np.array([detect(detector, evidence).log_p <= math.log(fpr) for evidence in texts], dtype=float)


def test_text_of_the_dual_key_is_found_more_often_by_its_weights():
    """At a false-positive rate of 1% about 89% of texts of 50 tokens, against 75%."""
    texts = dual_key_texts(0.1, 3)
    weighted, equal = found(VLLM, texts, 0.01), found(SumOfKeys(), texts, 0.01)
    difference = weighted - equal
    assert difference.mean() > Z * difference.std() / math.sqrt(TEXTS)


def test_tokens_are_routed_at_the_rate_of_alpha():
    """The mean score under either key: that of a race for its share of the tokens, else 1."""
    count, rng = 40_000, np.random.default_rng(5)
    mean, variance = float(expected_race_score("basic", P)), float(race_score_variance("basic", P))
    contexts, vocabulary = rng.integers(0, 1 << 15, (count, WIDTH)), np.arange(len(P))
    numbers = KeyedRandomness(
        VllmPhilox(23, WIDTH), contexts, np.zeros(count, dtype=bool), [lambda: rng] * count, vocabulary
    )
    for alpha in (0.1, 0.6):
        token = DualKey(alpha=alpha).bonus(np.broadcast_to(P, (count, len(P))), numbers)
        for stream, share in ((Stream.DRAFT, 1 - alpha), (Stream.TARGET, alpha)):
            scores = -np.log(-np.expm1(-numbers.race_at(stream, token)))
            spread = share * variance + 1 - share + share * (1 - share) * (mean - 1) ** 2
            assert_within(scores.mean(), 1 + share * (mean - 1), math.sqrt(spread / count))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan, math.inf, 1, "0.1", None])
def test_weights_of_one_key_are_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha=.* must be a number above 0 and below 1.* Aaronson's test"):
        WeightedSumOfKeys(alpha)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        DualKey(alpha=alpha)
    assert Aaronson(Stream.TARGET).id == "aaronson"
