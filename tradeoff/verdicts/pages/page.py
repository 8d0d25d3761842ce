"""Verdicts and the evidence of every token as HTML pages, without scripts or anything to be fetched."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import quote

from tradeoff.detection import Detector
from tradeoff.display import environment, parts
from tradeoff.errors import FileError
from tradeoff.files import refusing, replacing
from tradeoff.verdicts.pages.facts import day_and_time, facts, installed_version, tests_made
from tradeoff.verdicts.pages.folders import (
    file_name,
    index_link,
    new_folder,
    putting_in_place,
    remove_former,
)
from tradeoff.verdicts.pages.listing import Entry, Listing
from tradeoff.verdicts.pages.marks import NUMBERED, SHOWN, Marks, class_of
from tradeoff.verdicts.pages.picture import picture
from tradeoff.verdicts.pages.sentences import about, grade, graded, parts_of, rarity, statement
from tradeoff.verdicts.pages.tally import Tally, tally
from tradeoff.verdicts.result import Outcome, Result
from tradeoff.verdicts.spelling import numbers
from tradeoff.verdicts.views import RARITIES, SHADES, shade_name

__all__ = ["EvidencePage", "evidence_html"]

#: Numbers of texts of up to so many tokens are printed, whether their tables are opened or not.
_PRINTED = 1_000
_TEMPLATE, _INDEX = "evidence.html", "evidence_index.html"
#: What is to be made of shaded words.
_SHADED = {
    Outcome.WATERMARKED: " What counts is how many are.",
    Outcome.IN_PART: " What counts is how many are.",
    Outcome.NOT_DETECTED: " Nothing was found in this text: its shaded words are no evidence.",
}


def evidence_html(
    result: Result,
    *,
    name: str | None = None,
    words: Sequence[str] | None = None,
    now: datetime | None = None,
) -> str:
    """The evidence page of one text.

    Args:
        result: the finding.
        name: of the text; None is its id.
        words: its tokens, spelled; None is `result.words`.
        now: when it was examined, with the time zone; None is the present.

    Raises:
        FileError: as `Result.words`.
    """
    told = result.text.id if name is None else name
    spelled = result.words if words is None else words
    return "".join(_page(told, result, spelled, day_and_time(now), ()))


class EvidencePage:
    """A page that is written text by text; use it as a context manager. It is there only when it is whole.

    Of one text it is the page. Of several it is an index, and their pages lie in a new folder beside it, such
    as `evidence-pages-1a2b3c`: first the folder is put in place, then the index that leads there, and then
    the folders of former runs are removed, unless they hold anything else.

    Args:
        path: the file to write.
        now: when the texts were examined, with the time zone; None is the present.

    Attributes:
        written: afterwards, what was written: the page, and the folder where there is one.

    Raises:
        FileError: if it cannot be written.
    """

    def __init__(self, path: Path, now: datetime | None = None):
        self.path, self._examined = path, day_and_time(now)
        self.written: list[Path] = []
        self._listing = Listing()
        with ExitStack() as stack:
            with refusing(path):
                if path.is_dir():
                    raise FileError(
                        f"{path} is a folder; name a file in it, such as {path / 'evidence.html'}"
                    )
                path.resolve().parent.mkdir(parents=True, exist_ok=True)
                self._folder = new_folder(path)
            # Ends when the file is in place.
            self._turn = stack.enter_context(ExitStack())
            stack.push(self._clear)
            self._temporary = stack.enter_context(replacing(path))
            # Not where the file is written, whose name may be any.
            names = ("pages", "all-pages")
            self._pages = self._temporary.parent / names[len(self._temporary.name) == len(names[0])]
            # The page of a text is open until the next one comes, to which it leads.
            self._page: TextIO | None = None
            stack.push(self._end)
            with refusing(path):
                self._pages.mkdir()
                with self._open(self._temporary):
                    pass
            self._stack = stack.pop_all()

    def __enter__(self) -> EvidencePage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, name: str, result: Result, words: Sequence[str] | None = None) -> None:
        """One text.

        Args:
            name: of the text, as it is shown.
            result: the finding.
            words: its tokens, spelled; None is `result.words`.

        Raises:
            FileError: if a file cannot be written.
        """
        number = len(self._listing.entries) + 1
        link = f"{quote(os.fsencode(self._folder.name))}/{file_name(number)}"
        entry = Entry.of(number, name, link, result)
        self._finish_page(entry)
        self._listing.add(entry, result)
        with refusing(self.path):
            self._page = self._open(self._place(number))
        spelled = result.words if words is None else words
        self._write(self._page, _body(name, result, spelled, self._examined))

    def _place(self, number: int) -> Path:
        return self._pages / file_name(number)

    def _open(self, path: Path) -> TextIO:
        # Surrogates cannot be encoded; nothing else is refused.
        return path.open("w", encoding="utf-8", errors="replace", newline="\n")

    def _finish_page(self, following: Entry | None) -> None:
        """The end of the page of the text before, and its way to others where there are several."""
        if self._page is None:
            return
        links: list[tuple[str, str]] = []
        entries = self._listing.entries
        if following is not None or len(entries) > 1:
            links.append((index_link(self.path), "All texts"))
            if len(entries) > 1:
                links.append((file_name(entries[-2].number), f"Text before: {entries[-2].name}"))
            if following is not None:
                links.append((file_name(following.number), f"Next text: {following.name}"))
        self._write(self._page, parts(_template(_TEMPLATE), "end", links=links, by=installed_version()))
        with refusing(self.path):
            self._page.close()
        self._page = None

    def _end(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish_page(None)
                self._put_in_place()
        finally:
            if self._page is not None:
                # What it still held is of no use.
                with suppress(OSError):
                    self._page.close()

    def _put_in_place(self) -> None:
        count = len(self._listing.entries)
        with refusing(self.path):
            self._turn.enter_context(putting_in_place(self.path))
            if count == 1:
                self._place(1).replace(self._temporary)
                self.written = [self.path]
                return
            with self._open(self._temporary) as index:
                self._write(index, self._index())
            if count:
                self._move_pages(count)
        self.written = [self.path, *([self._folder] if count else [])]

    def _clear(self, kind: type[BaseException] | None, *_: object) -> None:
        """Of the old and the new pages only those stay that the file at the path leads to."""
        if kind is None:
            remove_former(self.path, self._folder)
        elif issubclass(kind, Exception) and self._folder in self.written:
            # An interrupt may come when all is in place; what it leaves, the next run removes.
            shutil.rmtree(self._folder, ignore_errors=True)
            self.written = []

    def _index(self) -> Iterator[str]:
        return parts(
            _template(_INDEX),
            "page",
            groups=self._listing.groups if self._listing.entries else [],
            summary=self._listing.summary if self._listing.entries else ["No text was examined."],
            count=len(self._listing.entries),
            examined=self._examined,
            by=installed_version(),
        )

    def _move_pages(self, count: int) -> None:
        for number in range(1, count + 1):
            with self._place(number).open("r+b") as written:
                os.fsync(written.fileno())
        self._pages.rename(self._folder)

    def _write(self, stream: TextIO, markup: Iterator[str]) -> None:
        for part in markup:
            with refusing(self.path):
                stream.write(part)


def _template(name: str) -> Any:
    return environment("tradeoff").get_template(name)


def _page(
    name: str, result: Result, words: Sequence[str], examined: str, links: Sequence[tuple[str, str]]
) -> Iterator[str]:
    yield from _body(name, result, words, examined)
    yield from parts(_template(_TEMPLATE), "end", links=links, by=installed_version())


def _body(name: str, result: Result, words: Sequence[str], examined: str) -> Iterator[str]:
    """All of a page but its end."""
    whole = result.at_one_look() if result.sequential else None
    unread: list[str] = []
    if whole is not None and len(whole.token_ids) > len(words):
        unread = _spelled(whole)[len(words) :]
    marks = Marks(result, [*words, *unread])
    detector = result.reading.setting.detector
    counted = tally(detector, marks.scores)
    told = statement(result, words)
    tests = tests_made(result)
    yield from parts(
        _template(_TEMPLATE),
        "text",
        name=name,
        by=installed_version(),
        about=about(result),
        told=told,
        found=result.detected,
        shaded=_SHADED.get(result.verdict, ""),
        strength=str(grade(result)),
        graded=graded(result),
        tally=counted,
        in_parts=_in_parts(result, marks),
        sequential=_sequential(result, whole),
        picture=picture(result, len(marks.words)),
        corrected=result.reading.segments is not None
        or len(result.tests) > 1
        or result.over_texts is not None,
        legend=[(class_of(shade), shade_name(shade)) for shade in SHADES],
        shadeless=not _can_be_shaded(detector),
        pieces=marks.pieces(),
        cut=_cut(marks),
        tables=marks.tables(),
        printed=marks.read <= _PRINTED,
        marked=len(result.marked) > 0,
        has_tokens=len(marks.words) > 0,
        tests=tests,
        one_column=all(test.log10_p == test.uncorrected for test in tests),
        facts=facts(result, whole, name, examined),
    )


def _spelled(result: Result) -> list[str]:
    try:
        return result.words
    except FileError:
        return numbers(result.token_ids.tolist())


def _can_be_shaded(detector: Detector) -> bool:
    """Whether any score of a detector is rare enough."""
    return any(detector.log_p(detector.threshold(1, rarity), 1) > -math.inf for rarity in RARITIES)


def _in_parts(result: Result, marks: Marks) -> Tally | None:
    """The tally of the marked parts alone."""
    parts_told = parts_of(result)
    if not parts_told:
        return None
    inside = [
        k
        for k, place in enumerate(result.index.tolist())
        if any(segment.start <= place < segment.end for segment in parts_told)
    ]
    return tally(result.reading.setting.detector, marks.scores[inside])


def _sequential(result: Result, whole: Result | None) -> list[str]:
    """What is said of a text that was read token by token."""
    if not result.sequential:
        return []
    if result.tokens_needed is None:
        told = [
            "The text was read token by token (token: a word or a piece of one) to its end, and the level "
            "that was set was never reached."
        ]
    else:
        told = [
            "The text was read token by token (token: a word or a piece of one), and reading stopped after "
            f"token {result.tokens_needed:,}, where the level that was set was reached. Only this is the "
            "verdict."
        ]
    if whole is None:
        return [*told, "The rest was not read."] if result.tokens_needed is not None else told
    return [
        *told,
        f"For comparison, a single look at all {len(whole.token_ids):,} tokens would say: {whole.verdict}. "
        f"{rarity(whole)} That is no second verdict: which of the two counts must be settled "
        "before either is seen.",
    ]


def _cut(marks: Marks) -> list[str]:
    """What a page of a long text leaves out."""
    told = []
    if len(marks.words) > SHOWN:
        told.append(
            f"Of {len(marks.words):,} tokens {SHOWN:,} are shown: the marked parts first, then from the "
            "beginning."
        )
    if marks.read > NUMBERED:
        told.append(
            f"Numbers are told of {NUMBERED:,} tokens of {marks.read:,}: the marked parts first, then from "
            "the beginning. `tradeoff detect --json --tokens` gives all."
        )
    return told
