"""Detectors and bets of KGW, Unigram, DiPmark and inverse transform: exact laws, and what they find."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import tradeoff as td
from tests.helpers.support import ALPHA, Z
from tradeoff.decoders import parse_decoder
from tradeoff.detection import (
    CellBets,
    Evidence,
    GreenTokens,
    GreenTypes,
    LateTokens,
    NearUniforms,
    ScoreBets,
    Sequential,
    log_e_values,
    log_p_values,
)
from tradeoff.keyed import Key, KeyedPrf, Keyring, Stream, TokensOnce, listed, listed_share
from tradeoff.texts import Claims, Text
from tradeoff.verdicts import Corpus, Options

#: Three words again and again, a list, and letters: what text has that repeats itself.
REPEATED = [*([3, 1, 4] * 20), *range(50, 70), *([7, 8, 7, 9] * 10), *range(50, 70)]
NAMES = ["kgw:2", "unigram:2", "dipmark:0.4", "gamma-reweight", "inverse-transform"]
COMPLETED = ["completed:kgw:2", "completed:unigram:2", "completed:dipmark:0.4"]


def prf(seed: int) -> KeyedPrf:
    return KeyedPrf(Key(np.random.default_rng([77, seed]).bytes(32)))


def evidence(name: str, ids, seed: int) -> Evidence:
    return Evidence(ids, td.Scheme.of("basic", name).reads(prf(seed)))


@pytest.mark.parametrize(
    "ratio", [LateTokens(0.5), LateTokens(0.3), NearUniforms()], ids=lambda one: one.name
)
def test_bets_on_cells_have_mean_one_and_scores_the_law_that_they_say(ratio):
    bets = np.exp(ratio.log_bets)
    assert np.ascontiguousarray(bets.T).mean(axis=-1) == pytest.approx(np.ones(bets.shape[1]), abs=1e-12)
    values, counts = np.unique(ratio.score_of, return_counts=True)
    assert ratio.lowest == values[0]
    assert ratio.law[values - values[0]] == pytest.approx(counts / len(bets), abs=1e-15)
    # The ratio itself has mean 1 as well, up to the rounding of its score to a thousandth.
    assert np.exp(ratio.score_of / 1000).mean() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", [*NAMES, *COMPLETED])
def test_p_values_of_text_that_repeats_itself_are_exact_over_keys(name):
    """At most the level of keys has a p-value at most that level, and of the very law that is told."""
    scheme, keys = td.Scheme.of("basic", name), 600
    detector, base = scheme.detector(), evidence(name, REPEATED, 0)
    count = len(base)
    sums = [detector.contributions(base.under(scheme.reads(prf(key)))).sum() for key in range(keys)]
    found = log_p_values(detector, np.array(sums), count)
    for level in (0.5, 0.1, 0.01):
        threshold = detector.threshold(count, level)
        exact = math.exp(detector.log_p(threshold, count))
        assert exact <= level + 1e-9
        called = int(np.count_nonzero(found <= math.log(exact) + 1e-9))
        assert stats.binomtest(called, keys, exact).pvalue > ALPHA


def test_the_law_of_green_types_is_that_of_all_colours():
    """By enumeration: over all colourings of the different tokens, each counted once."""
    gamma, text = 0.25, [5, 6, 5, 7, 5, 6, 8]
    detector, different = GreenTypes(gamma), 4
    for least in range(different + 1):
        chance = sum(
            math.prod(gamma if green else 1 - gamma for green in colours)
            for colours in itertools.product([0, 1], repeat=different)
            if sum(colours) >= least
        )
        assert math.exp(detector.log_p(least, different)) == pytest.approx(chance, rel=1e-9)
    seen = evidence("unigram:2,gamma=0.25", text, 0)
    assert (seen.tokens.tolist(), seen.index.tolist()) == ([5, 6, 7, 8], [0, 1, 3, 6])


def test_tokens_that_repeat_would_convict_if_each_of_them_counted():
    """Zhao et al. take all tokens for independent: 4% and more of 3,000 keys have z > 4 on a text that
    repeats itself, which a normal law has three times in 100,000."""
    text = np.array(REPEATED)
    green = np.array([listed(prf(key), text, 0.5).sum() for key in range(3_000)])
    z = (green - 0.5 * len(text)) / (0.5 * math.sqrt(len(text)))
    assert np.mean(z > 4) > 0.04


def test_lists_have_the_share_that_is_told():
    assert listed_share(0.25) == 0.25
    assert abs(listed_share(0.3) - 0.3) < 2**-32
    assert (listed_share(1e-12), listed_share(1 - 1e-12)) == (2.0**-31, 1 - 2.0**-31)
    found = listed(prf(0), np.arange(200_000), 0.3).mean()
    assert abs(found - 0.3) < Z * math.sqrt(0.21 / 200_000)


def test_a_list_is_read_where_tokens_count_once_and_nowhere_else():
    with pytest.raises(ValueError, match=r"scheme.reads\(prf\)"):
        GreenTypes(0.5).contributions(Evidence(REPEATED, prf(0)))
    function = TokensOnce(prf(0))
    with pytest.raises(ValueError, match="with it use unigram"):
        function.position(Stream.SHARED, np.zeros((1, 2), dtype=np.int64))
    # Joined texts count as each by itself.
    texts = [np.array([5, 6, 5]), np.array([6, 5, 9, 9])]
    joined, bounds = Evidence.of_texts(texts, function)
    assert (joined.tokens.tolist(), bounds.tolist()) == ([5, 6, 6, 5, 9], [0, 2, 5])
    assert np.array_equal(
        joined.listed(0.5), np.concatenate([Evidence(text, function).listed(0.5) for text in texts])
    )


def test_the_delta_reweight_cannot_be_read_by_the_key_alone():
    scheme = td.Scheme.of("basic", "delta-reweight")
    for read in (scheme.detector, scheme.bets):
        with pytest.raises(ValueError, match=r"ModelAware.*gumbel or inverse-transform"):
            read()


def written(
    name: str, tokens: int, laws, seed: int = 0, method: str = "basic"
) -> tuple[td.Scheme, td.Key, list[int]]:
    """A text of the laws, without speculation."""
    scheme, key, rng = td.Scheme.of(method, name), Key(bytes([seed + 1] * 32)), np.random.default_rng(seed)
    ids: list[int] = []
    used: set[tuple[int, ...]] = set()
    for i in range(tokens):
        context = tuple(ids[-2:])
        ids.append(int(td.draw(laws[i % len(laws)], scheme, key, ids, marked=context not in used, rng=rng)))
        used.add(context)
    return scheme, key, ids


def some_laws(n: int) -> np.ndarray:
    """Of languages: peaked and flat ones."""
    rng = np.random.default_rng(5)
    return np.stack([rng.dirichlet(np.full(n, s)) for s in np.geomspace(0.02, 0.3, 40)])


@pytest.mark.parametrize("name", [*NAMES, *COMPLETED])
def test_text_is_found_by_its_own_key_and_by_no_other(name):
    """Unigram has no more to tell than there are different tokens, and so wants a larger vocabulary."""
    laws = some_laws(1_000 if "unigram" in name else 64)
    scheme, key, ids = written(name, 400, laws)
    mine = td.detect(ids, scheme, key, segments=False)
    assert mine.log10_p < -6
    assert td.detect(ids, scheme, Key(bytes([99] * 32)), segments=False).log10_p > -4
    watched = list(td.watch(ids, scheme, key, alpha=1e-4))[-1]
    assert watched.tokens_needed is not None


@pytest.mark.parametrize("name", ["dipmark:0.4", "inverse-transform"])
def test_both_keys_of_algorithm_1_are_read(name):
    """Without a draft the second key draws all tokens; the detector reads both."""
    scheme, key, ids = written(name, 400, some_laws(64), method="algorithm-1")
    assert td.detect(ids, scheme, key, segments=False).log10_p < -6


def test_two_unigram_texts_of_one_key_share_their_tokens_once():
    """What a token says in one text it does not say again in another: judged together it counts once."""
    scheme, key = td.Scheme.of("basic", "unigram:2"), Key(bytes(32))
    texts = [list(range(100)), list(range(50, 150))]
    corpus = Corpus(Options(schemes=(scheme,)), Keyring.of(key), lambda _: None, lambda _: None)
    found = corpus.judge(
        Text(name, name, name, ids, [], Claims(), None) for name, ids in zip("ab", texts, strict=True)
    )
    assert (found.contexts, found.shared) == (200, 50)


# --- Bets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("kgw:2", ScoreBets),
        ("unigram:2", ScoreBets),
        ("dipmark:0.4", CellBets),
        ("inverse-transform", CellBets),
    ],
)
def test_bets_are_fair_over_keys_and_may_be_stopped_at_will(name, kind):
    """Of text that repeats itself: e-values have the mean 1, and wealth reaches 20 under a key in 20."""
    scheme, base = td.Scheme.of("basic", name), evidence(name, REPEATED, 0)
    bets = scheme.bets()
    assert isinstance(bets, kind)
    sums, reached, keys = [], 0, 600
    for key in range(keys):
        logs = bets.log_bets(base.under(scheme.reads(prf(key))))
        sums.append(np.exp(logs).mean(axis=0))
        reached += int((log_e_values(logs, bets.prior).cumsum() >= math.log(20)).any())
    sums = np.array(sums)
    error = sums.std(axis=0, ddof=1) / math.sqrt(keys)
    assert np.all(np.abs(sums.mean(axis=0) - 1) <= Z * error + 1e-9)
    assert stats.binomtest(reached, keys, 0.05, alternative="greater").pvalue > ALPHA


def test_unigram_bets_count_a_token_once_however_text_comes():
    """Token by token as in one piece."""
    scheme = td.Scheme.of("basic", "unigram:2")
    stream = Sequential(scheme.bets()).stream(scheme.reads(prf(1)), 0.01)
    for token in REPEATED:
        stream.feed(np.array([token]))
    assert stream.tokens == len(REPEATED)
    once = list(dict.fromkeys(REPEATED))
    other = Sequential(scheme.bets()).stream(scheme.reads(prf(1)), 0.01)
    other.feed(np.array(once))
    assert stream.log_wealth == pytest.approx(other.log_wealth, abs=1e-9)


def test_laws_of_green_tokens_are_binomial():
    detector = GreenTokens(0.25, (Stream.DRAFT, Stream.TARGET))
    for least in (0, 20, 60):
        assert math.exp(detector.log_p(least, 50)) == pytest.approx(
            stats.binom.sf(least - 1, 100, 0.25), rel=1e-9
        )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_of_a_token(name):
    readings = td.Scheme.of("basic", name).detector().readings(evidence(name, REPEATED, 0))
    assert readings.of(0).split(" ")[0] in {"list", "place", "uniforms"}
    assert all(len(column) == len(evidence(name, REPEATED, 0)) for column in readings.columns.values())


def test_forecasts_are_refused_by_name():
    for name in [*NAMES, *COMPLETED]:
        scheme = td.Scheme.of("basic", name)
        with pytest.raises(ValueError, match="has no forecast"):
            td.forecast(scheme, entropy=1.0)
    assert parse_decoder("completed:kgw:2").moves_target
