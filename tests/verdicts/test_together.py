"""Texts judged together: contexts count once, p-values are independent, errors are kept over the texts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from tests.helpers.detecting import KEY, VOCABULARY, marked, other
from tests.helpers.support import ALPHA
from tradeoff.detection import Aaronson, Evidence, Exactness, detect
from tradeoff.keyed import Key, Keyring
from tradeoff.scheme import Scheme
from tradeoff.texts import Text
from tradeoff.verdicts import Corpus, CorpusResult, Examiner, Options, Outcome

# Of so few tokens many narrow contexts would be those of other texts.
SCHEME = Scheme.of("joint-race", context_width=4)
PRF = SCHEME.function(KEY)
WHOLE = Options.of(SCHEME, segments=False)


def texts(*ids: list[int]) -> list[Text]:
    return [Text(str(n), "x", f"x line {n}", one, None) for n, one in enumerate(ids)]


def keys(count: int) -> Iterator[Key]:
    rng = np.random.default_rng(5)
    for _ in range(count):
        yield Key(rng.bytes(32))


def judged(ids: list[list[int]], key: Key = KEY, options: Options = WHOLE, **how) -> CorpusResult:
    return Corpus(options, Keyring.of(key), pytest.fail, str, **how).judge(texts(*ids))


def test_every_context_counts_once() -> None:
    """In the first text that has it; the sum of all is that of all different contexts."""
    shared = other(80, seed=3)
    ids = [[*other(60, seed=1), *shared], [*shared, *other(60, seed=2)], shared]
    found = judged(ids)
    seen: set[tuple[int, ...]] = set()
    total = 0.0
    for one, result in zip(ids, found.results, strict=True):
        evidence = Evidence(one, PRF)
        new = np.array([tuple(context) not in seen for context in evidence.contexts.tolist()])
        seen |= {tuple(context) for context in evidence.contexts.tolist()}
        expected = detect(Aaronson(), evidence.restricted(new))
        assert result.index.tolist() == expected.index.tolist()
        assert result.test_log_p == pytest.approx(expected.log_p)
        assert result.shared == (~new).sum()
        assert result.to_dict()["share_of_contexts_seen"] == pytest.approx((~new).mean())
        np.testing.assert_array_equal(result.reading.evidence.index, expected.index)
        total += expected.statistic
    (together,) = found.together
    assert (together.tokens_scored, found.contexts) == (len(seen), len(seen) + found.shared)
    assert together.statistic == pytest.approx(total)
    assert found.log10_p == pytest.approx(Aaronson().log_p(total, len(seen)) / math.log(10))


def test_texts_that_share_passages_under_one_key() -> None:
    """Naively pooled they convict far too often; with every context once the p-value is exact."""
    rng, passage = np.random.default_rng(0), other(60, seed=9)
    ids = [[*passage, *rng.integers(0, VOCABULARY, 20).tolist()] for _ in range(30)]
    exact, naive, runs = 0, 0, 150
    for key in keys(runs):
        exact += judged(ids, key).log10_p <= math.log10(0.05)
        scores = [detect(Aaronson(), Evidence(one, SCHEME.function(key))) for one in ids]
        pooled = Aaronson().log_p(sum(s.statistic for s in scores), sum(s.tokens_scored for s in scores))
        naive += pooled <= math.log(0.05)
    assert stats.binomtest(exact, runs, 0.05).pvalue > ALPHA
    assert stats.binomtest(naive, runs, 0.05, "greater").pvalue < ALPHA


@pytest.mark.parametrize("correction", ["holm", "bh"])
def test_errors_over_texts(correction: str) -> None:
    """Twenty texts without a watermark that share half of their contexts: any alarm at the level, at most."""
    rng, passage = np.random.default_rng(1), other(40, seed=4)
    ids = [[*passage, *rng.integers(0, VOCABULARY, 40).tolist()] for _ in range(20)]
    options = Options.of(SCHEME, fpr=0.1)
    runs = 150
    alarms = sum(
        any(one.detected for one in judged(ids, key, options, correction=correction).results)
        for key in keys(runs)
    )
    assert stats.binomtest(alarms, runs, 0.1, "greater").pvalue > ALPHA


def test_marked_texts_among_others() -> None:
    ids = [other(100, seed=n) for n in range(20)] + [marked(100, PRF, seed=n) for n in range(3)]
    for correction in ("holm", "bh"):
        found = judged(ids, correction=correction)
        assert [one.verdict is Outcome.WATERMARKED for one in found.results] == [False] * 20 + [True] * 3
        for one in found.results:
            assert one.log_p >= one.test_log_p
    assert found.log10_p < -20


def test_alone_and_in_any_number_at_a_time() -> None:
    """Without sharing a corpus says of each text what is said of it alone, whatever the batches."""
    ids = [other(100, seed=n + 10) for n in range(7)] + [marked(50, PRF), [], [1, 2]]
    options = Options.of(SCHEME)
    alone = Examiner(options, Keyring.of(KEY), pytest.fail, str)
    expected = [alone.examine(text) for text in texts(*ids)]
    for together in (1, 3, 100):
        found = alone.examine_all(texts(*ids), together)
        for one, other_ in zip(found, expected, strict=True):
            assert (one.verdict, one.segments) == (other_.verdict, other_.segments)
            assert one.log_p == pytest.approx(other_.log_p)
            assert one.index.tolist() == other_.index.tolist()
    for one, other_ in zip(judged(ids, options=options).results, expected, strict=True):
        assert one.test_log_p == pytest.approx(other_.log_p)


def test_several_settings_and_sequential_detection() -> None:
    options = Options(method=["joint-race", "two-keys"], context_width=[2, 4])
    found = judged([marked(60), other(60), marked(60)], options=options)
    assert len(found.together) == 4
    assert [one.verdict for one in found.results] == ["watermarked", "not detected", "seen in texts before"]
    with pytest.raises(ValueError, match="leave out sequential"):
        judged([marked(60)], options=Options(sequential=True))


def test_detectors_without_exact_p_values_say_nothing_of_all_texts() -> None:
    class Simulated(Aaronson):
        exactness = Exactness.SIMULATED

    found = judged([marked(60), other(60)], options=Options(method="joint-race", detector=Simulated()))
    assert found.together == ()
    assert found.log10_p is None
    assert [one.verdict for one in found.results] == ["watermarked", "not detected"]
