"""Green tokens of Transformers' format: their law given the text, by fractions and under random keys."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from tests.helpers.support import ALPHA, Z, chi_square_p
from tradeoff.decoders import KGW
from tradeoff.detection import (
    Evidence,
    Exactness,
    GreenPairs,
    GreenParts,
    SegmentSearch,
    default_bets,
    default_detector,
    detect,
    for_parts,
    given_text,
    log_p_values,
)
from tradeoff.detection.fixed.hf_kgw import green_law
from tradeoff.kernels import Basic, KeepStrength
from tradeoff.keyed import HfKgw, HfKgwSettings, Stream
from tradeoff.scheme import Scheme

#: (V, gamma, tokens of a seed, seeds with so many).
LAWS = [
    (20, 0.25, [1, 2, 5], [3, 2, 2]),
    (32, 0.5, [1, 3], [10, 2]),
    (12, 0.3, [4, 11], [2, 2]),
    (49152, 0.25, [1, 2, 3, 7], [20, 5, 3, 1]),
    (10, 0.9, [2, 8], [3, 2]),
    (1000, 0.25, [400], [1]),
    (5000, 0.1, [30, 31], [2, 1]),
]


def exact_law(n: int, size: int, draws: list[int], counts: list[int]) -> list[Fraction]:
    """Of the number of green tokens, by convolution of fractions."""
    law = [Fraction(1)]
    for k, count in zip(draws, counts, strict=True):
        one = [
            Fraction(math.comb(size, j) * math.comb(n - size, k - j), math.comb(n, k)) for j in range(k + 1)
        ]
        for _ in range(count):
            longer = [Fraction(0)] * (len(law) + k)
            for i, mass in enumerate(law):
                for j, other in enumerate(one):
                    longer[i + j] += mass * other
            law = longer
    return law


@pytest.mark.parametrize("case", LAWS, ids=lambda c: f"{c[0]}-{c[2]}")
def test_tails_are_those_of_hypergeometric_sums_and_below_the_bound(case):
    n, gamma, draws, counts = case
    settings = HfKgwSettings(n, gamma)
    law = exact_law(n, settings.size, draws, counts)
    found, count = green_law(settings, np.array(draws), np.array(counts)), len(law) - 1
    tails = np.array([found.log_sf(k) for k in range(count + 1)])
    bounds = log_p_values(GreenParts(settings), np.arange(count + 1.0), count)
    tail, exact = Fraction(0), []
    for mass in law[::-1]:
        tail += mass
        exact.append(math.log(tail.numerator) - math.log(tail.denominator) if tail else -math.inf)
    expected = np.array(exact[::-1])
    assert np.array_equal(np.isinf(tails), np.isinf(expected))
    some = ~np.isinf(expected)
    assert np.abs(tails[some] - expected[some]).max() < 1e-9
    assert (bounds >= expected - 1e-9).all()
    # From one above the mean on it is the binomial tail, below 1 always.
    proved = np.arange(count + 1) >= count * settings.size / n + 1
    assert (bounds[proved] < math.log(0.6)).all()
    assert (bounds[~proved] == 0).all()


def test_the_bound_is_the_binomial_tail():
    settings, count = HfKgwSettings(1000, 0.2), 60
    for green in range(13, 61):
        tail = sum(
            Fraction(math.comb(count, k) * 4 ** (count - k), 5**count) for k in range(green, count + 1)
        )
        expected = math.log(tail.numerator) - math.log(tail.denominator)
        assert GreenParts(settings).log_p(green, count) == pytest.approx(expected, rel=1e-10)
    assert GreenParts(settings).log_p(61, 60) == -math.inf
    # Far below the smallest number that there is.
    assert GreenParts(settings).log_p(2000, 2000) == pytest.approx(2000 * math.log(0.2), rel=1e-12)
    assert GreenParts(settings).log_p(1800, 2000) == pytest.approx(
        math.log(math.comb(2000, 1800)) + 1800 * math.log(0.2) + 200 * math.log(0.8), rel=1e-3
    )


@pytest.mark.parametrize("fpr", [0.3, 1e-3, 1e-80])
def test_thresholds_are_the_least_sums(fpr):
    settings = HfKgwSettings(500, 0.3)
    prf = settings(15485863)
    evidence = Evidence(np.random.default_rng(0).integers(0, 100, 300), prf)
    for detector in (GreenParts(settings), GreenPairs(settings), given_text(GreenPairs(settings), evidence)):
        least = detector.threshold(len(evidence), fpr)
        assert (
            detector.log_p(least, len(evidence)) <= math.log(fpr) < detector.log_p(least - 1, len(evidence))
        )


def repeated_text(n: int) -> np.ndarray:
    """The same few words come back in many orders, ids among them that the vocabulary does not have."""
    return np.random.default_rng(3).choice([0, 5, 7, n - 1, n + 3, *range(20, 34)], 260)


@pytest.mark.parametrize(
    ("selfhash", "width"), [(False, 1), (False, 3), (True, 1), (True, 3)], ids=lambda v: f"{v}"
)
def test_under_random_keys_green_tokens_have_their_law_on_repetitive_text(selfhash, width):
    """Between the p-values of its number and of one more a random one is uniform, whichever law the text has
    under each key."""
    settings, rng = HfKgwSettings(60, 0.3, selfhash), np.random.default_rng(7)
    ids, detector, keys = repeated_text(60), GreenPairs(settings), 500
    between, log_p = [], []
    for _ in range(keys):
        evidence = Evidence(ids, settings(int(rng.integers(1 << 63)), width))
        score = detect(detector, evidence)
        more = given_text(detector, evidence).log_p(score.statistic + 1, len(evidence))
        between.append(rng.uniform(math.exp(more), math.exp(score.log_p)))
        log_p.append(score.log_p)
    counts = np.histogram(between, np.linspace(0, 1, 11))[0]
    assert chi_square_p(counts, np.full(10, keys / 10)) > ALPHA
    for level in (0.3, 0.05, 0.01):
        rate = np.mean(np.array(log_p) <= math.log(level))
        assert rate <= level + Z * math.sqrt(level * (1 - level) / keys)


def test_every_pair_counts_once_and_what_the_key_does_not_decide_not_at_all():
    settings = HfKgwSettings(50)
    prf, detector = settings(15485863), GreenPairs(settings)
    ids = [3, 9, 3, 9, 3, 0, 9, 0, 9, 60, 9, 3, 61]
    evidence = Evidence(ids, prf)
    pairs = list(zip(evidence.contexts[:, 0].tolist(), evidence.tokens.tolist(), strict=True))
    assert pairs == [(3, 9), (9, 3), (3, 0), (0, 9), (9, 0), (9, 60), (60, 9), (3, 61)]
    own = given_text(detector, evidence)
    assert (own.seeds < 0).tolist() == [False, False, False, True, False, True, False, True]
    green = prf.lists(Stream.SHARED, evidence.contexts, evidence.tokens[:, None], 0.25)[:, 0]
    silent = own.seeds < 0
    assert np.array_equal(detector.contributions(evidence), green & ~silent)
    told = detector.readings(evidence).columns[Stream.SHARED]
    assert [one == "-" for one in told] == silent.tolist()
    # Beginnings of the text have their own law.
    assert own.log_p(1.0, 1) == pytest.approx(math.log(12 / 50))
    assert own.log_p(2.0, 3) == pytest.approx(
        math.log(float(sum(exact_law(50, 12, [1, 2], [1, 1])[2:]))), abs=1e-12
    )
    assert own.log_p(0.0, 4) == own.log_p(-1.0, 4) == 0.0


def test_texts_side_by_side_are_read_as_alone():
    rng = np.random.default_rng(0)
    for selfhash in (False, True):
        prf = HfKgwSettings(80, 0.25, selfhash)(999, 2)
        texts = [rng.integers(0, 20, length) for length in (0, 1, 2, 40, 90)]
        joined, bounds = Evidence.of_texts(texts, prf)
        scores = GreenPairs(prf.settings).contributions(joined)
        for i, ids in enumerate(texts):
            alone = GreenPairs(prf.settings).contributions(Evidence(ids, prf))
            assert np.array_equal(scores[bounds[i] : bounds[i + 1]], alone)


def test_a_marked_part_of_a_document_is_found():
    settings, rng = HfKgwSettings(5000), np.random.default_rng(1)
    prf = settings(15485863)
    ids = rng.integers(1, 5000, 600).tolist()
    for i in range(300, 400):
        green = np.flatnonzero(prf.lists(Stream.SHARED, np.array([ids[i - 1 : i]]), np.arange(5000), 0.25)[0])
        ids[i] = int(rng.choice(green[green > 0])) if rng.random() < 0.8 else ids[i]
    detector = GreenPairs(settings)
    score = detect(detector, Evidence(ids, prf))
    parts = for_parts(detector)
    assert parts == GreenParts(settings)
    found = SegmentSearch().search(parts, score, 0.01)
    (segment,) = found.found
    assert 280 <= segment.start <= 320
    assert 380 <= segment.end <= 420
    assert found.log_p < math.log(1e-12)


def test_the_format_has_its_own_detector_and_no_bets():
    for method in (Basic(KGW()), KeepStrength(KGW())):
        detector = default_detector(method, "hf-kgw:49152")
        assert detector == GreenPairs(HfKgwSettings(49152))
        assert detector.exactness is Exactness.GIVEN_TEXT
        assert "token 0" in detector.null
        with pytest.raises(ValueError, match="leave sequential out"):
            default_bets(method, "hf-kgw:49152")
    assert "one list per key" in GreenPairs(HfKgwSettings(10, selfhash=True)).null


@pytest.mark.parametrize(
    ("method", "watermark", "prf", "words"),
    [
        ("basic", "kgw:2,gamma=0.5", "hf-kgw:49152", "write kgw:2$"),
        ("basic", "kgw:2", "hf-kgw:49152,selfhash", "write kgw:2,most=40$"),
        ("basic", "kgw:2,most=40", "hf-kgw:49152", "most=40, but hf-kgw:49152"),
        ("basic", "kgw:2", "hf-kgw:49152,gamma=0.5,selfhash", "write kgw:2,gamma=0.5,most=40$"),
        ("basic", "gumbel", "hf-kgw:49152", "does not define a race"),
        ("basic", "completed:kgw:2", "hf-kgw:49152", "does not define|has no statistic|completed"),
        ("joint-race", "kgw:2", "hf-kgw:49152", "does not fit"),
    ],
)
def test_schemes_that_do_not_fit_are_refused(method, watermark, prf, words):
    with pytest.raises(ValueError, match=words):
        Scheme.of(method, watermark, prf=prf)


def test_schemes_that_fit_are_told_by_one_name():
    scheme = Scheme.of("keep-strength", "kgw:2,gamma=0.5,most=40", prf="hf-kgw:49152,selfhash,gamma=.5")
    assert scheme.prf == "hf-kgw:49152,gamma=0.5,selfhash"
    assert Scheme.of_dict(scheme.to_dict()) == scheme
    assert isinstance(scheme.function(7), HfKgw)
    assert scheme.warm_up == 1


def test_a_text_is_judged_by_its_own_law_whatever_was_judged_before():
    """Tokens behind token 0 say nothing, so that the law of the first text is another, of as many tokens."""
    scheme = Scheme.of("keep-strength", KGW(2.0), prf="hf-kgw:49152")
    prf = scheme.function(123456789)
    rng = np.random.default_rng(0)
    silent = [one for token in rng.permutation(np.arange(100, 40000))[:200].tolist() for one in (0, token)]
    plain = Evidence(rng.integers(1, 40000, len(silent)), prf)
    beyond = Evidence(np.arange(60000, 60000 + len(plain) + 1), prf)
    alone = detect(scheme.detector(), plain).log_p
    for other in (Evidence(silent, prf), beyond):
        detect(scheme.detector(), other)
        detector = given_text(scheme.detector(), other)
        detector.log_p(0.0, len(plain))
        assert given_text(scheme.detector(), plain) != detector
        assert detect(scheme.detector(), plain).log_p == alone
