"""Sequential tests: bets are fair for every text, and no stopping rule makes them lie."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from tests.helpers.ideal import Given, unmarked
from tests.helpers.support import ALPHA, P
from tradeoff.anchored.supermartingales import log_p_values
from tradeoff.decoders import GumbelMax, SynthID
from tradeoff.detection import Aaronson, Evidence, SumOfKeys, WeightedMeanBits
from tradeoff.detection.bets.gumbel import PROBABILITIES, RaceBets, race_log_bets
from tradeoff.detection.bets.stream_bets import Bets, StreamBets
from tradeoff.detection.bets.synthid import TournamentBets
from tradeoff.detection.sequential import (
    OverTime,
    Sequential,
    SequentialResult,
    TokenStream,
    Wealth,
    bonferroni,
    log_e_values,
)
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Stream
from tradeoff.texts.corpus import human_paragraphs

TEXTS, TOKENS, ROUNDS = 50_000, 60, 6
BOTH = (Stream.DRAFT, Stream.TARGET)
FAMILIES: list[StreamBets] = [
    RaceBets(),
    TournamentBets(ROUNDS),
    RaceBets(BOTH, True),
    RaceBets(BOTH, False),
    TournamentBets(ROUNDS, BOTH, True),
    TournamentBets(ROUNDS, BOTH, False),
]
names = [f"{bets.name} {bets.coin}" for bets in FAMILIES]


@pytest.mark.parametrize("column", range(len(PROBABILITIES)))
def test_a_bet_on_a_race_is_the_density_of_its_winner(column):
    p = PROBABILITIES[column]

    def density(uniform: float) -> float:
        return math.exp(race_log_bets(np.array(uniform))[column])

    assert integrate.quad(density, 0, 1)[0] == pytest.approx(1, abs=1e-7)
    # -log U is p times a standard exponential variable: P(U <= u) = u^(1/p).
    assert integrate.quad(density, 0, 0.7)[0] == pytest.approx(0.7 ** (1 / p), abs=1e-9)


def test_tournament_bets_are_fair_by_enumeration():
    bits = np.array(list(itertools.product((0, 1), repeat=ROUNDS)))
    e = np.exp(TournamentBets(ROUNDS).log_bets(Given(bits={Stream.SHARED: bits})))
    assert e.mean(axis=0) == pytest.approx(1, abs=1e-12)
    assert (e > 0).all()


@pytest.mark.parametrize("coin", [True, False])
def test_two_key_bets_are_fair_at_every_coin(coin):
    bits = np.array(list(itertools.product((0, 1), repeat=6)))
    both = {Stream.DRAFT: bits[:, :3], Stream.TARGET: bits[:, 3:]}
    for value in (1e-9, 0.3, 1 - 1e-9):
        text = Given(bits=both, coins=np.full(len(bits), value))
        e = np.exp(TournamentBets(3, BOTH, coin).log_bets(text))
        assert e.mean(axis=0) == pytest.approx(1, abs=1e-12)


def test_two_key_race_bets_are_fair_and_read_both_keys():
    bets = RaceBets(BOTH, True)
    grid = (np.arange(4000) + 0.5) / 4000
    for held in BOTH:
        other = Stream.TARGET if held is Stream.DRAFT else Stream.DRAFT
        text = Given({held: np.full(4000, 0.5), other: grid}, coins=np.full(4000, 0.25))
        share = 0.6 if held is Stream.DRAFT else 0.4
        alone = np.exp(race_log_bets(np.array(0.5)))
        # The last bet, of 1% tokens, has a density that no grid resolves.
        mean = np.exp(bets.log_bets(text)).mean(axis=0)[1:-1]
        assert mean == pytest.approx((share * alone + 1 - share)[:-1], rel=1e-3)


@pytest.mark.parametrize("bets", FAMILIES, ids=names)
def test_the_first_bet_keeps_the_wealth_and_the_prior_is_a_distribution(bets):
    log_bets = bets.log_bets(unmarked(5, 0, ROUNDS))
    assert (log_bets[:, 0] == 0).all()
    assert bets.prior.shape == (log_bets.shape[1],)
    assert bets.prior.sum() == pytest.approx(1, abs=1e-12)
    assert (bets.prior > 0).all()


@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_wealth_is_a_martingale_whatever_was_learnt(symbols, length, seed):
    """Over all sequences of a small alphabet the wealth has mean 1 at every time, and at a stopping time."""
    rng = np.random.default_rng(seed)
    law = rng.dirichlet(np.ones(symbols))
    # Columns are likelihood ratios of random laws: fair bets.
    bets = np.column_stack([np.ones(symbols), *(rng.dirichlet(np.ones(symbols)) / law for _ in range(3))])
    sequences = np.array(list(itertools.product(range(symbols), repeat=length)))
    log_e = log_e_values(np.log(bets)[sequences], np.full(4, 0.25))
    weight = law[sequences].prod(axis=1)
    wealth = np.exp(np.cumsum(log_e, axis=1))
    assert weight @ wealth == pytest.approx(np.ones(length), rel=1e-9)
    stop = np.where((wealth >= 1.2).any(axis=1), (wealth >= 1.2).argmax(axis=1), length - 1)
    assert weight @ wealth[np.arange(len(stop)), stop] == pytest.approx(1, rel=1e-9)


def test_a_bet_that_loses_everything_costs_its_stake_alone():
    log_bets = np.array([[0.0, -math.inf], [0.0, math.log(4)]])
    first, second = log_e_values(log_bets, np.array([0.5, 0.5]), concentration=3)
    assert first == pytest.approx(math.log(0.5))
    # The stake on the second bet is now 3/4 of 1/2.
    assert second == pytest.approx(math.log(0.625 + 0.375 * 4))


@pytest.mark.parametrize("bets", FAMILIES, ids=names)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_first_crossings_of_50_000_ideal_texts_keep_the_level(bets, alpha):
    """The worst stopping rule there is: stop when the text would be convicted."""
    convicted = int((highest_wealth(bets) >= -math.log(alpha)).sum())
    assert stats.binomtest(convicted, TEXTS, alpha, "greater").pvalue > ALPHA


@cache
def highest_wealth(bets: Bets) -> np.ndarray:
    """Of every text over time, in logarithms: [TEXTS]."""
    found = []
    for part in range(0, TEXTS, 5_000):
        text = unmarked(5_000 * TOKENS, part, ROUNDS)
        log_bets = bets.log_bets(text).reshape(5_000, TOKENS, -1)
        found.append(np.cumsum(log_e_values(log_bets, bets.prior), axis=1).max(axis=1))
    return np.concatenate(found)


def phrases(rng: np.random.Generator) -> np.ndarray:
    """A few phrases said over and over: a detector that counted repeats would go wrong."""
    stock = rng.integers(0, 50, (3, 12))
    return stock[rng.integers(0, 3, 12)].ravel()


@pytest.mark.parametrize(
    "test",
    [Sequential(RaceBets()), OverTime(Aaronson()), Sequential(RaceBets(BOTH, True))],
)
def test_repeated_contexts_under_random_keys_keep_the_level(test):
    rng = np.random.default_rng(5)
    texts, alpha = 500, 0.05
    found = [
        test.test(Evidence(phrases(rng), KeyedPrf(Key(rng.bytes(32)), 2))).log_p[-1] <= math.log(alpha)
        for _ in range(texts)
    ]
    assert stats.binomtest(int(np.sum(found)), texts, alpha, "greater").pvalue > ALPHA


def test_counting_repeats_would_break_the_level():
    """The same texts with every occurrence counted: what first occurrences guard against."""
    rng = np.random.default_rng(5)
    bets, convicted = RaceBets(), 0
    for _ in range(1_500):
        tokens, prf = phrases(rng), KeyedPrf(Key(rng.bytes(32)), 2)
        contexts = np.stack([np.roll(tokens, 2), np.roll(tokens, 1)], axis=1)
        uniforms = prf.uniform(Stream.SHARED, contexts, tokens[:, None])[:, 0]
        log_e = log_e_values(bets.log_bets(Given({Stream.SHARED: uniforms})), bets.prior)
        convicted += np.cumsum(log_e).max() >= -math.log(0.05)
    assert stats.binomtest(int(convicted), 1_500, 0.05, "greater").pvalue < ALPHA


@pytest.mark.parametrize("detector", [Aaronson(), SumOfKeys(), WeightedMeanBits(ROUNDS)])
def test_fixed_length_tests_over_time_keep_the_level_by_bonferroni(detector):
    rng, alpha = np.random.default_rng(3), 0.05
    texts = 400
    found = [OverTime(detector).test(unmarked(40, int(s), ROUNDS)) for s in rng.integers(1 << 40, size=texts)]
    convicted = int(np.sum([result.log_p[-1] <= math.log(alpha) for result in found]))
    assert stats.binomtest(convicted, texts, alpha, "greater").pvalue > ALPHA


def test_bonferroni_by_hand():
    result = bonferroni("test", np.log([0.2, 0.001, 0.5]), np.array([0, 4, 5]))
    # 0.2 x 2, 0.001 x 6, and never more than before.
    assert np.exp(result.log_p) == pytest.approx([0.4, 0.006, 0.006])
    assert result.tokens_needed(0.01) == 5
    assert result.tokens_needed(0.5) == 1
    assert result.tokens_needed(0.001) is None


def test_the_anytime_p_value_is_the_inverse_of_the_highest_wealth():
    text = unmarked(30, 4)
    result = Sequential(RaceBets()).test(text)
    highest = np.maximum.accumulate(np.maximum(np.exp(result.log_wealth), 1))
    assert np.exp(result.log_p) == pytest.approx(1 / highest)


@pytest.mark.parametrize("prf", [KeyedPrf(Key(bytes(range(32))), 3), VllmPhilox(0x0123456789ABCDEF)])
@pytest.mark.parametrize("bets", [RaceBets(), RaceBets(BOTH, False)], ids=["one key", "two keys"])
def test_a_stream_says_after_every_token_what_the_whole_text_says(prf, bets):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 4, 150)
    detector = Sequential(bets)
    one_by_one, in_parts = detector.stream(prf), detector.stream(prf)
    for n, token in enumerate(tokens, start=1):
        wealth = one_by_one.feed([token])
        whole = detector.test(Evidence(tokens[:n], prf))
        assert one_by_one.tokens == n
        assert one_by_one.index == whole.index.tolist()
        if len(whole.index):
            assert wealth == pytest.approx(whole.log_wealth[-1], abs=1e-9)
            assert one_by_one.log_p == pytest.approx(whole.log_p[-1], abs=1e-9)
        else:
            assert wealth == one_by_one.log_p == 0
    assert len(one_by_one.index) < 150
    for part in np.split(tokens, [0, 1, 3, 50, 50, 53]):
        in_parts.feed(part)
    assert in_parts.index == one_by_one.index
    assert in_parts.log_e == pytest.approx(one_by_one.log_e, abs=1e-12)


def test_a_stream_knows_when_it_was_certain():
    prf, detector = KeyedPrf(Key(bytes(32)), 2), Sequential(RaceBets())
    tokens: list[int] = [3, 1]
    for _ in range(60):
        race = prf.race(Stream.SHARED, np.array(tokens[-2:]), np.arange(100))
        tokens.append(int(np.argmin(race)))
    stream = detector.stream(prf, alpha=1e-3)
    stream.feed(tokens)
    assert stream.tokens_needed == detector.test(Evidence(tokens, prf)).tokens_needed(1e-3)
    assert stream.tokens_needed is not None
    assert 4 < stream.tokens_needed < 12


def marked(rng: np.random.Generator, texts: int, tokens: int) -> Given:
    race = rng.exponential(size=(texts * tokens, len(P)))
    token = GumbelMax().token(np.broadcast_to(P, race.shape), race)
    return Given({Stream.SHARED: np.exp(-race[np.arange(len(token)), token])})


def test_watermarked_text_is_found_and_grows_at_most_at_the_rate_of_its_law():
    """The log-optimal bet knows the density of U: no predictable strategy grows faster on average."""
    rng = np.random.default_rng(2)
    texts, tokens = 2_000, 100
    bets = RaceBets()
    log_e = log_e_values(
        bets.log_bets(marked(rng, texts, tokens)).reshape(texts, tokens, -1), bets.prior
    ).sum(axis=1)

    def density(u: float) -> float:
        # A token of probability p wins with probability p, and then U has density u^(1/p - 1) / p.
        return float((u ** (1 / P - 1)).sum())

    best = integrate.quad(lambda u: density(u) * math.log(density(u)), 0, 1)[0]
    error = log_e.std(ddof=1) / math.sqrt(texts)
    assert log_e.mean() < tokens * best + 6 * error
    # What is lost to learning, and to bets on other probabilities, is less than a third.
    assert log_e.mean() > 0.7 * tokens * best
    assert (log_e >= math.log(100)).mean() > 0.99


def test_tournament_bets_find_synthid():
    rng = np.random.default_rng(8)
    decoder, rows = SynthID(30), 200 * 100
    zeta = decoder.draw(rng, (rows,), len(P))
    law = decoder(np.broadcast_to(P, (rows, len(P))), zeta)
    token = (law.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(max=len(P) - 1)
    word = zeta.word(0)[np.arange(rows), token]
    bits = ((word[:, None] >> np.arange(30)) & 1).astype(np.int8)
    log_bets = TournamentBets(30).log_bets(Given(bits={Stream.SHARED: bits})).reshape(200, 100, -1)
    log_wealth = log_e_values(log_bets, TournamentBets(30).prior).sum(axis=1)
    assert (log_wealth >= math.log(100)).mean() > 0.95


def test_human_text_is_let_go():
    """One key, one text, read to the end: the wealth of a fair game seldom reaches 1000."""
    words = " ".join(human_paragraphs()[:40]).split()
    ids = {word: i for i, word in enumerate(dict.fromkeys(words))}
    evidence = Evidence([ids[word] for word in words], KeyedPrf(Key(bytes(32)), 2))
    assert len(evidence) > 500
    assert Sequential(RaceBets()).test(evidence).tokens_needed(1e-3) is None


def test_a_text_without_tokens_that_count_tells_nothing():
    prf = KeyedPrf(Key(bytes(32)), 4)
    for test in (Sequential(RaceBets()), OverTime(Aaronson())):
        result = test.test(Evidence([1, 2, 3], prf))
        assert len(result.log_p) == 0
        assert result.tokens_needed(0.5) is None


@pytest.mark.parametrize("alpha", [0, 1, -0.1, math.nan])
def test_levels_outside_0_and_1_are_refused(alpha):
    result = SequentialResult("test", np.zeros(1), np.zeros(1, int))
    with pytest.raises(ValueError, match="alpha="):
        result.tokens_needed(alpha)
    with pytest.raises(ValueError, match="alpha="):
        TokenStream(Sequential(RaceBets()), KeyedPrf(Key(bytes(32))), alpha)


def test_certainty_stays():
    wealth = Wealth(np.array([0.5, 0.5]))
    wealth.bet(np.array([0.0, math.log(99)]))
    assert wealth.log_peak == pytest.approx(math.log(50))
    wealth.bet(np.array([0.0, -math.inf]))
    assert wealth.log_wealth < wealth.log_peak == pytest.approx(math.log(50))


def test_a_bet_that_wins_more_than_a_float_holds_is_paid_less_and_breaks_nothing():
    wealth = Wealth(np.array([0.5, 0.5]))
    assert wealth.bet(np.array([0.0, 2000.0])) == pytest.approx(700 + math.log(0.5))
    assert np.isfinite(wealth.bet(np.array([0.0, -2000.0])))
    assert wealth.log_peak == pytest.approx(700 + math.log(0.5))


@pytest.mark.parametrize("kind", [np.uint64, np.uint32, np.int8, list, tuple])
def test_a_stream_takes_the_token_ids_that_a_text_may_have(kind):
    stream, tokens = Sequential(RaceBets()).stream(KeyedPrf(Key(bytes(32)), 2)), [3, 1, 4, 1, 5, 9]
    for part in ([], tokens[:3], tokens[3:]):
        stream.feed(kind(part) if kind in (list, tuple) else np.array(part, kind))
    assert stream.tokens == 6
    assert (
        stream.log_e
        == Sequential(RaceBets()).contributions(Evidence(tokens, KeyedPrf(Key(bytes(32)), 2))).tolist()
    )


@pytest.mark.parametrize("part", [[1.0], [True], [[1, 2]], 5, [-1], [1 << 70]])
def test_what_are_no_token_ids_changes_nothing(part):
    stream = Sequential(RaceBets()).stream(KeyedPrf(Key(bytes(32)), 2))
    stream.feed([3, 1, 4])
    with pytest.raises(ValueError, match="token_ids"):
        stream.feed(part)
    assert stream.tokens == 3


def test_a_p_value_of_1_has_the_logarithm_0_and_not_minus_0():
    """It is printed."""
    prf, detector = KeyedPrf(Key(bytes(32)), 2), Sequential(RaceBets())
    losing = SequentialResult("test", log_p_values(np.array([-1.0])), np.zeros(1, int)).log_p[0]
    for log_p in (detector.stream(prf).log_p, detector.log_p(0.0, 1), detector.log_p(-3.0, 1), losing):
        assert math.copysign(1, log_p) == 1


@pytest.mark.parametrize("rounds", [0, -1, 2.5])
def test_rounds_that_are_none_are_refused(rounds):
    with pytest.raises(ValueError, match="rounds="):
        TournamentBets(rounds)
