"""Where in a text is a watermark? Windows of many lengths, with exact p-values, corrected for all of them.

Scores of different contexts are independent without a watermark, whatever the text, so that a sum over any
window of them has the null law of its length. The whole text and the windows of a grid share the error by
Bonferroni's inequality with weights that sum to 1: most of it is the whole text's, the lengths of the grid
have a small one each, split evenly over the starts of a length. A window's p-value divided by its weight is
corrected, and the smallest of them all a p-value of the document: docs/theory/detection.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
from scipy.interpolate import PchipInterpolator

from tradeoff.detection.detector import Detector, Score, log_p_values

__all__ = ["Segment", "SegmentSearch", "Segments"]

#: Sums of one length whose p-values are computed; those between are interpolated, to put windows in order.
_KNOTS = 17
#: Texts whose sums are in memory at a time.
_TOGETHER = 512
_NEVER = -1e290
#: A discrete law ends somewhere; what is beyond its end is all the same.
_LEAST = -1e300
#: Sums in memory at a time: 8 MiB, or those of one text.
_LARGEST_MATRIX = 1 << 20


@dataclass(frozen=True)
class Segment:
    """A part of a text whose scores are too high for chance.

    Attributes:
        start, end: tokens of the text, from `start` up to but not including `end`.
        tokens_scored: how many of them counted.
        statistic: the sum of their scores.
        log_p: natural logarithm of the p-value of this window, had it been chosen beforehand.
        corrected_log_p: the same, corrected for everything that was looked at.
    """

    start: int
    end: int
    tokens_scored: int
    statistic: float
    log_p: float
    corrected_log_p: float


@dataclass(frozen=True)
class Segments:
    """What a search says of a document.

    Attributes:
        log_p: natural logarithm of the p-value of the document: some part of it is watermarked.
        found: disjoint segments at the level of the search, in the order of the text: those with the most
            evidence in sum.
        windows: how many were looked at, the whole text among them.
        tokens_scored: of the document.
    """

    log_p: float
    found: tuple[Segment, ...]
    windows: int
    tokens_scored: int

    def corrected(self, tests: int) -> Segments:
        """The same segments, corrected for a number of tests of the document as well; `log_p` is not."""
        if tests == 1:
            return self
        extra = math.log(tests)
        found = (replace(one, corrected_log_p=one.corrected_log_p + extra) for one in self.found)
        return replace(self, found=tuple(found))

    @property
    def share(self) -> float:
        """Of the tokens that count, how many lie in segments: 0 to 1."""
        inside = sum(segment.tokens_scored for segment in self.found)
        return inside / self.tokens_scored if self.tokens_scored else 0.0


@dataclass(frozen=True)
class SegmentSearch:
    """The windows that are looked at, and how they share the error.

    Args:
        shortest: length of the shortest windows, in tokens that count.
        ratio: of each length to the one before, above 1.
        steps: starts of a length lie a `steps`-th of it apart.
        share: of the error that windows have in long texts; the whole text has the rest.
        sizes: how many lengths long texts have, or more. In a shorter one every length has the same error as
            there, and the whole text what is left: few windows cost it little.

    Raises:
        ValueError: for values that no grid has.
    """

    shortest: int = 12
    ratio: float = 2**0.25
    steps: int = 8
    share: float = 0.1
    sizes: int = 40

    def __post_init__(self) -> None:
        if self.shortest < 1 or self.steps < 1 or self.sizes < 1:
            raise ValueError(
                f"shortest={self.shortest}, steps={self.steps} and sizes={self.sizes} must be at least 1"
            )
        if not self.ratio > 1 or not 0 < self.share < 1:
            raise ValueError(f"ratio={self.ratio} must be above 1 and share={self.share} between 0 and 1")

    def weights(self, lengths: int) -> tuple[float, float]:
        """Shares of the error, where windows have so many lengths: of the whole text, and of each length."""
        of_length = self.share / max(lengths, self.sizes)
        return 1 - lengths * of_length, of_length

    def lengths(self, tokens: int) -> list[int]:
        """Of the windows in a text of so many tokens that count: ascending, shorter than the text."""
        found: list[int] = []
        length = float(self.shortest)
        while round(length) < tokens:
            if not found or round(length) > found[-1]:
                found.append(round(length))
            length *= self.ratio
        return found

    def step(self, length: int) -> int:
        """Between the starts of windows of a length."""
        return max(length // self.steps, 1)

    def starts(self, length: int, tokens: int) -> np.ndarray:
        """Of the windows of a length: ascending, the last one ending with the text."""
        last = tokens - length
        return np.append(np.arange(0, last, self.step(length)), last)

    def search(self, detector: Detector, score: Score, fpr: float) -> Segments:
        """Look for segments of a text that a detector has scored.

        Time and memory are in proportion to the number of tokens.

        Args:
            detector: whose p-values hold at any size, and for any tokens of the text.
            score: what it says of the text.
            fpr: level of the segments that are told, all together: in (0, 1).

        Raises:
            ValueError: for a detector without such p-values (`Exactness.of_parts`), or a level that is none.
        """
        (found,) = self.search_all(detector, [score], fpr)
        return found

    def search_all(self, detector: Detector, scores: Sequence[Score], fpr: float) -> list[Segments]:
        """`search` in many texts, with NumPy called for many short ones at once: what is found in a text does
        not depend on the others.

        Raises:
            ValueError: as `search`.
        """
        if not detector.exactness.of_parts:
            raise ValueError(
                f"detector={detector.name!r} has p-values that are {detector.exactness}, which tell nothing "
                "of windows; use one whose null law is exact for any of them"
            )
        if not 0 < fpr < 1:
            raise ValueError(f"fpr={fpr} must be between 0 and 1; 0.01 is usual")
        return [found for some in _alike(scores) for found in self._search(detector, some, math.log(fpr))]

    def _search(self, detector: Detector, scores: Sequence[Score], log_fpr: float) -> list[Segments]:
        texts = _Texts.of(scores)
        lengths = self.lengths(int(texts.tokens.max(initial=0)))
        # How many lengths each text has.
        sizes = np.searchsorted(lengths, texts.tokens)
        whole = [math.log(self.weights(size)[0]) for size in sizes.tolist()]
        least = np.minimum([score.log_p for score in scores] - np.array(whole), 0.0)
        candidates = [_whole(scores, np.array(whole), log_fpr)]
        for length in lengths:
            windows = _windows(self, texts, length, sizes)
            rows = np.flatnonzero(windows.may_reach(detector, 0.0))
            if not len(rows):
                continue
            windows = windows.of(rows)
            smallest = log_p_values(detector, windows.most, length) - windows.log_weights
            which = windows.rows
            least[which] = np.minimum(least[which], smallest)
            if len(few := np.flatnonzero(smallest <= log_fpr)):
                candidates.append(windows.of(few).candidates(detector, log_fpr, self.steps // 4))
        told = _told(detector, scores, texts, _Candidates.joined(candidates), log_fpr)
        return [
            Segments(log_p, tuple(found), _window_count(self, tokens), tokens)
            for log_p, found, tokens in zip(least.tolist(), told, texts.tokens.tolist(), strict=True)
        ]


def _alike(scores: Sequence[Score]) -> Iterator[Sequence[Score]]:
    """Texts in order, few at a time where one is long: a matrix has room for the longest in every row."""
    first, longest = 0, 0
    for i, score in enumerate(scores):
        longest = max(longest, score.tokens_scored)
        if i - first == _TOGETHER or (i > first and (i - first + 1) * longest > _LARGEST_MATRIX):
            yield scores[first:i]
            first, longest = i, score.tokens_scored
    if first < len(scores):
        yield scores[first:]


_Whole = TypeVar("_Whole", int, np.ndarray)


def _count(last: _Whole, step: int) -> _Whole:
    """How many windows there are, a step apart, of which the last one starts at `last`."""
    return -(-last // step) + 1


@lru_cache(maxsize=4096)
def _window_count(search: SegmentSearch, tokens: int) -> int:
    """How many windows are looked at in a text of so many tokens that count, itself among them."""
    # Short texts share few sizes, and counting takes longer than all else that is done for one by itself.
    if not tokens:
        return 0
    return 1 + sum(_count(tokens - length, search.step(length)) for length in search.lengths(tokens))


@lru_cache(maxsize=4096)
def _threshold(detector: Detector, length: int, level: float) -> float:
    # Texts share them, and a detector's takes longer than a text.
    return detector.threshold(length, level)


@dataclass(frozen=True)
class _Texts:
    """Scores of texts, one in each row, summed up to every token: `sums` [texts, 1 + longest].

    Behind the `tokens` [texts] of a text sums fall so fast that no window that reaches there is large.
    """

    tokens: np.ndarray
    sums: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, scores: Sequence[Score]) -> _Texts:
        tokens = np.array([score.tokens_scored for score in scores], dtype=np.int64)
        longest = int(tokens.max(initial=0))
        sums = np.zeros((len(scores), longest + 1))
        for row, score in zip(sums, scores, strict=True):
            np.cumsum(score.contributions, out=row[1 : score.tokens_scored + 1])
            row[score.tokens_scored + 1 :] = _NEVER * np.arange(1, longest - score.tokens_scored + 1)
        return cls(tokens, sums)


@dataclass(frozen=True)
class _Windows:
    """Windows of one length in several texts.

    Attributes:
        length, step: of the windows, and between their starts.
        rows: [r] which texts.
        last: [r] where the last window of each text starts.
        totals: [r, w] their sums, in order of starts; behind the last of a text something very small.
        sizes: [r] by how many lengths the error is divided.
        share: of the error that all lengths have together.
    """

    length: int
    step: int
    rows: np.ndarray
    last: np.ndarray
    totals: np.ndarray = field(repr=False)
    sizes: np.ndarray
    share: float

    @cached_property
    def counts(self) -> np.ndarray:
        """How many windows each text has: [r]."""
        return _count(self.last, self.step)

    @cached_property
    def most(self) -> np.ndarray:
        """The largest sum of each text: [r]."""
        return self.totals.max(axis=1)

    @cached_property
    def log_weights(self) -> np.ndarray:
        """Logarithm of the part of the error that every window of a text has: [r]."""
        return np.log(self.share / self.sizes / self.counts)

    def of(self, some: np.ndarray) -> _Windows:
        """Those of some of the texts."""
        if len(some) == len(self.rows):
            return self
        picked = (self.rows[some], self.last[some], self.totals[some], self.sizes[some])
        return _Windows(self.length, self.step, *picked, self.share)

    def thresholds(self, detector: Detector, log_level: float) -> np.ndarray:
        """Sums below which a window's corrected p-value is above a level: [r]; lower than need be, so that
        texts of different lengths share few of them."""
        counts = np.exp2(np.floor(np.log2(self.counts)))
        kinds, which = np.unique(self.sizes * counts, return_inverse=True)
        levels = (math.exp(log_level) * self.share / kinds).tolist()
        return np.array([_threshold(detector, self.length, level) for level in levels])[which]

    def may_reach(self, detector: Detector, log_level: float) -> np.ndarray:
        """False where no window of a text has a corrected p-value that small: [r]."""
        return self.most >= self.thresholds(detector, log_level)

    def candidates(self, detector: Detector, log_fpr: float, reach: int) -> _Candidates:
        """Windows whose corrected p-value is at most a level, and whose sums are the largest among `reach`
        neighbours to each side."""
        largest = self.totals.copy()
        for shift in range(1, reach + 1):
            np.maximum(largest[:, shift:], self.totals[:, :-shift], out=largest[:, shift:])
            np.maximum(largest[:, :-shift], self.totals[:, shift:], out=largest[:, :-shift])
        # A threshold is as fine as the detector's law, which the largest sum of a text has already passed.
        least = np.minimum(self.thresholds(detector, log_fpr), self.most)
        row, place = np.nonzero((self.totals == largest) & (self.totals >= least[:, None]))
        log_p = self._log_p(detector, self.totals[row, place], np.bincount(row, minlength=len(self.rows)))
        evidence = self.log_weights[row] - log_p
        kept = evidence >= -log_fpr
        row, place = row[kept], place[kept]
        starts = np.minimum(place * self.step, self.last[row])
        ends = starts + self.length
        return _Candidates(self.rows[row], starts, ends, self.log_weights[row], evidence[kept])

    def _log_p(self, detector: Detector, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Log p-values of sums, `counts` of each text in turn; of many, interpolated between some of them."""
        found = np.empty(len(sums))
        bounds = np.append(0, np.cumsum(counts))
        few = np.repeat(counts <= _KNOTS, counts)
        found[few] = log_p_values(detector, sums[few], self.length)
        for one in np.flatnonzero(counts > _KNOTS).tolist():
            ours = sums[bounds[one] : bounds[one + 1]]
            knots, which = np.unique(ours, return_inverse=True)
            # Making an interpolator takes as long as a hundred p-values, so that few sums do without.
            if interpolated := len(knots) > _KNOTS:
                knots = np.linspace(knots[0], knots[-1], _KNOTS)
            log_p = np.maximum(log_p_values(detector, knots, self.length), _LEAST)
            found[bounds[one] : bounds[one + 1]] = (
                PchipInterpolator(knots, log_p)(ours) if interpolated else log_p[which]
            )
        return np.maximum(found, _LEAST)


def _windows(search: SegmentSearch, texts: _Texts, length: int, sizes: np.ndarray) -> _Windows:
    """All windows of a length, of the texts that are longer."""
    rows = np.flatnonzero(texts.tokens > length)
    last, sums = texts.tokens[rows] - length, texts.sums
    if len(rows) < len(sums):
        sums = sums[rows]
    step = search.step(length)
    # Slices, as index arrays of all starts would take several times the memory of a long text.
    ahead = sums[:, length::step]
    totals = np.full((len(rows), _count(int(last.max()), step)), _NEVER)
    np.subtract(ahead, sums[:, : step * ahead.shape[1] : step], out=totals[:, : ahead.shape[1]])
    every = np.arange(len(rows))
    totals[every, _count(last, step) - 1] = sums[every, last + length] - sums[every, last]
    return _Windows(length, step, rows, last, totals, np.maximum(sizes[rows], search.sizes), search.share)


@dataclass(frozen=True)
class _Candidates:
    """Windows that may be told: [w] each.

    Attributes:
        rows: their texts.
        starts, ends: among the tokens that count.
        log_weights: logarithms of their parts of the error.
        evidence: minus their corrected log p-values, but for what interpolation gets wrong.
    """

    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    log_weights: np.ndarray
    evidence: np.ndarray

    @classmethod
    def joined(cls, several: Sequence[_Candidates]) -> _Candidates:
        """All of them, by text and then by end. Of equal evidence the longest comes last, which has fewest
        windows beside it."""
        columns = zip(*((x.rows, x.starts, x.ends, x.log_weights, x.evidence) for x in several), strict=True)
        rows, starts, ends, log_weights, evidence = map(np.concatenate, columns)
        order = np.lexsort((-starts, ends, rows))
        return cls(*(x[order] for x in (rows, starts, ends, log_weights, evidence)))

    def most_evidence(self) -> list[int]:
        """Which are disjoint and have the most evidence in sum, in order. (Weighted intervals, by dynamic
        programming over their ends.)"""
        # Texts one behind the other, so that the windows of all are those of one long text.
        apart = int(self.ends.max(initial=0)) * self.rows
        before = np.searchsorted(apart + self.ends, apart + self.starts, side="right").tolist()
        most = 0.0
        best = [most]
        for value, earlier in zip(self.evidence.tolist(), before, strict=True):
            # Not by `max`, which takes half of the time.
            if best[earlier] + value > most:
                most = best[earlier] + value
            best.append(most)
        chosen, i = [], len(before)
        while i:
            i -= 1
            if best[i + 1] > best[i]:
                chosen.append(i)
                i = before[i]
        return chosen[::-1]


def _whole(scores: Sequence[Score], log_weights: np.ndarray, log_fpr: float) -> _Candidates:
    """The whole texts."""
    tokens = np.array([score.tokens_scored for score in scores], dtype=np.int64)
    evidence = log_weights - np.maximum([score.log_p for score in scores], _LEAST)
    rows = np.flatnonzero((evidence >= -log_fpr) & (tokens > 0))
    return _Candidates(rows, np.zeros_like(rows), tokens[rows], log_weights[rows], evidence[rows])


def _told(
    detector: Detector, scores: Sequence[Score], texts: _Texts, windows: _Candidates, log_fpr: float
) -> list[list[Segment]]:
    """The segments of every text."""
    told: list[list[Segment]] = [[] for _ in scores]
    for i in windows.most_evidence():
        row, start, end = int(windows.rows[i]), int(windows.starts[i]), int(windows.ends[i])
        score, length = scores[row], end - start
        whole = length == score.tokens_scored
        statistic = score.statistic if whole else float(texts.sums[row, end] - texts.sums[row, start])
        # A whole text may have a law of its own.
        log_p = score.log_p if whole else detector.log_p(statistic, length)
        corrected = log_p - float(windows.log_weights[i])
        if corrected <= log_fpr:
            ends = int(score.index[start]), int(score.index[end - 1]) + 1
            told[row].append(Segment(*ends, length, statistic, log_p, corrected))
    return told
