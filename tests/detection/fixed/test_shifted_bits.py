"""The exact law of Transformers' SynthID given the text: every key, one by one, where there are few."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tradeoff as td
from tests.helpers.ideal import assert_null_law
from tests.helpers.support import ALPHA
from tradeoff.decoders import GumbelMax
from tradeoff.detection import (
    Evidence,
    Exactness,
    ShiftedBits,
    WeightedMeanBits,
    default_detector,
    detect,
    given_text,
)
from tradeoff.detection.choice import default_bets
from tradeoff.kernels import Basic
from tradeoff.keyed import DepthKeys, SamplingTable, Stream, parse_prf


def statistic(prf, ids: np.ndarray, rounds: int) -> float:
    """The weighted sum of ones, from the bits one by one."""
    bits = Evidence(ids, prf).bits(Stream.SHARED, rounds)
    return float((bits * ShiftedBits(rounds).weights).sum())


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([2, 4, 8]), st.integers(1, 6))
def test_the_law_is_that_of_all_keys(seed, rounds, size, alphabet):
    """P(sum >= s) over uniform keys, for every s, of texts that repeat themselves."""
    rng = np.random.default_rng(seed)
    ids, name = rng.integers(0, alphabet, 25), f"hf-synthid:table={size},seed={seed}"
    detector = ShiftedBits(rounds, SamplingTable(size, seed))
    evidence = Evidence(ids, parse_prf(name, DepthKeys([0] * rounds), 2))
    law = given_text(detector, evidence)
    sums = [
        detector.contributions(evidence.under(parse_prf(name, DepthKeys(keys), 2))).sum()
        for keys in itertools.product(range(size), repeat=rounds)
    ]
    for value, count in zip(*np.unique(sums, return_counts=True), strict=True):
        p = float(np.mean(np.array(sums) >= value))
        assert count > 0
        assert law.log_p(float(value), len(evidence)) == pytest.approx(math.log(p), abs=1e-9)
    assert law.log_p(max(sums) + 1, len(evidence)) == -math.inf
    assert law.log_p(min(sums), len(evidence)) == pytest.approx(0, abs=1e-12)


def test_scores_are_weighted_bits():
    for rounds in (1, 7, 8, 9, 30, 64, 65, 100):
        prf = parse_prf("hf-synthid", DepthKeys.new(rounds))
        ids = np.random.default_rng(rounds).integers(0, 50_000, 40)
        score = detect(ShiftedBits(rounds), Evidence(ids, prf))
        assert score.statistic == statistic(prf, ids, rounds)
        assert score.tokens_scored == 40


def test_the_far_tail_is_exact():
    """Down to the least p-value that there is, in whole numbers: counts of shifts, convolved."""
    rounds, ids = 30, np.random.default_rng(0).integers(0, 50_000, 12)
    evidence = Evidence(ids, parse_prf("hf-synthid", DepthKeys.new(rounds)))
    law = given_text(ShiftedBits(rounds), evidence)
    cyclic = SamplingTable().cyclic
    assert cyclic is not None
    places = law.places.u
    # Every shift by itself.
    sums = sum(np.roll(cyclic, -int(u)).astype(int) for u in places)
    counts = np.bincount(sums)
    exact = [Fraction(1)]
    for weight in ShiftedBits(rounds).weights.tolist():
        grown = [Fraction(0)] * (len(exact) + weight * (len(counts) - 1))
        for place, mass in enumerate(exact):
            for value, count in enumerate(counts.tolist()):
                grown[place + weight * value] += mass * count
        exact = grown
    total = Fraction(1 << 16) ** rounds
    tail, logs = Fraction(0), []
    for mass in reversed(exact):
        tail += mass
        logs.append(
            math.log(tail.numerator) - math.log((total * tail.denominator).numerator) if tail else -math.inf
        )
    logs.reverse()
    for value, log_p in enumerate(logs):
        if value % 100 == 0 or log_p < -250:
            assert law.log_p(value, len(evidence)) == pytest.approx(log_p, rel=1e-9, abs=1e-9)
    assert min(one for one in logs if one > -math.inf) < -200


def test_statistics_under_random_keys_follow_it():
    law, sums = text_under_keys(SamplingTable(), 300, keys=20_000)
    assert_null_law(lambda value: law.log_p(value, 300), sums, points=40)


def test_a_binomial_law_would_not_do():
    """The table of seed 194 has too many ones: fair bits are not what a text without a watermark has."""
    law, sums = text_under_keys(SamplingTable(seed=194), 3000, keys=200)
    called = np.array([law.log_p(value, 3000) <= math.log(0.01) for value in sums])
    assert stats.binomtest(int(called.sum()), 200, 0.01).pvalue > ALPHA
    fair = WeightedMeanBits(30)
    assert np.mean([fair.log_p(value, 3000) <= math.log(0.01) for value in sums]) > 0.3


def text_under_keys(table: SamplingTable, tokens: int, keys: int) -> tuple[ShiftedBits, np.ndarray]:
    """The law of a text, and its sums under keys drawn at random: [keys]."""
    rng = np.random.default_rng(2)
    prf = parse_prf(f"hf-synthid:seed={table.seed}", DepthKeys.new())
    law = given_text(ShiftedBits(30, table), Evidence(rng.integers(0, 50_000, tokens), prf))
    assert law.places is not None
    assert table.cyclic is not None
    # Of one round under every shift; rounds have shifts of their own.
    columns = np.zeros(table.size, dtype=np.int64)
    for u in law.places.u:
        columns += np.roll(table.cyclic, -int(u))
    return law, columns[rng.integers(0, table.size, (keys, 30))] @ law.weights.astype(float)


def test_beginnings_and_thresholds():
    ids = np.random.default_rng(3).integers(0, 50_000, 100)
    evidence = Evidence(ids, parse_prf("hf-synthid", DepthKeys.new()))
    law = given_text(ShiftedBits(30), evidence)
    shorter = given_text(ShiftedBits(30), Evidence(ids[:60], parse_prf("hf-synthid", DepthKeys.new())))
    for count, other in ((60, shorter), (100, law)):
        for fpr in (0.5, 1e-2, 1e-9):
            threshold = law.threshold(count, fpr)
            assert threshold == other.threshold(count, fpr)
            assert law.log_p(threshold, count) <= math.log(fpr) < law.log_p(threshold - 1, count)


def test_what_it_says_of_itself():
    detector = ShiftedBits(30)
    assert detector.exactness is Exactness.GIVEN_TEXT
    assert hash(detector) == hash(ShiftedBits(30))
    with pytest.raises(ValueError, match="given_text"):
        detector.log_p(1.0, 2)
    with pytest.raises(ValueError, match="no power of two"):
        ShiftedBits(3, SamplingTable(1000))
    with pytest.raises(ValueError, match="rounds=0"):
        ShiftedBits(0)
    # Shifts by other keys are what bits are, though no zero is written as padding.
    text = Evidence([1, 2], parse_prf("hf-synthid", DepthKeys.new(2)))
    assert detect(ShiftedBits(2), text).tokens_scored == 2
    assert detect(ShiftedBits(2), Evidence([], parse_prf("hf-synthid", DepthKeys.new(2)))).log_p == 0


def test_the_format_has_this_detector_and_no_bets():
    method = td.Scheme.of(None, "synthid:7", prf="hf-synthid:seed=5").method
    assert method.name == "joint-tournament"
    assert default_detector(method, "hf-synthid:seed=5") == ShiftedBits(7, SamplingTable(seed=5))
    with pytest.raises(ValueError, match="no power of two"):
        default_detector(method, "hf-synthid:table=1000")
    with pytest.raises(ValueError, match="no fixed number"):
        default_detector(Basic(GumbelMax()), "hf-synthid")
    with pytest.raises(ValueError, match="no bets"):
        default_bets(method, "hf-synthid")
