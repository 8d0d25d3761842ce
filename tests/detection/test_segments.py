"""Where a watermark is: levels by enumeration, the search against all windows, passages that are found."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.support import ALPHA
from tradeoff.detection import (
    Aaronson,
    Evidence,
    Exactness,
    MeanBits,
    Readings,
    Score,
    Segment,
    SegmentSearch,
    SumOfKeys,
    WeightedSumOfKeys,
    log_p_values,
)
from tradeoff.detection.tails import binomial_log_sf, gamma_log_sf

FPR = 0.01


@dataclass(frozen=True)
class Coins:
    """Scores of 0 and 1: fair coins without a watermark."""

    exactness: Exactness = Exactness.EXACT
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    id: ClassVar[str] = "coins"
    name: ClassVar[str] = "coins"
    null: ClassVar[str] = "exact"

    def readings(self, evidence: Evidence) -> Readings:
        return Readings("coin", {})

    def contributions(self, evidence: Evidence) -> np.ndarray:
        return self.scores

    def log_p(self, statistic: float, count: int) -> float:
        return binomial_log_sf(round(statistic), count)

    def threshold(self, count: int, fpr: float) -> float:
        return next((k for k in range(count + 1) if binomial_log_sf(k, count) <= math.log(fpr)), count + 1)


def score(detector, values: np.ndarray, index: np.ndarray | None = None) -> Score:
    statistic = float(np.sum(values))
    log_p = detector.log_p(statistic, len(values)) if len(values) else 0.0
    index = np.arange(len(values)) if index is None else index
    return Score(detector.name, statistic, log_p, len(values), index, np.asarray(values, float))


def windows(search: SegmentSearch, tokens: int) -> list[tuple[int, int, float]]:
    """(start, length, weight) of everything that is looked at, the whole text first."""
    lengths = search.lengths(tokens)
    of_length = search.share / max(len(lengths), search.sizes)
    found = [(0, tokens, 1 - len(lengths) * of_length)]
    for length in lengths:
        starts = search.starts(length, tokens)
        found += [(int(start), length, of_length / len(starts)) for start in starts]
    return found


def marked(rng: np.random.Generator, tokens: int) -> np.ndarray:
    """Scores of tokens whose probabilities have a Beta(1/2, 1/2) law, much as at temperature 1."""
    times = rng.beta(0.5, 0.5, tokens) * rng.exponential(size=tokens)
    return -np.log1p(-np.exp(-times))


@given(st.integers(1, 3000), st.integers(1, 40), st.floats(1.01, 4), st.integers(1, 20))
def test_windows_lie_in_the_text_and_share_one_error(
    tokens: int, shortest: int, ratio: float, steps: int
) -> None:
    search = SegmentSearch(shortest, ratio, steps)
    looked_at = windows(search, tokens)
    assert math.fsum(weight for *_, weight in looked_at) == pytest.approx(1)
    assert all(start >= 0 and start + length <= tokens for start, length, _ in looked_at)
    assert len({window[:2] for window in looked_at}) == len(looked_at)
    for length in search.lengths(tokens):
        starts = search.starts(length, tokens)
        assert (starts[0], starts[-1] + length) == (0, tokens)
        assert (np.diff(starts) <= max(length // steps, 1)).all(), "no token is left out"


@pytest.mark.parametrize("search", [SegmentSearch(3, 1.3, 2, 0.5), SegmentSearch(5, 2.0, 5, 0.1)])
def test_all_texts_of_eleven_coins(search: SegmentSearch) -> None:
    """Without a watermark p is at most alpha with probability at most alpha, for every alpha."""
    detector = Coins()
    found = np.sort(
        [
            math.exp(search.search(detector, score(detector, values), FPR).log_p)
            for values in itertools.product((0, 1), repeat=11)
        ]
    )
    assert len(found) == 2048
    for alpha in np.unique(found):
        assert (found <= alpha).mean() <= alpha * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_search_against_all_windows(seed: int) -> None:
    """The smallest corrected p-value; and of all disjoint windows at the level those with most evidence."""
    rng, search, detector = np.random.default_rng(seed), SegmentSearch(8, 1.4, 3, sizes=5), Aaronson()
    values = rng.exponential(size=400)
    for start, length in ((40, 60), (200, 90), (330, 15)):
        values[start : start + length] = marked(rng, length)
    index = np.cumsum(rng.integers(1, 4, size=400))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    corrected = {
        (start, start + length): gamma_log_sf(sums[start + length] - sums[start], length) - math.log(weight)
        for start, length, weight in windows(search, 400)
    }
    found = search.search(detector, score(detector, values, index), FPR)
    assert found.windows == len(corrected)
    assert found.log_p == pytest.approx(min(corrected.values()))
    # The most evidence of windows that end by each token.
    most = [0.0]
    for end in range(1, 401):
        here = [
            most[start] - log_p
            for (start, stop), log_p in corrected.items()
            if stop == end and log_p <= math.log(FPR)
        ]
        most.append(max([most[-1], *here]))
    places = {int(token): place for place, token in enumerate(index)}
    told = [(places[s.start], places[s.end - 1] + 1, s.corrected_log_p) for s in found.found]
    assert len(told) >= 2
    assert all(log_p == pytest.approx(corrected[start, end]) for start, end, log_p in told)
    assert all(end <= start for (_, end, _), (start, _, _) in itertools.pairwise(told))
    assert -sum(log_p for *_, log_p in told) == pytest.approx(most[-1])
    assert found.share == sum(end - start for start, end, _ in told) / 400


@pytest.mark.parametrize("search", [SegmentSearch(), SegmentSearch(5, 1.3, 3, 0.4)])
def test_many_texts_are_searched_as_each_by_itself(search: SegmentSearch) -> None:
    """Of any length, marked or not, and with scores on a lattice."""
    rng = np.random.default_rng(3)
    for detector, unmarked, least in (
        (Aaronson(), rng.exponential, 1.5),
        (Coins(), lambda size: rng.integers(0, 2, size), 1.0),
    ):
        texts = []
        for length in (0, 1, 4, 5, 12, 13, 30, 200, 200, 700, *rng.integers(1, 400, 300)):
            values = np.asarray(unmarked(size=length), float)
            if rng.random() < 0.2:
                start = rng.integers(length + 1)
                values[start : start + 30] = values[start : start + 30].clip(least)
            texts.append(score(detector, values))
        found = search.search_all(detector, texts, FPR)
        alone = [search.search(detector, text, FPR) for text in texts]
        assert 10 < sum(bool(one.found) for one in alone) < 150
        assert found == alone


def test_a_p_value_that_is_the_level_is_told() -> None:
    """ "At most" is the level of a test: four heads of four have the probability 1/16."""
    heads = score(Coins(), np.ones(4))
    assert SegmentSearch().search(Coins(), heads, 1 / 16).found
    assert not SegmentSearch().search(Coins(), heads, 0.0624).found


@pytest.mark.parametrize(
    "detector",
    [Aaronson(), SumOfKeys(), WeightedSumOfKeys(0.2), MeanBits(30), Coins()],
    ids=lambda one: one.name,
)
@pytest.mark.parametrize("count", [1, 30, 2_000])
def test_p_values_of_many_sums_are_those_of_each(detector, count: int) -> None:
    """Far into the tail as well, and where nothing was scored above chance."""
    sums = np.array([-1.0, 0, 1, 1, 20, 30, 31, 600, 2_000, 9_000, 60_000]) * min(count, 30) / 30
    found = log_p_values(detector, sums, count)
    np.testing.assert_array_equal(found, [detector.log_p(one, count) for one in sums.tolist()])


def test_a_long_text_among_short_ones_takes_the_memory_of_itself() -> None:
    rng, search, detector = np.random.default_rng(4), SegmentSearch(), Aaronson()
    texts = [score(detector, rng.exponential(size=size)) for size in (*[30] * 200, 100_000, *[30] * 200)]
    tracemalloc.start()
    try:
        found = search.search_all(detector, texts, FPR)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    assert [one.tokens_scored for one in found] == [text.tokens_scored for text in texts]
    assert found[200] == search.search(detector, texts[200], FPR)


def test_family_wise_error() -> None:
    """Of texts without a watermark no more have a segment than the level says, and not far fewer."""
    rng, search, detector = np.random.default_rng(1), SegmentSearch(), Aaronson()
    texts, level = 1200, 0.05
    found = sum(
        bool(search.search(detector, score(detector, rng.exponential(size=300)), level).found)
        for _ in range(texts)
    )
    assert stats.binomtest(found, texts, level, "greater").pvalue > ALPHA
    assert found / texts > level / 4


@pytest.mark.parametrize(("passage", "least"), [(60, 0.75), (100, 0.95)])
@pytest.mark.parametrize("tokens", [1000, 5000, 20_000])
def test_hidden_passages_are_found_and_placed(passage: int, least: float, tokens: int) -> None:
    rng, search, detector = np.random.default_rng(tokens + passage), SegmentSearch(), Aaronson()
    trials, hits, overlaps = 40, 0, []
    for _ in range(trials):
        values, start = rng.exponential(size=tokens), int(rng.integers(tokens - passage))
        values[start : start + passage] = marked(rng, passage)
        found = search.search(detector, score(detector, values), FPR)
        hits += found.log_p <= math.log(FPR)
        shared = [max(0, min(s.end, start + passage) - max(s.start, start)) for s in found.found]
        unions = [passage + s.end - s.start - both for s, both in zip(found.found, shared, strict=True)]
        overlaps.append(max((both / union for both, union in zip(shared, unions, strict=True)), default=0.0))
    assert hits >= least * trials
    assert np.median(overlaps) > 0.8


def test_two_passages_are_two_segments() -> None:
    rng, search, detector = np.random.default_rng(0), SegmentSearch(), Aaronson()
    values = rng.exponential(size=2000)
    values[100:300], values[1500:1700] = marked(rng, 200), marked(rng, 200)
    found = search.search(detector, score(detector, values), 1e-6).found
    assert len(found) == 2
    for segment, (start, end) in zip(found, ((100, 300), (1500, 1700)), strict=True):
        assert max(abs(segment.start - start), abs(segment.end - end)) < 40


def test_a_whole_text_is_one_segment_and_pays_little() -> None:
    rng, search, detector = np.random.default_rng(0), SegmentSearch(), Aaronson()
    text = score(detector, marked(rng, 500))
    found = search.search(detector, text, FPR)
    assert text.log_p < -50
    assert found.log_p == pytest.approx(text.log_p - math.log(search.weights(len(search.lengths(500)))[0]))
    assert found.found == (Segment(0, 500, 500, text.statistic, text.log_p, found.log_p),)
    assert found.share == 1


def test_short_texts_pay_nothing() -> None:
    search, detector = SegmentSearch(), Aaronson()
    text = score(detector, np.full(search.shortest, 4.0))
    found = search.search(detector, text, FPR)
    assert (found.windows, found.log_p) == (1, text.log_p)
    nothing = search.search(detector, score(detector, np.zeros(0)), FPR)
    assert (nothing.windows, nothing.log_p, nothing.found, nothing.share) == (0, 0.0, (), 0.0)


def test_a_million_tokens() -> None:
    """All of them marked, and none."""
    rng, search, detector = np.random.default_rng(0), SegmentSearch(), Aaronson()
    for values, share in ((marked(rng, 1_000_000), 1.0), (rng.exponential(size=1_000_000), 0.0)):
        found = search.search(detector, score(detector, values), FPR)
        assert found.windows > 1_000_000
        assert found.share == share


def test_what_is_refused() -> None:
    detector = Coins()
    text = score(detector, np.ones(20))
    for exactness in set(Exactness) - {Exactness.EXACT, Exactness.BOUND}:
        with pytest.raises(ValueError, match=f"p-values that are {exactness}"):
            SegmentSearch().search(replace(detector, exactness=exactness), text, FPR)
    for fpr in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            SegmentSearch().search(detector, text, fpr)
    for settings in (
        {"shortest": 0},
        {"steps": 0},
        {"ratio": 1.0},
        {"share": 0.0},
        {"share": 1.0},
        {"sizes": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(settings))):
            SegmentSearch(**settings)
