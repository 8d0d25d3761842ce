"""The tokens of a text as a page shows them: shaded, their parts marked, and their numbers in tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tradeoff.detection import Readings, log_p_values
from tradeoff.verdicts.pages.excerpt import excerpt
from tradeoff.verdicts.pages.quoting import spans_of
from tradeoff.verdicts.pages.sentences import parts_of
from tradeoff.verdicts.result import Result
from tradeoff.verdicts.views import shades

__all__ = ["NUMBERED", "SHOWN", "Marks", "Piece", "Rows", "class_of"]

#: Tokens whose numbers a page tells: some 150 bytes each, twice.
NUMBERED = 5_000
#: Tokens whose words it shows.
SHOWN = 100_000
#: Rows of one table, which is opened by itself.
_ROWS = 200
#: Words that tell a table from others.
_WORDS = 6
#: Numbers below this have a decimal, and from that on an exponent.
_DECIMALS, _LONG = 10, 1e9
#: The largest exponent of an exponential that is a number.
_LARGEST = 700.0


class Piece(NamedTuple):
    """What stands next in a text.

    Attributes:
        kind: "token", "run" of several, "open" or "close" of a marked part, "stop" of reading, or "gap".
        words: of a token or run, without the blanks before them; what is said of anything else.
        blank: before the words.
        mark: class of their shade.
        note: what a token says, of its own.
    """

    kind: str
    words: str
    blank: str = ""
    mark: str = ""
    note: str = ""


class Row(NamedTuple):
    """The numbers of a token: its place from 1, its words, one in how many scores so high, and more."""

    place: int
    word: str
    rare: str
    says: str
    marked: str


class Rows(NamedTuple):
    """A table of tokens: from the first to the last, how their words begin, and the rows."""

    first: int
    last: int
    words: str
    rows: Iterator[Row]


def class_of(shade: int | None) -> str:
    """The class of a shade in the style sheet."""
    return "u" if shade is None else f"s{shade}"


@dataclass(frozen=True, eq=False)
class Marks:
    """The tokens of a text.

    Args:
        result: the finding.
        words: [n] all its tokens, spelled, read or not.
    """

    result: Result
    words: Sequence[str]

    @property
    def read(self) -> int:
        """How many were read."""
        return len(self.result.token_ids)

    @cached_property
    def numbered(self) -> list[tuple[int, int]]:
        """Ranges of tokens whose numbers are told."""
        return excerpt(self.read, parts_of(self.result), NUMBERED)

    @cached_property
    def shown(self) -> list[tuple[int, int]]:
        """Ranges of tokens whose words are shown."""
        return excerpt(len(self.words), parts_of(self.result), SHOWN)

    @cached_property
    def scores(self) -> np.ndarray:
        """[t] of the tokens that count, each by itself: bets depend on the tokens before."""
        reading = self.result.reading
        if reading.bets is None:
            return self.result.contributions
        return reading.setting.detector.contributions(reading.evidence)

    def pieces(self) -> Iterator[Piece]:
        """The text, in order."""
        starts = {start: k for k, (start, _) in enumerate(self._spans)}
        ends = {end: k for k, (_, end) in enumerate(self._spans)}
        stops = {self.read} if self.read < len(self.words) else set()
        breaks = sorted({*starts, *ends, *stops})
        before = 0
        for start, end in self.shown:
            if start > before:
                yield _gap(start - before)
            edges = [start, *(place for place in breaks if start < place < end), end]
            for k, (first, last) in enumerate(pairwise(edges)):
                if k == 0 and first not in starts and (number := self._inside(first)) is not None:
                    yield Piece("open", f"{self._part(number)} goes on")
                if first in starts:
                    yield Piece("open", f"{self._part(starts[first])} begins")
                if first in stops:
                    yield Piece("stop", f"reading stopped here, after token {first:,}: the rest was not read")
                yield from self._between(first, last)
                if last in ends:
                    yield Piece("close", f"{self._part(ends[last])} ends")
                elif last == end and self._inside(last - 1) is not None:
                    yield Piece("close", "the marked part goes on")
            before = end
        if before < len(self.words):
            yield _gap(len(self.words) - before)
        elif self.read == len(self.words) and self.result.tokens_needed is not None:
            yield Piece("stop", f"reading stopped here, after token {self.read:,}")

    def tables(self) -> Iterator[Rows]:
        """The numbers of tokens, some at a time."""
        for start, end in self.numbered:
            for first in range(start, end, _ROWS):
                last = min(first + _ROWS, end)
                beginning = " ".join("".join(self.words[first:last]).split()[:_WORDS])
                yield Rows(first + 1, last, beginning, self._rows(first, last))

    def _rows(self, first: int, last: int) -> Iterator[Row]:
        for place in range(first, last):
            word = self.words[place]
            spelled = word.strip() or json.dumps(word, ensure_ascii=False)
            if (k := self._number.get(place)) is None:
                yield Row(place + 1, spelled, "", "does not count", "")
            else:
                yield Row(place + 1, spelled, self._rare(k), self._says(k), self._marked(k))

    def _between(self, first: int, last: int) -> Iterator[Piece]:
        """Tokens without a break among them: one by one where their numbers are told, else in runs."""
        place = first
        for start, end in self.numbered:
            if start >= last or end <= place:
                continue
            yield from self._runs(place, max(start, place))
            for one in range(max(start, place), min(end, last)):
                yield self._token(one)
            place = min(end, last)
        yield from self._runs(place, last)

    def _token(self, place: int) -> Piece:
        k = self._number.get(place)
        note = "not scored" if k is None else f"1 in {self._rare(k)}: {self._says(k)}"
        if k is not None and (marked := self._marked(k)):
            note += f", marked {marked}"
        return _piece("token", self.words[place], class_of(self._shade(place)), note)

    def _runs(self, first: int, last: int) -> Iterator[Piece]:
        place = first
        while place < last:
            shade, end = self._shade(place), place + 1
            while end < last and self._shade(end) == shade:
                end += 1
            yield _piece("run", "".join(self.words[place:end]), class_of(shade))
            place = end

    def _shade(self, place: int) -> int | None:
        k = self._number.get(place)
        return None if k is None else self._depths[k]

    def _inside(self, place: int) -> int | None:
        """The marked part in which a token lies."""
        return next((k for k, (start, end) in enumerate(self._spans) if start <= place < end), None)

    def _part(self, k: int) -> str:
        """A marked part by its number, where there are several."""
        return f"marked part {k + 1}" if len(self._spans) > 1 else "marked part"

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        return spans_of(parts_of(self.result), self.words)

    def _rare(self, k: int) -> str:
        return _one_in(math.exp(min(-self._log_p[k], _LARGEST)))

    def _says(self, k: int) -> str:
        return f"score {self.scores[k]:.2f}, {self._readings.of(k)}"

    def _marked(self, k: int) -> str:
        return _estimate(float(self.result.marked[k])) if len(self.result.marked) else ""

    @cached_property
    def _number(self) -> dict[int, int]:
        """Of the tokens that count the number among them."""
        return {place: k for k, place in enumerate(self.result.index.tolist())}

    @cached_property
    def _depths(self) -> list[int]:
        return shades(self.result.reading.setting.detector, self.scores).tolist()

    @cached_property
    def _log_p(self) -> list[float]:
        scores = self.scores
        return log_p_values(self.result.reading.setting.detector, scores, 1).tolist() if len(scores) else []

    @cached_property
    def _readings(self) -> Readings:
        reading = self.result.reading
        return reading.setting.detector.readings(reading.evidence)


def _one_in(number: float) -> str:
    """To about three digits: 1.3, 148, 1,230."""
    if number < _DECIMALS:
        return f"{number:.1f}"
    return f"{float(f'{number:.3g}'):,.0f}" if number < _LONG else f"{number:.1e}"


def _estimate(probability: float) -> str:
    """In percent, never certain."""
    if probability > 0.99:
        return "over 99%"
    return "under 1%" if probability < 0.01 else f"{probability:.0%}"


def _piece(kind: str, words: str, mark: str, note: str = "") -> Piece:
    # Shade and line belong to the word: its blank may hang over the end of a line.
    bare = words.lstrip(" ") or words
    return Piece(kind, bare, words[: len(words) - len(bare)], mark, note)


def _gap(tokens: int) -> Piece:
    return Piece("gap", f"{tokens:,} token{'s' * (tokens != 1)} left out here")
