"""Untrained detectors of tournament bits: exact discrete null laws, and what a tournament does to a bit."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tests.helpers.ideal import Given, unmarked
from tests.helpers.support import ALPHA, P, assert_within
from tradeoff.decoders import SynthID
from tradeoff.detection import Evidence, MeanBits, WeightedMeanBits, detect
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream
from tradeoff.laws import categorical

BOTH = (Stream.DRAFT, Stream.TARGET)
KINDS = [MeanBits, WeightedMeanBits]
each = pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)


@each
@pytest.mark.parametrize(
    ("rounds", "streams", "count"),
    [
        (1, (Stream.SHARED,), 5),
        (3, (Stream.SHARED,), 4),
        (4, (Stream.SHARED,), 3),
        (2, BOTH, 3),
        (3, BOTH, 2),
    ],
)
def test_null_law_by_enumeration(kind, rounds, streams, count):
    """Over all equally likely bit strings of `count` tokens, p-values are the exact tails.

    So P(p <= a) <= a for every a, with equality at the p-values themselves.
    """
    detector = kind(rounds, streams)
    bits = np.array(list(itertools.product([0, 1], repeat=rounds * len(streams) * count)), dtype=np.int8)
    tokens = bits.reshape(-1, len(streams), rounds)
    given = Given(bits={stream: tokens[:, s] for s, stream in enumerate(streams)})
    statistics = detector.contributions(given).reshape(-1, count).sum(axis=1)
    values, counts = np.unique(statistics, return_counts=True)
    tails = np.cumsum(counts[::-1])[::-1] / len(statistics)
    p = np.exp([detector.log_p(float(value), count) for value in values])
    np.testing.assert_allclose(p, tails, rtol=1e-9)


@each
def test_scores_by_hand(kind):
    """Three rounds weigh 10, 5.5 and 1; 5.5 is rounded to the even 6."""
    bits = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=np.int8)
    given = Given(bits={Stream.SHARED: bits, Stream.DRAFT: bits, Stream.TARGET: bits[::-1]})
    one, two = kind(3).contributions(given), kind(3, BOTH).contributions(given)
    expected = [1, 2, 3, 0] if kind is MeanBits else [10, 7, 17, 0]
    assert one.tolist() == expected
    assert two.tolist() == [a + b for a, b in zip(expected, expected[::-1], strict=True)]


def test_weights_fall_from_10_to_1():
    for rounds in (2, 9, 10, 30, 64):
        weights = WeightedMeanBits(rounds).weights
        assert (weights[0], weights[-1]) == (10, 1)
        assert (np.diff(weights) <= 0).all()
    assert WeightedMeanBits(10).weights.tolist() == list(range(10, 0, -1))


@each
@pytest.mark.parametrize("streams", [(Stream.SHARED,), BOTH], ids=len)
def test_false_positives_of_100_000_ideal_texts(kind, streams):
    """P(p <= a) <= a, and exactly the mass of the largest p-value below a, at levels in either tail."""
    texts, tokens, rounds = 100_000, 3, 5
    detector = kind(rounds, streams)
    scores = detector.contributions(unmarked(texts * tokens, 1, rounds))
    statistics = scores.reshape(texts, tokens).sum(axis=1)
    values, inverse = np.unique(statistics, return_inverse=True)
    p_of_value = np.exp([detector.log_p(float(v), tokens) for v in values])
    p = p_of_value[inverse]
    for level in (1e-3, 0.01, 0.3, 1 - 1e-3):
        reached = max(p_of_value[p_of_value <= level], default=0.0)
        hits = int((p <= level).sum())
        assert stats.binomtest(hits, texts, reached).pvalue > ALPHA
        assert reached <= level


@each
def test_false_positives_under_random_keys(kind):
    """The keyed function itself, on texts that repeat themselves."""
    rng = np.random.default_rng(2)
    detector, hits = kind(7), {0.01: 0, 0.2: 0}
    texts = 1_500
    for _ in range(texts):
        text = rng.integers(0, 30, (3, 10))[rng.integers(0, 3, 9)].ravel()
        log_p = detect(detector, Evidence(text, KeyedPrf(Key(rng.bytes(32))))).log_p
        for level in hits:
            hits[level] += log_p <= math.log(level)
    for level, count in hits.items():
        assert stats.binomtest(count, texts, level, alternative="greater").pvalue > ALPHA
        # With some hundred bits the law is fine enough that the level is nearly used up.
        assert count > level * texts / 3


@each
def test_tails_below_underflow(kind):
    """All bits 1: 2^-n, n the number of bits."""
    for rounds, count in ((30, 50), (64, 400)):
        detector = kind(rounds)
        every = rounds if kind is MeanBits else int(WeightedMeanBits(rounds).weights.sum())
        expected = -rounds * count * math.log(2)
        assert expected < -700
        assert detector.log_p(float(every * count), count) == pytest.approx(expected, rel=1e-9)


@each
@pytest.mark.parametrize("streams", [(Stream.SHARED,), BOTH], ids=len)
@pytest.mark.parametrize("fpr", [0.3, 0.01, 1e-8])
def test_threshold_is_the_least_sum_that_is_rare_enough(kind, streams, fpr):
    detector = kind(6, streams)
    for count in (1, 2, 50):
        total = detector.threshold(count, fpr)
        assert total == round(total)
        assert detector.log_p(total, count) <= math.log(fpr)
        assert detector.log_p(total - 1, count) > math.log(fpr)


def test_expected_bit_of_one_round():
    """The winner of one round has g = 1 with probability 3/4 - sum P^2 / 4: two candidates, if distinct."""
    n, tournament = 200_000, SynthID(1)
    rng = np.random.default_rng(3)
    zeta = tournament.draw(rng, (n,), len(P))
    token = categorical(tournament(np.broadcast_to(P, (n, len(P))), zeta), rng.random(n))
    bits = (np.take_along_axis(zeta.word(0), token[:, None], axis=1) & 1).astype(np.int8)
    mean = MeanBits(1).contributions(Given(bits={Stream.SHARED: bits})).mean()
    expected = 0.75 - (P**2).sum() / 4
    assert_within(mean, expected, math.sqrt(expected * (1 - expected) / n))


@each
@pytest.mark.parametrize("rounds", [0, -1, 2.0, math.inf])
def test_bad_rounds_are_refused(kind, rounds):
    with pytest.raises(ValueError, match="whole number >= 1"):
        kind(rounds)


@each
def test_no_stream_is_refused(kind):
    with pytest.raises(ValueError, match="at least one stream"):
        kind(5, ())


@each
def test_names_and_null_laws(kind):
    assert kind(5).name.endswith("mean of bits")
    assert kind(5).null.startswith("exact")
