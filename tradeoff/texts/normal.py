"""Characters that editors, mail and web pages put in place of what was written: put back, with their places.

A copy of a text looks the same and has other tokens: its blanks may be no-break spaces, its words hold soft
hyphens and characters without a width, its accents stand behind their letters.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

__all__ = ["Normalised", "normalised"]

_NO_BREAK = "\xa0\u2007\u202f"
#: All of Unicode's space separators (category Zs) but the blank itself.
_SPACES = _NO_BREAK + "\u1680\u2000-\u2006\u2008-\u200a\u205f\u3000"
#: The zero-width non-joiner and joiner, which some scripts and emoji need.
_JOINERS = "\u200c\u200d"
_WIDTHLESS = "\u200b\u2060\ufeff"
_DIRECTIONS = "\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SPECIAL = re.compile(f"[{_SPACES}{_JOINERS}{_WIDTHLESS}{_DIRECTIONS}\xad]")
_SPACE, _NO_BREAK_SPACE, _DIRECTION = (re.compile(f"[{kind}]") for kind in (_SPACES, _NO_BREAK, _DIRECTIONS))
#: Characters of other alphabets, with the letter before them, which they may change.
_OTHER = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]+")
#: Letters that go on a cluster without being marks: the second and third parts of a Hangul syllable, and
#: vowels of Kirat Rai.
_PARTS = re.compile("[\u1160-\u11ff\ud7b0-\ud7fb\U00016d63-\U00016d6a]")
#: Characters of the longest cluster that is composed. No letter has so many marks, and putting them in order
#: takes time in proportion to the square of their number.
_LONGEST = 1000
#: What the names of letters begin with in scripts that need no joiners.
_UNJOINED = tuple(
    "ARMENIAN BOPOMOFO CJK CYRILLIC GEORGIAN GREEK HANGUL HIRAGANA KATAKANA LATIN".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Normalised:
    """A text with the characters that were meant, and where each of them stood.

    Attributes:
        text: its characters.
        changes: what was changed, for people: "12 no-break spaces"; empty where nothing was.
    """

    text: str
    changes: tuple[str, ...] = ()
    #: For every removed character, where in the text without them it stood.
    _gaps: tuple[int, ...] = field(default=(), repr=False)
    #: (start, end, start before, end before) of clusters that were composed, but of one character for
    #: another; "before" is in the text without the removed characters.
    _clusters: tuple[tuple[int, int, int, int], ...] = field(default=(), repr=False)

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Where characters of the text stood in the original, as a half-open range like the argument.

        A removed character belongs to the one before it, or at the beginning of the text to the first one. A
        cluster of characters that was composed is given whole, though only a part of it is asked for.

        Args:
            start, end: of the characters, counted from 0, the end excluded.

        Raises:
            ValueError: if they are no range of the text.
        """
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(
                f"start={start}, end={end} is no range of a text of {len(self.text)} characters; "
                f"0 <= start <= end <= {len(self.text)} must hold"
            )
        first = self._removed(self._composed(start, last=False)) if start else 0
        # Of a text that has nothing left, the original is the one range.
        if start == end and self.text:
            return first, first
        return first, self._removed(self._composed(end, last=True))

    def _composed(self, at: int, last: bool) -> int:
        """A boundary between characters before clusters were composed: within one its start, or its end."""
        index = bisect_right(self._clusters, at, key=lambda cluster: cluster[0]) - 1
        if index < 0:
            return at
        start, end, start_before, end_before = self._clusters[index]
        if at >= end:
            return end_before + at - end
        return end_before if last and at > start else start_before

    def _removed(self, at: int) -> int:
        """The same before characters were removed."""
        return at + bisect_right(self._gaps, at)


def normalised(text: str) -> Normalised:
    """The text as it was before editors, mail and web pages wrote it their way; twice does what once does.

    Space separators of all kinds become blanks. Characters without a width, marks of direction and soft
    hyphens are removed; joiners and non-joiners stay beside characters of scripts that need them, and beside
    emoji. Letters and the marks behind them become one character where Unicode has it (NFC).

    Args:
        text: any characters.
    """
    if text.isascii():
        return Normalised(text)
    special = _SPECIAL.search(text) is not None
    if not special and unicodedata.is_normalized("NFC", text):
        return Normalised(text)
    counts: Counter[str] = Counter()
    gaps: tuple[int, ...] = ()
    if special:
        text, gaps = _without_specials(text, counts)
    text, clusters = _composed(text, counts)
    changes = tuple(f"{count:,} {name}{'s' * (count != 1)}" for name, count in counts.items())
    return Normalised(text, changes, gaps, clusters)


def _without_specials(text: str, counts: Counter[str]) -> tuple[str, tuple[int, ...]]:
    """The text with blanks alone and nothing that has no width; where in it something was removed."""
    kept = _needed_joiners(text)
    parts: list[str] = []
    gaps: list[int] = []
    done = 0
    for found in _SPECIAL.finditer(text):
        at, character = found.start(), found[0]
        if at in kept:
            continue
        parts.append(text[done:at])
        done = at + 1
        if _SPACE.match(character):
            counts["no-break space" if _NO_BREAK_SPACE.match(character) else "other space"] += 1
            parts.append(" ")
            continue
        gaps.append(at - len(gaps))
        if character == "\xad":
            counts["soft hyphen"] += 1
        else:
            counts["direction mark" if _DIRECTION.match(character) else "zero-width character"] += 1
    return "".join([*parts, text[done:]]), tuple(gaps)


def _needed_joiners(text: str) -> set[int]:
    """Where joiners stand beside a character that may need them, whatever marks are between."""
    kept: set[int] = set()
    if not any(joiner in text for joiner in _JOINERS):
        return kept
    waiting: list[int] = []
    needed = False
    for at, character in enumerate(text):
        if character in _JOINERS:
            waiting.append(at)
            if needed:
                kept.add(at)
        elif not _is_passed_over(character):
            needed = _may_need_joiners(character)
            if needed:
                kept.update(waiting)
            waiting.clear()
    return kept


@lru_cache(maxsize=4096)
def _is_passed_over(character: str) -> bool:
    """Whether a character is no neighbour: a mark, or one that is removed."""
    is_removed = _SPECIAL.match(character) is not None and not _SPACE.match(character)
    return is_removed or unicodedata.category(character).startswith("M")


@lru_cache(maxsize=4096)
def _may_need_joiners(character: str) -> bool:
    # Decomposed, so that the answer is the same before and after composition.
    letter = unicodedata.normalize("NFD", character)[0]
    category = unicodedata.category(letter)
    # A character that Unicode did not have when this Python was made may be an emoji.
    if letter.isascii() or category[0] in "PZN" or category in ("Cc", "Cf", "Cs", "Co", "Sc"):
        return False
    return not unicodedata.name(letter, "").startswith(_UNJOINED)


def _composed(text: str, counts: Counter[str]) -> tuple[str, tuple[tuple[int, int, int, int], ...]]:
    """The text in NFC, and its composed clusters, but of one character for another."""
    if unicodedata.is_normalized("NFC", text):
        return text, ()
    parts, clusters, done, shift = [], [], 0, 0
    for start, end in _clusters(text):
        before = text[start:end]
        if end - start > _LONGEST or unicodedata.is_normalized("NFC", before):
            continue
        after = unicodedata.normalize("NFC", before)
        if after == before:
            continue
        counts["decomposed letter" if end - start > 1 else "duplicate character"] += 1
        parts += [text[done:start], after]
        done = end
        if max(len(before), len(after)) > 1:
            clusters.append((start + shift, start + shift + len(after), start, end))
            shift += len(after) - len(before)
    return "".join([*parts, text[done:]]), tuple(clusters)


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Where characters stand that are composed with each other and with no others; not all of ASCII."""
    for run in _OTHER.finditer(text):
        if unicodedata.is_normalized("NFC", run[0]):
            continue
        start = run.start()
        for at in range(start + 1, run.end()):
            if not _goes_on(text[at]):
                yield start, at
                start = at
        yield start, run.end()


@lru_cache(maxsize=4096)
def _goes_on(character: str) -> bool:
    """Whether a character may be composed with the one before it."""
    return unicodedata.category(character).startswith("M") or _PARTS.match(character) is not None
