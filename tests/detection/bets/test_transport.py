"""Bets on transport and completed watermarks: fair for every text, and what they find."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from scipy import stats

from tests.helpers.ideal import Given
from tests.helpers.support import ALPHA
from tests.helpers.transporting import (
    BOTH,
    STREAMS,
    marked_numbers,
    null_numbers,
    own_bets,
    own_sum,
    phrases,
    random_key,
    true_mean,
    written,
)
from tradeoff.decoders import Completed, SimplexScores, heavy_water, parse_decoder, simplex_water
from tradeoff.detection import Evidence, default_detector
from tradeoff.detection.bets.completed import CompletedBets
from tradeoff.detection.bets.gumbel import race_log_bets
from tradeoff.detection.bets.simplexwater import TILTS, SimplexBets, value_log_bets
from tradeoff.detection.bets.stream_bets import Bets, StreamBets
from tradeoff.detection.bets.synthid import tournament_log_bets
from tradeoff.detection.bets.transport import TransportBets
from tradeoff.detection.choice import default_bets
from tradeoff.detection.fixed.completed import CompletedSum
from tradeoff.detection.fixed.simplexwater import SimplexSum
from tradeoff.detection.fixed.transport import RankRatio, rank_log_bets
from tradeoff.detection.sequential import Sequential, log_e_values
from tradeoff.kernels import Algorithm1, Basic, KeepEfficiency, TwoKeys
from tradeoff.keyed.prf import Stream
from tradeoff.optimal_transport.scores import RandomScores, Scores, seeded_table
from tradeoff.optimal_transport.solvers import Sinkhorn

TEXTS, TOKENS, ROUNDS = 20_000, 40, 4
HEAVY, SIMPLEX = RandomScores("lognormal", 128), SimplexScores(4)
FAMILIES: list[tuple[StreamBets, Scores]] = [
    (TransportBets(HEAVY), HEAVY),
    (SimplexBets(SIMPLEX), SIMPLEX),
    (TransportBets(HEAVY, BOTH, True), HEAVY),
    (SimplexBets(SIMPLEX, BOTH, False), SIMPLEX),
    (CompletedBets(own_bets(HEAVY)), HEAVY),
    (CompletedBets(own_bets(SIMPLEX, BOTH, True)), SIMPLEX),
    (CompletedBets(own_bets(ROUNDS)), HEAVY),
]
every = pytest.mark.parametrize(
    ("bets", "scores"), FAMILIES, ids=[f"{b.name} {s} {b.count}" for b, s in FAMILIES]
)


@pytest.mark.parametrize("k", [2, 5, 1024])
def test_rank_bets_are_fair_by_enumeration(k):
    log_bets = rank_log_bets(np.arange(k), k)
    assert np.exp(log_bets).mean(axis=0) == pytest.approx(1, abs=1e-12)
    assert (np.diff(log_bets, axis=0) > 0).all()


@pytest.mark.parametrize("scores", [SimplexScores(2), SimplexScores(7), SimplexScores(2, 3)], ids=str)
@pytest.mark.parametrize("token", [0, 2, 900])
def test_value_bets_are_fair_by_enumeration_of_a_row(scores, token):
    row = scores.rows(np.array([token]), seeded_table(0))[0]
    log_bets = value_log_bets(scores, row)
    assert np.exp(log_bets).mean(axis=0) == pytest.approx(1, abs=1e-12)


def test_value_bets_on_bits_are_likelihood_ratios():
    """(theta/mu)^f ((1-theta)/(1-mu))^(1-f): theta grows with the tilt, from the null mean to near 1."""
    scores = SimplexScores(6)
    mu, e = true_mean(scores), np.exp(value_log_bets(scores, np.array([0.0, 1.0])))
    theta = mu * e[1]
    assert e[0] == pytest.approx((1 - theta) / (1 - mu))
    assert e.shape == (2, len(TILTS))
    assert (np.diff(theta) > 0).all()
    assert mu < theta[0] < mu + 0.02
    assert 0.95 < theta[-1] < 1


@pytest.mark.parametrize("coin", [True, False])
@pytest.mark.parametrize("scores", [RandomScores("gamma", 9), SimplexScores(3)], ids=str)
def test_two_key_bets_are_fair_at_every_coin(scores, coin):
    """Over all pairs of values of s under one table, of one token."""
    row = scores.rows(np.array([5]), seeded_table(2))[0]
    order = np.argsort(np.argsort(row, kind="stable"))
    pairs = np.array(list(itertools.product(range(scores.k), repeat=2)))
    for value in (1e-9, 0.4, 1 - 1e-9):
        numbers = Given(
            scores={stream: row[pairs[:, i]] for i, stream in enumerate(BOTH)},
            ranks={stream: order[pairs[:, i]] for i, stream in enumerate(BOTH)},
            coins=np.full(len(pairs), value),
        )
        e = np.exp(own_bets(scores, BOTH, coin).log_bets(numbers))
        assert e.mean(axis=0) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("inner", [3, RandomScores("gamma", 9), SimplexScores(3)], ids=str)
def test_completed_bets_are_fair_by_enumeration_given_the_race(inner):
    """Bets on the own numbers have mean 1, those on the race do not depend on them."""
    race = race_log_bets(np.array(0.83))
    if isinstance(inner, int):
        bits = np.array(list(itertools.product((0, 1), repeat=inner)), dtype=np.int8)
        numbers = Given({Stream.SHARED: np.full(len(bits), 0.83)}, {Stream.SHARED: bits})
        own = len(tournament_log_bets(bits)[0])
    else:
        row = inner.rows(np.array([1]), seeded_table(0))[0]
        rank = np.argsort(np.argsort(row, kind="stable"))
        numbers = Given(
            {Stream.SHARED: np.full(len(row), 0.83)},
            scores={Stream.SHARED: row},
            ranks={Stream.SHARED: rank},
        )
        own = len(TILTS)
    e = np.exp(CompletedBets(own_bets(inner)).log_bets(numbers)).mean(axis=0)
    expected = np.concatenate([np.ones(1 + own), np.exp(race)])
    assert e == pytest.approx(expected, rel=1e-12)


@every
def test_the_first_bet_keeps_the_wealth_and_the_prior_is_a_distribution(bets, scores):
    log_bets = bets.log_bets(null_numbers(scores, 5, 0, ROUNDS))
    assert isinstance(bets, Bets)
    assert (log_bets[:, 0] == 0).all()
    assert bets.prior.shape == (log_bets.shape[1],)
    assert bets.prior.sum() == pytest.approx(1, abs=1e-12)
    assert (bets.prior > 0).all()


@every
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_first_crossings_of_ideal_texts_keep_the_level(bets, scores, alpha):
    """The worst stopping rule there is, on texts of seven tokens that come back all the time."""
    convicted = int((highest_wealth(bets, scores) >= -math.log(alpha)).sum())
    assert stats.binomtest(convicted, TEXTS, alpha, "greater").pvalue > ALPHA


@cache
def highest_wealth(bets: Bets, scores: Scores) -> np.ndarray:
    """Of every text over time, in logarithms: [TEXTS]."""
    found = []
    for part in range(0, TEXTS, 5_000):
        numbers = null_numbers(scores, 5_000 * TOKENS, part, ROUNDS)
        log_bets = bets.log_bets(numbers).reshape(5_000, TOKENS, -1)
        found.append(np.cumsum(log_e_values(log_bets, bets.prior), axis=1).max(axis=1))
    return np.concatenate(found)


@every
def test_repeated_contexts_under_random_keys_keep_the_level(bets, scores):
    rng = np.random.default_rng(5)
    texts, alpha, convicted = 200, 0.05, 0
    for _ in range(texts):
        log_p = Sequential(bets).test(Evidence(phrases(rng), random_key(rng))).log_p
        convicted += log_p[-1] <= math.log(alpha)
    assert stats.binomtest(convicted, texts, alpha, "greater").pvalue > ALPHA


def growth(bets: Bets, numbers: Given, tokens: int) -> np.ndarray:
    """Log wealth at the end of texts of so many tokens."""
    log_bets = bets.log_bets(numbers)
    return log_e_values(log_bets.reshape(-1, tokens, log_bets.shape[1]), bets.prior).sum(axis=1)


@pytest.mark.parametrize("lam", [0.6, 0.9])
def test_heavywater_is_found_at_most_at_the_rate_of_its_law(lam):
    """The log-optimal bet knows the law of the rank: no predictable strategy grows faster on average."""
    decoder, tokens = heavy_water("lognormal", 128), 400
    p = np.array([lam, 1 - lam])
    wealth = growth(TransportBets(HEAVY), marked_numbers(decoder, p, 100, 2_000, 3), tokens)
    # The law of the rank, averaged over many tables.
    law = np.zeros(128)
    for seed in range(300):
        ids, plan = decoder.plan(p, seeded_table(1_000 + seed))
        for row, mass in zip(HEAVY.rows(ids, seeded_table(1_000 + seed)), plan.laws, strict=True):
            law += mass[np.argsort(row, kind="stable")] / 128 / 300
    best = float((law[law > 0] * np.log(128 * law[law > 0])).sum())
    error = wealth.std(ddof=1) / math.sqrt(len(wealth))
    # Rows and tables are shared by texts here; the rate is an average over them.
    assert wealth.mean() < tokens * best + 6 * error + 0.05 * tokens * best
    # Learning costs the more, the less a token tells.
    assert wealth.mean() > (0.6 if lam == 0.6 else 0.4) * tokens * best


def test_simplexwater_is_found():
    numbers = marked_numbers(simplex_water(4), np.array([0.6, 0.4]), 50, 800, 3)
    wealth = growth(SimplexBets(SIMPLEX), numbers, 200)
    theta, mu = true_mean(SIMPLEX) + 4 / 15, true_mean(SIMPLEX)
    best = theta * math.log(theta / mu) + (1 - theta) * math.log((1 - theta) / (1 - mu))
    assert 0.5 * 200 * best < wealth.mean() < 1.05 * 200 * best


def test_both_parts_of_a_completed_watermark_are_read():
    """Sinkhorn's transport at (.9, .1) leaves the race half of what there is."""
    decoder = Completed(heavy_water("lognormal", 128, solver=Sinkhorn()))
    numbers = marked_numbers(decoder, np.array([0.9, 0.1]), 100, 2_000, 4)
    both = growth(CompletedBets(own_bets(HEAVY)), numbers, 500).mean()
    alone = growth(TransportBets(HEAVY), numbers, 500).mean()
    assert both > 1.4 * alone > 0
    assert growth(CompletedBets(own_bets(HEAVY), race=0.999), numbers, 500).mean() < both / 1.4


@pytest.mark.parametrize(
    "bets", [TransportBets(HEAVY), CompletedBets(own_bets(SIMPLEX, BOTH, True))], ids=lambda b: b.name
)
def test_a_stream_gives_the_numbers_of_the_whole_text(bets):
    rng = np.random.default_rng(7)
    prf, text = random_key(rng), phrases(rng)
    detector = Sequential(bets)
    whole = detector.test(Evidence(text, prf))
    stream = detector.stream(prf)
    for part in np.split(text, [1, 2, 9, 20]):
        stream.feed(part)
    assert stream.index == whole.index.tolist()
    np.testing.assert_allclose(np.cumsum(stream.log_e), whole.log_wealth, rtol=1e-12)


def test_text_under_the_second_key_is_found():
    prf = random_key(np.random.default_rng(8))
    text = written(heavy_water("lognormal", 128), np.full(30, 1 / 30), 150, prf, Stream.TARGET, 1)
    for coin in (True, False):
        test = Sequential(TransportBets(HEAVY, BOTH, coin))
        needed = test.test(Evidence(text, prf)).tokens_needed(1e-3)
        assert needed is not None
        assert needed < 60


@pytest.mark.parametrize("kind", [TransportBets, SimplexBets])
@pytest.mark.parametrize("streams", [(), STREAMS], ids=len)
def test_one_stream_or_two(kind, streams):
    with pytest.raises(ValueError, match="one stream or the two"):
        kind(SIMPLEX, streams)


@pytest.mark.parametrize("race", [0, 1, -0.1, math.nan])
def test_shares_that_are_none_are_refused(race):
    with pytest.raises(ValueError, match="race="):
        CompletedBets(own_bets(HEAVY), race=race)


# Choice


@pytest.mark.parametrize("method", [Basic, KeepEfficiency, TwoKeys, Algorithm1])
@pytest.mark.parametrize("name", ["heavywater:gamma,k=64", "simplexwater:5,sinkhorn=0.1", "simplexwater:5"])
def test_every_transport_has_its_detector_and_bets(method, name):
    decoder = parse_decoder(name)
    streams = tuple(s for s in Stream if s in method.detection.streams)
    coin = method is Algorithm1
    found = default_detector(method(decoder))
    kind = SimplexSum if isinstance(decoder.scores, SimplexScores) else RankRatio
    assert found == kind(decoder.scores, streams)
    assert default_bets(method(decoder)) == own_bets(decoder.scores, streams, coin)
    completed = method(Completed(decoder))
    silent, race = (0.7, 0.5) if "sinkhorn" in name else (0.95, 0.1)
    assert default_bets(completed) == CompletedBets(own_bets(decoder.scores, streams, coin), race)
    assert default_detector(completed) == CompletedSum(own_sum(decoder.scores, streams), silent)


def test_completed_tournaments_have_theirs():
    for rounds, silent, race in ((3, 0.7, 0.5), (30, 0.95, 0.1)):
        method = Basic(parse_decoder(f"completed:synthid:{rounds}"))
        assert default_detector(method) == CompletedSum(own_sum(rounds), silent)
        assert default_bets(method) == CompletedBets(own_bets(rounds), race)
