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
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from tradeoff.detection.detector import Detector, Score

__all__ = ["Segment", "SegmentSearch", "Segments"]

#: Sums of one length whose p-values are computed; those between are interpolated, to put windows in order.
_KNOTS = 17
#: Texts whose sums are in memory at a time.
_TOGETHER = 256
_NEVER = -1e290
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

    def starts(self, length: int, tokens: int) -> np.ndarray:
        """Of the windows of a length: ascending, the last one ending with the text."""
        last = tokens - length
        return np.append(np.arange(0, last, self._step(length)), last)

    def _step(self, length: int) -> int:
        return max(length // self.steps, 1)

    def search_all(self, detector: Detector, scores: Sequence[Score], fpr: float) -> list[Segments]:
        """`search` in many short texts, with the same findings, and NumPy called once for all of them.

        A text is searched by itself only where a window has a corrected p-value below 1: without a watermark
        that is about one text in ten.
        """
        self._check(detector, fpr)
        found: list[Segments] = []
        for some in _alike(scores):
            for score, stands_out in zip(some, self._stand_out(detector, some), strict=True):
                if stands_out or score.log_p - self._log_whole(score.tokens_scored) <= math.log(fpr):
                    found.append(self.search(detector, score, fpr))
                else:
                    found.append(self._nothing(score))
        return found

    def _nothing(self, score: Score) -> Segments:
        """What is said of a text of whose windows none says anything."""
        tokens = score.tokens_scored
        log_p = min(score.log_p - self._log_whole(tokens), 0.0)
        return Segments(log_p, (), _window_count(self, tokens), tokens)

    def _log_whole(self, tokens: int) -> float:
        """Logarithm of the weight of the whole text."""
        return math.log(_weights(self, tokens)[0])

    def _stand_out(self, detector: Detector, scores: Sequence[Score]) -> np.ndarray:
        """Whether any window of a text may have a corrected p-value below 1: [texts]."""
        tokens = np.array([score.tokens_scored for score in scores], dtype=np.int64)
        longest = int(tokens.max(initial=0))
        sums = np.zeros((len(scores), longest + 1))
        for row, score in zip(sums, scores, strict=True):
            np.cumsum(score.contributions, out=row[1 : score.tokens_scored + 1])
            # Windows that reach over the end of a text, or lie behind it, are never the largest.
            row[score.tokens_scored + 1 :] = _NEVER * np.arange(1, longest - score.tokens_scored + 1)
        stand_out = np.zeros(len(scores), dtype=bool)
        lengths = self.lengths(longest)
        of_each = np.searchsorted(lengths, tokens)
        for length in lengths:
            step = self._step(length)
            rows = np.flatnonzero(tokens > length)
            ends, windows = tokens[rows], sums[rows]
            last = np.take_along_axis(windows, ends[:, None], 1) - np.take_along_axis(
                windows, ends[:, None] - length, 1
            )
            ahead = windows[:, length::step]
            most = np.maximum((ahead - windows[:, : step * ahead.shape[1] : step]).max(axis=1), last[:, 0])
            # Windows count by powers of two, rounded down, so that few thresholds are computed: fewer windows
            # weigh more, and what stands out is looked at again.
            counts = np.floor(np.log2(-(-(ends - length) // step) + 1)).astype(np.int64)
            kinds, which = np.unique(np.stack([of_each[rows], counts]), axis=1, return_inverse=True)
            levels = self.share / np.maximum(kinds[0], self.sizes) / 2.0 ** kinds[1]
            least = np.array([_threshold(detector, length, float(level)) for level in levels])
            stand_out[rows] |= most >= least[which.reshape(-1)]
        return stand_out

    def _check(self, detector: Detector, fpr: float) -> None:
        if not detector.exactness.of_parts:
            raise ValueError(
                f"detector={detector.name!r} has p-values that are {detector.exactness}, which tell nothing "
                "of windows; use one whose null law is exact for any of them"
            )
        if not 0 < fpr < 1:
            raise ValueError(f"fpr={fpr} must be between 0 and 1; 0.01 is usual")

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
        self._check(detector, fpr)
        tokens = score.tokens_scored
        if not tokens:
            return Segments(0.0, (), 0, 0)
        sums = np.concatenate([[0.0], np.cumsum(score.contributions)])
        lengths = self.lengths(tokens)
        of_whole, of_length = self.weights(len(lengths))
        whole = math.log(of_whole)
        least, windows = score.log_p - whole, 1
        candidates = [_Windows(tokens, np.zeros(1, np.int64), np.array([score.statistic]), whole)]
        for length in lengths:
            # Slices, as index arrays of all starts would take several times the memory of a text.
            step, last = self._step(length), tokens - length
            totals = np.empty(-(-last // step) + 1)
            np.subtract(sums[length:-1:step], sums[:last:step], out=totals[:-1])
            totals[-1] = sums[-1] - sums[last]
            log_weight = math.log(of_length / len(totals))
            smallest = detector.log_p(float(totals.max()), length) - log_weight
            least = min(least, smallest)
            windows += len(totals)
            if smallest <= math.log(fpr):
                ours = _Windows(length, self.starts(length, tokens), totals, log_weight)
                candidates.append(ours.above(detector, math.log(fpr), self.steps // 4))
        told = []
        for start, length, log_weight in _most_evidence(detector, candidates):
            statistic = score.statistic if length == tokens else float(sums[start + length] - sums[start])
            log_p = detector.log_p(statistic, length)
            if log_p - log_weight <= math.log(fpr):
                ends = int(score.index[start]), int(score.index[start + length - 1]) + 1
                told.append(Segment(*ends, length, statistic, log_p, log_p - log_weight))
        return Segments(min(least, 0.0), tuple(told), windows, tokens)


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


@lru_cache(maxsize=4096)
def _weights(search: SegmentSearch, tokens: int) -> tuple[float, float]:
    return search.weights(len(search.lengths(tokens)))


@lru_cache(maxsize=4096)
def _window_count(search: SegmentSearch, tokens: int) -> int:
    """How many windows are looked at in a text of so many tokens that count, itself among them."""
    # Short texts share few sizes, and counting takes longer than all else that is done for one by itself.
    if not tokens:
        return 0
    return 1 + sum(len(search.starts(length, tokens)) for length in search.lengths(tokens))


@lru_cache(maxsize=4096)
def _threshold(detector: Detector, length: int, level: float) -> float:
    # Texts share them, and a detector's takes longer than a text.
    return detector.threshold(length, level)


@dataclass(frozen=True)
class _Windows:
    """Windows of one length with their starts [w], sums [w], and the logarithm of the weight of each."""

    length: int
    starts: np.ndarray = field(repr=False)
    sums: np.ndarray = field(repr=False)
    log_weight: float

    def above(self, detector: Detector, log_fpr: float, reach: int) -> _Windows:
        """Those whose corrected p-value is at most a level, to the fineness of the detector's law, and whose
        sums are the largest among `reach` neighbours to each side."""
        level = math.exp(log_fpr + self.log_weight)
        largest = self.sums.copy()
        for shift in range(1, reach + 1):
            np.maximum(largest[shift:], self.sums[:-shift], out=largest[shift:])
            np.maximum(largest[:-shift], self.sums[shift:], out=largest[:-shift])
        kept = (self.sums == largest) & (
            self.sums >= min(_threshold(detector, self.length, level), largest.max())
        )
        return _Windows(self.length, self.starts[kept], self.sums[kept], self.log_weight)

    def corrected(self, detector: Detector) -> np.ndarray:
        """Corrected log p-values [w]; of many, between some of them by interpolation."""
        known, which = self.sums, np.arange(len(self.sums))
        if len(known) > _KNOTS:
            known, which = np.unique(self.sums, return_inverse=True)
        # Making an interpolator takes as long as a hundred p-values, so that few sums do without.
        if interpolated := len(known) > _KNOTS:
            known = np.linspace(known[0], known[-1], _KNOTS)
        log_p = np.array([detector.log_p(x, self.length) for x in known.tolist()])
        if len(known) > 1:
            # A discrete law ends somewhere; what is beyond its end is all the same.
            log_p = np.maximum(log_p, -1e300)
        log_p = np.asarray(PchipInterpolator(known, log_p)(self.sums)) if interpolated else log_p[which]
        return log_p - self.log_weight


def _most_evidence(detector: Detector, windows: list[_Windows]) -> list[tuple[int, int, float]]:
    """(start, length, log weight) of disjoint windows with the most evidence in sum, in order: minus their
    corrected log p-values. (Weighted intervals, by dynamic programming over their ends.)"""
    evidence = -np.concatenate([some.corrected(detector) for some in windows])
    starts = np.concatenate([some.starts for some in windows])
    lengths, weights = (
        np.repeat([getattr(some, name) for some in windows], [len(some.starts) for some in windows])
        for name in ("length", "log_weight")
    )
    ends = starts + lengths
    # Of equal evidence the longest, which has fewest windows beside it.
    order = np.lexsort((lengths, ends))
    starts, lengths, weights, evidence = (x[order] for x in (starts, lengths, weights, evidence))
    # How many windows end where each begins, or before.
    before = np.searchsorted(ends[order], starts, side="right").tolist()
    best = [0.0]
    for value, earlier in zip(evidence.tolist(), before, strict=True):
        best.append(max(best[-1], best[earlier] + value))
    chosen, i = [], len(before)
    while i:
        if best[i] > best[i - 1]:
            i -= 1
            chosen.append((int(starts[i]), int(lengths[i]), float(weights[i])))
            i = before[i]
        else:
            i -= 1
    return chosen[::-1]
