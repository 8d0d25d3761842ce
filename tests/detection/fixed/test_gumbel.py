"""Detectors of Gumbel-max: exact null laws whatever the text, and expected scores."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from scipy import integrate, stats

from tests.helpers.detectors import EXACT, ORACLE, PRIOR, every_detector, label
from tests.helpers.ideal import Given, assert_null_law, assert_uniform, moments, unmarked
from tests.helpers.support import ALPHA, P, Q, assert_within
from tradeoff.decoders import GumbelMax
from tradeoff.detection import (
    Aaronson,
    ArsPrior,
    ArsTau,
    Detector,
    Evidence,
    LikelihoodRatio,
    Oracle,
    SumOfKeys,
    detect,
)
from tradeoff.detection.calibration import rate
from tradeoff.detection.fixed.gumbel import exponential_scores
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    KeepStrength,
    Method,
    OneRace,
    SingleKey,
    TwoKeys,
)
from tradeoff.kernels.randomness import SimulatedRandomness
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream
from tradeoff.laws import excess, overlap
from tradeoff.texts.corpus import human_paragraphs

TEXTS, TOKENS = 100_000, 10


def random_key(rng: np.random.Generator) -> KeyedPrf:
    return KeyedPrf(Key(rng.bytes(32)), 4)


@cache
def unmarked_tokens() -> Given:
    return unmarked(TEXTS * TOKENS, seed=1)


@every_detector
def test_p_values_of_100_000_ideal_texts_are_uniform(detector):
    statistics = detector.contributions(unmarked_tokens()).reshape(TEXTS, TOKENS).sum(axis=1)
    assert_null_law(lambda x: detector.log_p(x, TOKENS), statistics, points=400)


def phrases(rng: np.random.Generator) -> np.ndarray:
    """A text made of a few phrases said over and over, on which a detector that counts repeats goes wrong."""
    stock = rng.integers(0, 50, (4, 12))
    return stock[rng.integers(0, 4, 25)].ravel()


@pytest.mark.parametrize("repeating", [False, True], ids=["random text", "repeated phrases"])
def test_p_values_under_random_keys_are_uniform(repeating):
    """The keyed function itself, a new key and a new text each time."""
    rng = np.random.default_rng(2)
    found: dict[str, list[float]] = {}
    for _ in range(1_200):
        text = phrases(rng) if repeating else rng.integers(0, 1_000, int(rng.integers(5, 60)))
        sources = "".join(rng.choice(list("dr"), len(text)))
        evidence = Evidence(text, random_key(rng), sources)
        for detector in EXACT + ORACLE:
            found.setdefault(label(detector), []).append(detect(detector, evidence).log_p)
        if repeating:
            assert len(evidence) < len(text) / 1.5
    for logs in found.values():
        p = np.exp(logs)
        assert_uniform(p)
        # The realised false-positive rate at 1% is 1%, as exactly as these texts can tell.
        fpr = rate(p <= 0.01, level=1 - ALPHA)
        assert fpr.low <= 0.01 <= fpr.high


def test_human_text_under_200_random_keys():
    """Blocks of 40 tokens that count: as first occurrences within one text they are independent."""
    paragraphs = human_paragraphs()
    rng = np.random.default_rng(3)
    found: dict[str, list[float]] = {}
    for _ in range(200):
        chosen = rng.choice(len(paragraphs), 2, replace=False)
        text = " ".join(paragraphs[i] for i in chosen)
        evidence = Evidence(list(text.encode()), random_key(rng))
        assert 150 < len(evidence) < len(text.encode())
        blocks = len(evidence) // 40
        for detector in EXACT:
            scores = detector.contributions(evidence)[: 40 * blocks].reshape(blocks, 40).sum(axis=1)
            found.setdefault(label(detector), []).extend(detector.log_p(float(s), 40) for s in scores)
    for logs in found.values():
        assert len(logs) > 2_000
        assert_uniform(np.exp(logs))


def test_a_verdict_is_the_sum_of_its_scores():
    evidence = Evidence([5, 1, 5, 1, 5, 1, 2, 2, 2, 2, 2, 7], KeyedPrf(Key(bytes(32)), 2))
    result = detect(Aaronson(), evidence)
    expected = [-math.log(1 - u) for u in evidence.uniform(Stream.SHARED)]
    np.testing.assert_allclose(result.contributions, expected)
    assert result.index.tolist() == evidence.index.tolist() == [2, 3, 7, 8]
    assert result.tokens_scored == 4
    assert result.statistic == pytest.approx(sum(expected))
    assert 10**result.log10_p == pytest.approx(stats.gamma.sf(sum(expected), 4))
    assert result.detector == "Aaronson"


@every_detector
def test_a_text_with_nothing_to_score_is_no_evidence(detector):
    result = detect(detector, Evidence([1, 2], KeyedPrf(Key(bytes(32))), "dr"))
    assert (result.log_p, result.tokens_scored, result.statistic) == (0.0, 0, 0.0)


@every_detector
@pytest.mark.parametrize("fpr", [0.3, 0.01, 1e-8])
def test_threshold_is_where_the_p_value_reaches_the_rate(detector, fpr):
    """Exactly for Gamma laws, to a step of the lattice (0.02) for likelihood ratios."""
    fine = 0.05 if isinstance(detector, LikelihoodRatio) else 1e-6
    for count in (1, 30):
        total = detector.threshold(count, fpr)
        assert detector.log_p(total + 1e-6, count) <= math.log(fpr)
        assert detector.log_p(total - fine, count) > math.log(fpr)


def test_which_stream_is_read():
    """Numbers that name their stream: 1 - exp(-s) has the score s."""
    coins = np.array([0.1, 0.29, 0.31, 0.9])
    drafted = np.array([True, False, False, True])
    values = {Stream.SHARED: 1.0, Stream.DRAFT: 2.0, Stream.TARGET: 3.0}
    evidence = Given({s: np.full(4, -np.expm1(-v)) for s, v in values.items()}, None, coins, drafted)

    def scores(detector):
        return np.round(detector.contributions(evidence), 9).tolist()

    assert scores(Aaronson()) == [1] * 4
    assert scores(Aaronson(Stream.TARGET)) == [3] * 4
    assert scores(SumOfKeys()) == [5] * 4
    assert scores(ArsTau(0.3)) == [2, 2, 3, 3]
    assert scores(ArsTau(0.0)) == scores(ArsPrior(0.0)) == [3] * 4
    assert scores(ArsTau(1.0)) == scores(ArsPrior(1.0)) == [2] * 4
    assert scores(Oracle()) == [2, 3, 3, 2]


def test_ars_prior_chooses_by_seed_and_text_alone():
    """The same choices under every key, the draft in `share` of the cases, others with another seed."""
    rng = np.random.default_rng(4)
    text = rng.integers(0, 1 << 20, 20_000)

    def read_draft(seed, prf):
        evidence = Evidence(text, prf)
        scores = ArsPrior(0.35, seed).contributions(evidence)
        return scores == exponential_scores(evidence.uniform(Stream.DRAFT))

    first = read_draft(0, random_key(rng))
    np.testing.assert_array_equal(first, read_draft(0, random_key(rng)))
    assert (first != read_draft(1, random_key(rng))).any()
    assert_within(first.mean(), 0.35, math.sqrt(0.35 * 0.65 / len(first)))


# With a watermark: what the kernels draw.

SEEDS = 200_000


def kernel_evidence(method: Method, seed: int = 5) -> tuple[Given, np.ndarray]:
    """Tokens of `SEEDS` independent positions with laws P and Q, as evidence; the tokens themselves."""
    randomness = SimulatedRandomness(np.random.default_rng(seed), (SEEDS,), len(P))
    p, q = np.broadcast_to(P, (SEEDS, len(P))), np.broadcast_to(Q, (SEEDS, len(Q)))
    if isinstance(method, Basic):
        token, accepted = method.bonus(p, randomness), np.zeros(SEEDS, dtype=bool)
    else:
        accepted, token = method(p, q, method.draft(q, randomness), randomness)
    streams = method.detection.streams
    uniforms = {stream: np.exp(-randomness.race_at(stream, token)) for stream in streams}
    return Given(uniforms, None, randomness.coin(), accepted), token


@pytest.mark.parametrize("method", [Basic(GumbelMax()), KeepStrength(GumbelMax())], ids=lambda m: m.name)
def test_expected_score_of_the_watermark(method):
    """digamma(1 + 1/p) + gamma, averaged over P; every token by itself too."""
    evidence, token = kernel_evidence(method)
    scores = Aaronson().contributions(evidence)
    mean, deviation = moments(P, P)
    assert_within(scores.mean(), mean, deviation / math.sqrt(SEEDS))
    for w, p in enumerate(P):
        mine = scores[token == w]
        mean, deviation = moments(np.ones(1), np.array([p]))
        assert_within(mine.mean(), mean, deviation / math.sqrt(len(mine)))


def test_expected_score_in_a_text_under_a_key():
    """The same through a keyed text and its evidence: only positions that count were watermarked."""
    prf = KeyedPrf(Key(b"one text under one key"), 5)
    text: list[int] = []
    vocabulary, gumbel = np.arange(len(P)), GumbelMax()
    rng = np.random.default_rng(6)
    seen: set[tuple[int, ...]] = set()
    for _ in range(12_000):
        context = tuple(text[-5:])
        if len(text) < 5 or context in seen:
            text.append(int(rng.choice(len(P), p=P)))
        else:
            text.append(int(gumbel.token(P, prf.race(Stream.SHARED, np.array(context), vocabulary))))
        if len(context) == 5:
            seen.add(context)
    evidence = Evidence(text, prf)
    mean, deviation = moments(P, P)
    assert 5_000 < len(evidence) < 11_900
    result = detect(Aaronson(), evidence)
    assert_within(result.statistic / len(evidence), mean, deviation / math.sqrt(len(evidence)))
    # Another stream and another key see a text like any other.
    for other in (Aaronson(Stream.DRAFT), Aaronson(Stream.TARGET)):
        assert_within(detect(other, evidence).statistic / len(evidence), 1, 1 / math.sqrt(len(evidence)))
    foreign = Evidence(text, KeyedPrf(Key(b"a key that drew nothing"), 5))
    assert_within(detect(Aaronson(), foreign).statistic / len(evidence), 1, 1 / math.sqrt(len(evidence)))


@pytest.mark.parametrize("method", [TwoKeys(GumbelMax()), Algorithm1(GumbelMax())], ids=lambda m: m.name)
def test_expected_scores_of_two_keys(method):
    """Accepted drafts won a race over Q, replacements one over the residual, in independent races."""
    evidence, _ = kernel_evidence(method)
    accepted = evidence.drafted
    share, residual = float(overlap(P, Q)), excess(P, Q)
    assert_within(accepted.mean(), share, math.sqrt(share * (1 - share) / SEEDS))
    common, winners = np.minimum(P, Q), residual > 0
    weights = np.concatenate([common, (1 - share) * residual[winners]])
    mean, deviation = moments(weights, np.concatenate([Q, residual[winners]]))
    assert_within(Oracle().contributions(evidence).mean(), mean, deviation / math.sqrt(SEEDS))
    # The target's race did not decide an accepted draft.
    target = exponential_scores(evidence.uniform(Stream.TARGET))[accepted]
    assert_within(target.mean(), 1.0, 1 / math.sqrt(len(target)))
    if isinstance(method, Algorithm1):
        # At tau = 1 every token is read under the draft's key, at 0 under the target's.
        replaced = exponential_scores(evidence.uniform(Stream.TARGET))[~accepted]
        mean, deviation = moments(residual[winners], residual[winners])
        assert_within(replaced.mean(), mean, deviation / math.sqrt(len(replaced)))


def test_expected_score_of_one_race():
    """The draft w wins at time t, accepted while 1 - exp(-t) < a_w; else k wins at E_k = t Q_k + s R_k.

    Both times are Exp(1): integrals over them, by quadrature.
    """
    evidence, _ = kernel_evidence(OneRace())
    scores = Aaronson().contributions(evidence)

    def score(race):
        return -math.log(-math.expm1(-race))

    residual, expected = excess(P, Q), 0.0
    for w, q in enumerate(Q):
        limit = -math.log1p(-min(1.0, P[w] / q)) if P[w] < q else math.inf
        expected += q * integrate.quad(lambda t, q=q: math.exp(-t) * score(q * t), 0, limit)[0]
        for k in np.flatnonzero(residual) if limit < math.inf else []:
            expected += q * residual[k] * integrate.dblquad(
                lambda s, t, k=k: math.exp(-s - t) * score(t * Q[k] + s * residual[k]), limit, 40, 0, 40
            )[0]  # fmt: skip
    assert_within(scores.mean(), expected, scores.std() / math.sqrt(SEEDS))
    # The coin of `single-key` is lost on the race: its accepted drafts score less.
    assert scores.mean() > Aaronson().contributions(kernel_evidence(SingleKey())[0]).mean()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ArsTau(-0.1), "tau=-0.1"),
        (lambda: ArsTau(1.1), "tau=1.1"),
        (lambda: ArsPrior(1.5), "share=1.5"),
        (lambda: ArsPrior(-0.5), "share=-0.5"),
        (lambda: LikelihoodRatio(PRIOR, None), "with two streams"),
        (lambda: LikelihoodRatio(PRIOR, None, [0.5, 1.5]), "share=1.5"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@every_detector
def test_every_detector_says_where_its_p_values_come_from(detector):
    assert isinstance(detector, Detector)
    assert detector.null.startswith("lattice" if isinstance(detector, LikelihoodRatio) else "exact")
