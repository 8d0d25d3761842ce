"""Entropy priors, their fits, and likelihood ratios: the best tests, by Neyman and Pearson."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from tests.helpers.detectors import PRIOR
from tests.helpers.ideal import Given, moments, true_positives
from tests.helpers.support import ALPHA, Z
from tradeoff.detection import (
    Aaronson,
    ArsPrior,
    ArsTau,
    Detector,
    LikelihoodRatio,
    RacePrior,
    SumOfKeys,
)
from tradeoff.detection.forecast import expected_score
from tradeoff.keyed.prf import Stream


def test_log_ratio_is_a_density_ratio():
    """Of E against Exp(1): it integrates to 1, and is the mixture's density written out."""
    total = integrate.quad(
        lambda e: math.exp(-e) * math.exp(float(PRIOR.log_ratio(np.array(math.exp(-e))))), 0, 50, limit=200
    )[0]
    assert total == pytest.approx(1, abs=1e-6)
    for e in (1e-6, 0.01, 0.5, 3.0, 20.0):
        density = sum(w * math.exp(-e / p) / p for p, w in zip(PRIOR.probability, PRIOR.weight, strict=True))
        assert float(PRIOR.log_ratio(np.array(math.exp(-e)))) == pytest.approx(math.log(density) + e)


def draw_races(prior: RacePrior, count: int, seed: int) -> np.ndarray:
    """Uniforms of tokens that win with probabilities of the prior."""
    rng = np.random.default_rng(seed)
    p = rng.choice(prior.probability, count, p=prior.weight)
    return rng.random(count) ** p


def test_fit_recovers_the_likelihood_of_a_mixture():
    """On its data the fit is at the maximum over its grid, and on others as good as the truth.

    At the maximum the mean of f_j / f is at most 1 for every component j of the grid (the condition of
    Kiefer and Wolfowitz); by concavity its excess bounds what is missing.
    """
    grid = np.geomspace(1e-6, 1.0, 40)
    truth = RacePrior(grid[[25, 35, 39]], np.array([0.2, 0.3, 0.5]))
    data, other = draw_races(truth, 20_000, 11), draw_races(truth, 200_000, 12)
    fitted = RacePrior.fit(data)
    race = -np.log(data)[:, None]
    ratios = np.log(grid), race * (1 / grid - 1)
    slopes = np.exp(-ratios[0] - ratios[1] - fitted.log_ratio(data)[:, None]).mean(axis=0)
    assert slopes.max() < 1.005
    assert fitted.log_ratio(data).mean() >= truth.log_ratio(data).mean() - 0.005
    gap = truth.log_ratio(other) - fitted.log_ratio(other)
    # Gibbs' inequality on one side; on the other 2 degrees of freedom an estimated weight.
    assert -Z * gap.std() / math.sqrt(len(gap)) <= gap.mean() <= 40 / len(data) + 0.001
    assert fitted.weight.sum() == pytest.approx(1)


def test_prior_of_probabilities():
    """Bins even in the logarithm, weighted by how many fall into each."""
    p = np.concatenate([np.full(30, 0.001), np.full(50, 0.2), np.full(20, 1.0)])
    prior = RacePrior.of(p, points=200)
    assert prior.weight.tolist() == pytest.approx([0.3, 0.5, 0.2])
    np.testing.assert_allclose(np.log(prior.probability), np.log([0.001, 0.2, 1.0]), atol=7 / 200)
    assert RacePrior.of(np.ones(3)).probability == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("p", "w", "message"),
    [
        ([], [], "one length"),
        ([0.5], [1, 2], "one length"),
        ([[0.5]], [[1]], "one length"),
        ([0.0], [1], "in \\(0, 1\\]"),
        ([1.1], [1], "in \\(0, 1\\]"),
        ([0.5, 0.6], [-1, 2], "positive sum"),
        ([0.5], [0], "positive sum"),
    ],
)
def test_bad_priors_are_refused(p, w, message):
    with pytest.raises(ValueError, match=message):
        RacePrior(np.array(p), np.array(w))


@pytest.mark.parametrize("p", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("count", [1, 7, 60])
def test_likelihood_ratio_of_one_probability_in_closed_form(p, count):
    """The score is -log p - E (1/p - 1), so that the tail is a lower tail of Gamma(count, 1); to the steps in
    which E is read and scores are rounded."""
    detector = LikelihoodRatio(RacePrior(np.array([p]), np.ones(1)))
    for race in (0.3 * count * p, count * p, 0.7 * count, count):
        statistic = -count * math.log(p) - race * (1 / p - 1)
        expected = math.log(special.gammainc(count, race))
        assert detector.log_p(statistic, count) == pytest.approx(expected, abs=0.06, rel=0.005)


def test_a_prior_without_entropy_never_rejects():
    """Tokens that win with probability 1 show nothing."""
    assert LikelihoodRatio(RacePrior(np.ones(1), np.ones(1))).log_p(0.0, 50) == 0.0


@pytest.mark.parametrize("stream", [Stream.SHARED, None])
def test_a_prior_with_an_atom_keeps_its_level(stream):
    """Nine tokens in ten are sure and show nothing: nearly all other texts have the same sum."""
    prior = RacePrior(np.array([1.0, 1e-6]), np.array([0.9, 0.1]))
    detector = LikelihoodRatio(prior, stream, 0.5)
    rng = np.random.default_rng(20)
    for tokens in (1, 30, 300):
        uniforms = rng.random((2, 2_000 * tokens))
        evidence = Given({Stream.SHARED: uniforms[0], Stream.DRAFT: uniforms[0], Stream.TARGET: uniforms[1]})
        sums = detector.contributions(evidence).reshape(2_000, tokens).sum(axis=1)
        log_p = np.array([detector.log_p(float(x), tokens) for x in sums])
        for level in (0.01, 0.3):
            called = int((log_p <= math.log(level)).sum())
            assert stats.binomtest(called, 2_000, level, "greater").pvalue > ALPHA
        # Most have the smallest sum there is.
        assert np.median(log_p) > math.log(0.5)
    # One token that won against the odds is no chance.
    races = Given(
        {stream or Stream.DRAFT: np.r_[1 - 1e-9, np.full(29, 0.5)], Stream.TARGET: np.full(30, 0.5)}
    )
    assert detector.log_p(float(detector.contributions(races).sum()), 30) < math.log(0.001)


def assert_best(best: Detector, others: list[Detector], evidence: Given, tokens: int) -> None:
    """Neyman and Pearson: no test of the same level has more power; these have visibly less."""
    hits = true_positives(best, [evidence], tokens).astype(float)
    assert 0.1 < hits.mean() < 0.99
    for other in others:
        gain = hits - true_positives(other, [evidence], tokens)
        assert gain.mean() > Z * gain.std() / math.sqrt(len(gain)), other.name


def coin_texts(shares: np.ndarray, n: int, seed: int) -> Given:
    """Tokens won by PRIOR, in the draft's race with the probability that belongs to the coin."""
    rng = np.random.default_rng(seed)
    coins, won, free = rng.random(n), draw_races(PRIOR, n, seed + 100), rng.random(n)
    drafted = rng.random(n) < shares[(coins * len(shares)).astype(int)]
    uniforms = {Stream.DRAFT: np.where(drafted, won, free), Stream.TARGET: np.where(drafted, free, won)}
    return Given(uniforms, None, coins, drafted)


def test_likelihood_ratio_is_the_best_test_of_one_race():
    evidence = Given({Stream.SHARED: draw_races(PRIOR, 20_000 * 15, 13)})
    wrong = RacePrior(np.array([0.02]), np.ones(1))
    assert_best(LikelihoodRatio(PRIOR), [Aaronson(), LikelihoodRatio(wrong)], evidence, 15)


def test_likelihood_ratio_is_the_best_test_of_two_keys():
    """With a coin that tells, one that knows it beats one that does not, and both what ignores entropy."""
    shares, tokens = np.array([0.95, 0.8, 0.3, 0.05]), 20
    evidence = coin_texts(shares, 10_000 * tokens, 14)
    blind = LikelihoodRatio(PRIOR, None, float(shares.mean()))
    assert_best(LikelihoodRatio(PRIOR, None, shares), [blind, ArsTau(0.55), SumOfKeys()], evidence, tokens)
    assert_best(blind, [SumOfKeys(), ArsPrior(float(shares.mean()))], evidence, tokens)


def test_fit_of_two_keys_finds_what_drew_the_texts():
    """Shares of drafts by coin, and a prior whose expected score is that of the tokens."""
    shares = np.array([0.95, 0.8, 0.3, 0.05])
    texts = [coin_texts(shares, 5_000, seed) for seed in (16, 17, 18)]
    fitted = LikelihoodRatio.fit(texts, coin=True, bins=4)
    for found, share in zip(fitted.share, shares, strict=True):
        # The pseudo-observation moves a share by less than 1 in the count.
        assert abs(found - share) <= Z * math.sqrt(share * (1 - share) / 3_500) + 1 / 3_500
    mean, deviation = moments(PRIOR.weight, PRIOR.probability)
    of_fit = fitted.prior.weight @ expected_score(fitted.prior.probability)
    assert abs(of_fit - mean) <= Z * deviation / math.sqrt(15_000)
    fitted = LikelihoodRatio.fit(texts[:1], coin=False)
    assert fitted.share.tolist() == [texts[0].drafted.mean()]
