"""Laws of what is read of chosen tokens: by enumeration, at their limits, and on texts that were drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

import tradeoff as td
from tests.helpers.support import ALPHA
from tradeoff.decoders import heavy_water
from tradeoff.detection import Aaronson, Evidence, Forecast, MeanBits, RankRatio, WeightedMeanBits
from tradeoff.detection.fixed.won_scores import won_bits, won_score_law

KEY = td.Key(bytes(range(32)))
LAW = np.array([0.5, 0.3, 0.2])


@pytest.mark.parametrize("winner", range(3))
def test_bits_of_the_winner_have_the_law_of_all_tournaments(winner: int) -> None:
    """Two rounds among three tokens: every table of bits, by how probable the winner is under it."""
    exact = np.zeros(4)
    for table in itertools.product((0, 1), repeat=6):
        q, bits = LAW.copy(), np.array(table).reshape(2, 3)
        for g in bits:
            q = q * (1 + g - q @ g)
        exact[2 * bits[0, winner] + bits[1, winner]] += q[winner] / LAW[winner] / 64
    assert exact.sum() == pytest.approx(1)
    laws = np.tile(np.append(LAW[winner], np.delete(LAW, winner)), (40_000, 1))
    won, _ = won_bits(laws, 2, np.random.default_rng(winner))
    counts = np.bincount(2 * won[:, 0] + won[:, 1], minlength=4)
    assert stats.chisquare(counts, exact * len(laws)).pvalue > ALPHA


@pytest.mark.parametrize(
    "detector", [RankRatio(heavy_water().scores), WeightedMeanBits(10)], ids=lambda d: d.id
)
def test_a_certain_token_says_nothing(detector: RankRatio | WeightedMeanBits) -> None:
    """Its scores have the law of text without the watermark."""
    law = won_score_law(detector, np.ones(1), np.zeros(1), np.ones(1))
    if isinstance(detector, RankRatio):
        np.testing.assert_allclose(law, detector.law, atol=1e-12)
        return
    draws, possible = 20_000, detector.law > 0
    assert not law[~possible].any()
    # Drawn at least so often; rounding the expected counts up only widens the test.
    common = detector.law * draws > 5
    seen, expected = law[common] * draws, detector.law[common] * draws
    scale = seen.sum() / expected.sum()
    assert stats.chisquare(seen, expected * scale).pvalue > ALPHA


@pytest.mark.parametrize(
    "detector", [RankRatio(heavy_water().scores), WeightedMeanBits(10)], ids=lambda d: d.id
)
def test_unmarked_text_is_called_at_the_level(detector: RankRatio | WeightedMeanBits) -> None:
    """With the null law in place of the alternative the power is the level that the threshold has."""
    forecast = Forecast.of_scores([detector.law], detector)
    for tokens, fpr in ((5, 0.01), (40, 0.01), (40, 1e-4), (300, 1e-6)):
        level = np.exp(detector.log_p(detector.threshold(tokens, fpr), tokens))
        assert forecast.power(tokens, fpr) == pytest.approx(level)
        assert level <= fpr


@pytest.mark.parametrize(("watermark", "tokens"), [("synthid:30", 10), ("heavywater", 16)])
def test_forecasts_are_what_drawn_texts_show(watermark: str, tokens: int) -> None:
    """Texts of a flat law over three tokens, each at a context of its own, by the code that generates."""
    scheme, texts, rng = td.Scheme.of("basic", watermark), 500, np.random.default_rng(3)
    law, width = np.full(3, 1 / 3), scheme.context_width
    contexts = rng.integers(1000, 1 << 30, (texts * tokens, width))
    drawn = td.draw(np.tile(law, (len(contexts), 1)), scheme, KEY, contexts, rng=4)
    evidence = Evidence(np.append(contexts, drawn[:, None], axis=1).ravel(), scheme.function(KEY))
    evidence = evidence.restricted(evidence.index % (width + 1) == width)
    detector = scheme.detector()
    sums = detector.contributions(evidence).reshape(texts, tokens).sum(axis=1)
    power = td.forecast(scheme, entropy=np.log(3)).power(tokens)
    assert 0.3 < power < 0.9
    hits = int((sums >= detector.threshold(tokens, 0.01)).sum())
    assert min(stats.binom.cdf(hits, texts, power), stats.binom.sf(hits - 1, texts, power)) > ALPHA


@pytest.mark.parametrize("law", [[0.9, 0.1], [0.6, 0.3, 0.1], [0.5, *[0.05] * 10]], ids=len)
def test_what_records_tell_of_a_tournament_is_enough(law: list[float]) -> None:
    """The token's probability and the entropy stand for the law: its mean score, but for a fiftieth."""
    p, detector = np.array(law), WeightedMeanBits(30)
    entropy = np.full(len(p), -(p @ np.log(p)))
    told = won_score_law(detector, p, entropy, p)
    rng, draws, scores = np.random.default_rng(5), 30_000, []
    for k, count in enumerate((p * draws).round().astype(int)):
        laws = np.tile(np.append(p[k], np.delete(p, k)), (count, 1))
        scores.append(won_bits(laws, 30, rng)[0] @ detector.weights)
    whole = np.concatenate(scores)
    points = np.arange(len(told))
    noise = whole.std() * np.sqrt(1 / len(whole) + 1 / 20_000)
    null = detector.law @ points
    reach = stats.norm.isf(ALPHA) * noise + 0.02 * (whole.mean() - null)
    assert abs(told @ points - whole.mean()) < reach


def test_tokens_outside_the_head_carry_nothing() -> None:
    """Of even laws all but fifty tokens; of drawn tokens those that fifty others may be as probable as."""
    scheme = td.Scheme.of("basic", "heavywater")
    many = td.forecast(scheme, entropy=np.log(500))
    certain, best = (td.forecast(scheme, entropy=np.log(n)) for n in (1, 50))
    assert certain.power(40) < many.power(40) < best.power(40)
    rare = td.forecast(scheme, log_p=[np.log(1 / 51)], entropy=[1.0])
    assert rare.power(40) == pytest.approx(certain.power(40))


@pytest.mark.parametrize(
    "law",
    [[0.5, *[1e-5] * 50_000], [0.7, *[6e-6] * 50_000], [0.6, 0.2, *[4e-5] * 5_000], [0.9, 0.1]],
    ids=len,
)
def test_no_more_is_told_of_heavywater_than_its_head_carries(law: list[float]) -> None:
    """Tokens of the head are drawn in proportion, and the others carry nothing: no more is told."""
    p, scheme = np.array(law), td.Scheme.of("basic", "heavywater")
    entropy, head = -(p @ np.log(p)), np.sort(p)[::-1][:50]
    detector = scheme.detector()
    seen = np.append(np.where(head > 1 / 51, head / head.sum(), 1.0), 1.0)
    true = won_score_law(detector, seen, np.zeros(51), np.append(head, max(1 - head.sum(), 0.0)))
    bound = Forecast.of_scores([true], detector)
    common = p > 1 / 51
    told = [(np.log(one), round(one * 1000)) for one in p[common]] + [
        (np.log(p[-1]), 1000 - round(p[common].sum() * 1000))
    ]
    log_p = np.concatenate([np.full(count, one) for one, count in told])
    forecast = td.forecast(scheme, log_p=log_p, entropy=np.full(len(log_p), entropy))
    for tokens in (16, 64, 256):
        assert forecast.power(tokens) <= bound.power(tokens) + 1e-9


def test_little_entropy_is_told_without_noise() -> None:
    """The mean score of a certain token is that of unmarked text, and a little more entropy adds little."""
    detector, points = WeightedMeanBits(30), np.arange(len(WeightedMeanBits(30).law))
    null = float(detector.law @ points)

    def excess(p: float) -> float:
        entropy = np.array([-(p * np.log(p) + (1 - p) * np.log(1 - p))]) if p < 1 else np.zeros(1)
        return float(won_score_law(detector, np.array([p]), entropy, np.ones(1)) @ points) - null

    assert excess(1.0) == pytest.approx(0.0, abs=1e-9)
    # Of the winner of nearly all, to first order in 1 - p.
    assert excess(0.998) / excess(0.999) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize(
    ("watermark", "how", "words"),
    [
        ("heavywater:lognormal,tilt=2", {"entropy": 1.0}, "exact ones without a tilt"),
        ("heavywater:lognormal,sinkhorn=0.05", {"entropy": 1.0}, "exact ones without a tilt"),
        ("simplexwater", {"entropy": 1.0}, "has no forecast"),
        ("synthid:30", {"log_p": [-1.0]}, "entropy is missing"),
        ("heavywater", {"log_p": [-1.0]}, "entropy is missing"),
        ("heavywater", {"log_p": [], "entropy": []}, "a text without tokens"),
        ("synthid:30", {"entropy": []}, "a text without tokens"),
        ("synthid:30", {"log_p": [-1.0], "entropy": [1.0, 2.0]}, "text by text"),
        ("synthid:30", {"log_p": [-1.0], "entropy": [-1.0]}, "must hold numbers of nats"),
        ("gumbel", {"log_p": [-1.0], "entropy": [1.0]}, "one of the three"),
    ],
)
def test_what_has_no_forecast(watermark: str, how: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        td.forecast(td.Scheme.of("basic", watermark), **how)


def test_other_detectors_and_no_laws_are_refused() -> None:
    one = np.ones(1)
    for detector in (Aaronson(), MeanBits(3)):
        with pytest.raises(ValueError, match="no known law"):
            won_score_law(detector, one, one, one)
    with pytest.raises(ValueError, match="laws are empty"):
        Forecast.of_scores([], WeightedMeanBits(3))
    with pytest.raises(ValueError, match="fpr=2"):
        Forecast([one]).power(3, 2)
