"""The likelihood-ratio test on race scores: exact null law, power, extremes, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from tests.detection.races.cases import FOUR, JOINT_FIRST, PAPER, THREE, emitted
from tests.helpers.support import Z
from tradeoff.detection import Aaronson, RaceLawRatio, RaceScoreLaw, emitted_score_laws, race_score_law
from tradeoff.kernels import JointRace
from tradeoff.keyed import Stream

LEVEL = 1e-5
SURE = (np.array([0.98, 0.01, 0.01]), np.array([0.9, 0.05, 0.05]))


def laws_of(*pairs: tuple[np.ndarray, np.ndarray]) -> list[RaceScoreLaw]:
    return [race_score_law("joint-race", *pair) for pair in pairs]


def ks_bound(texts: int) -> float:
    """Massart: the distance of n draws from their law exceeds it with probability LEVEL at most."""
    return math.sqrt(math.log(2 / LEVEL) / (2 * texts))


@pytest.mark.parametrize("epsilon", [0.01, 0.5])
def test_p_values_without_the_watermark_are_uniform(epsilon):
    """But for the error of the simulated tails, below 2%, and for atoms."""
    laws, texts = laws_of(PAPER, SURE, FOUR), 600
    scores = np.random.default_rng(1).exponential(size=(texts, len(laws)))
    test = RaceLawRatio(epsilon)
    found = np.exp([test.test(laws, each).log_p for each in scores])
    assert stats.kstest(found, "uniform").statistic <= ks_bound(texts) + 0.02


@pytest.mark.parametrize("total", [0.5, 2.0, 4.0, 6.0])
def test_the_tail_of_two_positions_by_enumeration(total):
    """All pairs of cells, within the errors that it reports; also where simulation would see nothing."""
    test = RaceLawRatio(0.05)
    ratios = test.log_ratio(laws_of(PAPER, PAPER))
    edges = 0.05 * np.expm1(np.linspace(0.0, math.log1p(40.0 / 0.05), ratios.shape[1]))
    null = np.exp(-edges) - np.append(np.exp(-edges[1:]), 0.0)
    exact = np.outer(null, null)[ratios[0][:, None] + ratios[1] >= total].sum()
    tail = test.tail(ratios, total)
    if exact == 0:
        assert tail.log_p == -math.inf
    else:
        assert abs(math.exp(tail.log_p) / exact - 1) <= Z * tail.relative_error + 1e-9
        assert tail.relative_error < 0.05


def test_a_ratio_is_that_of_the_densities_and_has_mean_one():
    """(1 - epsilon) f / exp(-s) + epsilon at the cell; its mean without the watermark is 1: an e-value."""
    epsilon = 0.05
    for law in laws_of(PAPER, SURE, FOUR, JOINT_FIRST):
        scores = np.array([0.5, 1.5, 4.0, 8.0])
        each = [RaceLawRatio(epsilon).test([law], np.array([s])).statistic for s in scores]
        exact = (1 - epsilon) * law.density(scores) * np.exp(scores) + epsilon
        np.testing.assert_allclose(np.exp(each), exact, rtol=0.05)
        ratio = np.exp(RaceLawRatio(epsilon).log_ratio([law])[0])
        edges = 0.05 * np.expm1(np.linspace(0.0, math.log1p(40.0 / 0.05), len(ratio)))
        null = np.exp(-edges) - np.append(np.exp(-edges[1:]), 0.0)
        assert null @ ratio == pytest.approx(1, abs=1e-9)


def test_it_finds_more_than_aaronsons_sum():
    """One open position in four, whose scores the others drown; by how much, text by text."""
    pairs = [tuple(np.append(law, np.zeros(10 - len(law))) for law in SURE)] * 3 + [PAPER]
    texts, positions = 100, [pairs[k % 4] for k in range(16)]
    p, q = (np.stack(part) for part in zip(*positions, strict=True))
    tokens, scores = emitted(JointRace(), np.tile(p, (texts, 1)), np.tile(q, (texts, 1)), 6)
    tokens, found = tokens.reshape(texts, -1), scores[Stream.SHARED].reshape(texts, -1)
    laws, test, level = laws_of(*positions), RaceLawRatio(0.05), math.log(1e-3)
    plain = np.array([Aaronson().log_p(float(s.sum()), len(s)) <= level for s in found], int)
    mixed = np.array([test.test(laws, s).log_p <= level for s in found], int)
    given_token = np.array(
        [
            test.test(emitted_score_laws("joint-race", p, q, w), s).log_p <= level
            for w, s in zip(tokens, found, strict=True)
        ],
        int,
    )
    for sharper, other in ((mixed, plain), (given_token, plain)):
        gain = sharper - other
        assert gain.mean() - 3 * gain.std(ddof=1) / math.sqrt(texts) > 0


def test_laws_that_are_wrong_keep_the_level():
    """Whatever the models say: here positions in another order."""
    laws, texts = laws_of(PAPER, FOUR, THREE, SURE)[::-1], 400
    scores = np.random.default_rng(2).exponential(size=(texts, 4))
    hits = sum(RaceLawRatio().test(laws, each).log_p <= math.log(0.05) for each in scores)
    assert stats.binomtest(hits, texts, 0.05 * 1.02, alternative="greater").pvalue > LEVEL


def test_the_allowance_bounds_what_a_score_costs():
    laws, impossible = laws_of(PAPER, PAPER), np.array([1e-9, 1e-9])
    for epsilon in (1e-9, 0.1, 1 - 1e-9):
        test = RaceLawRatio(epsilon)
        result = test.test(laws, impossible)
        assert result.statistic >= 2 * math.log(epsilon)
        assert -1e-9 <= 1 - math.exp(result.log_p) <= 1
    # All is an edit: nothing is evidence, however the score.
    certain = RaceLawRatio(1 - 1e-9).test(laws, np.array([30.0, 30.0]))
    assert abs(certain.statistic) < 1e-5
    # No allowance: Neyman and Pearson's ratio itself.
    law, s = laws[0], np.array([3.0])
    ratio = math.log(float(law.density(s)[0])) + 3.0
    assert RaceLawRatio(1e-9).test([law], s).statistic == pytest.approx(ratio, abs=0.03)


def test_certain_tokens_say_nothing():
    """Their law is Exp(1): a ratio of 1."""
    laws = laws_of((np.array([1.0, 0.0]), np.array([1.0, 0.0])))
    result = RaceLawRatio().test(laws * 3, np.array([0.1, 1.0, 9.0]))
    np.testing.assert_allclose(result.contributions, 0.0, atol=1e-9)
    assert result.log_p == 0.0
    assert RaceLawRatio().test([], np.zeros(0)).log_p == 0.0


def test_deep_tails_are_where_the_ratio_says():
    """P(S >= x) <= exp(-x), by Markov, and at least what 200 such scores have together."""
    laws = laws_of(*[PAPER] * 200)
    result = RaceLawRatio(0.05).test(laws, np.full(200, 7.0))
    assert -200 * 7.2 <= result.log_p <= -result.statistic
    assert result.log_p < -700


def test_laws_given_tokens():
    """Those of `race_score_law`; the law without a watermark where the target never draws the token."""
    p, q = (np.stack(part) for part in zip(JOINT_FIRST, THREE, strict=True))
    first, second = emitted_score_laws("joint-race", p, q, np.array([0, 2]))
    assert first.mean == pytest.approx(1)
    assert second.mean == pytest.approx(race_score_law("joint-race", *THREE, token=2).mean)
    one, two = emitted_score_laws("two-keys", p, q, np.array([1, 2]), Stream.TARGET)
    assert one.scores == two.scores == 1
    assert len(emitted_score_laws("basic", p, None, np.array([1, 2]))) == 2
    x = integrate.quad(lambda s: float(second.density(s)), 0, 60, limit=300)[0]
    assert x == pytest.approx(1, abs=1e-6)


def test_the_result_names_positions():
    result = RaceLawRatio().test(laws_of(PAPER, FOUR), np.array([1.0, 2.0]), np.array([4, 9]))
    assert result.index.tolist() == [4, 9]
    assert result.tokens_scored == 2
    assert result.statistic == pytest.approx(result.contributions.sum())
    again = RaceLawRatio().test(laws_of(PAPER, FOUR), np.array([1.0, 2.0]))
    assert again.log_p == result.log_p
    assert again.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RaceLawRatio(0.0), "epsilon=0.0"),
        (lambda: RaceLawRatio(1.0), "epsilon=1.0"),
        (lambda: RaceLawRatio(math.nan), "epsilon=nan"),
        (
            lambda: RaceLawRatio().test(laws_of(PAPER), np.array([1.0, 2.0])),
            r"shape \(2,\); pass one for each",
        ),
        (lambda: RaceLawRatio().test(laws_of(PAPER), np.array([-1.0])), "scores hold -1.0"),
        (lambda: RaceLawRatio().test(laws_of(PAPER), np.array([math.nan])), "scores hold nan"),
        (
            lambda: RaceLawRatio().test([race_score_law("two-keys", *PAPER)], np.array([1.0])),
            "no closed tail",
        ),
        (lambda: emitted_score_laws("joint-race", PAPER[0], PAPER[1], np.array([0])), "have shapes"),
        (lambda: emitted_score_laws("joint-race", PAPER[0][None], None, np.array([0])), "q is missing"),
        (lambda: emitted_score_laws("basic", PAPER[0][None], None, np.array([10])), "ids from 0 to 9"),
        (lambda: emitted_score_laws("basic", PAPER[0][None], None, np.array([0.5])), "as integers"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
