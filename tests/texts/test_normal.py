"""Normal characters: known strings, what scripts need, and where every character stood."""

from __future__ import annotations

import itertools
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeoff.texts import Normalised, normal, normalised

#: Characters that meet each other: letters of several scripts, marks, jamo, joiners, spaces, emoji.
LETTERS = "aeé Kk\u212b\u2126αά\u1f71йд한가각\u1100\u1161\u11a8\u11a7कक्षിക\u0958بن漢が\u304b👩❤♀"
MARKS = "\u0301\u0308\u0323\u0345\u094d\u0930\u3099\ufe0f\u20e3\u09c7\u09be\U0001f3fb"
SPECIAL = "\xa0\u2007\u202f\u2003\u3000\u200b\u200c\u200d\u2060\ufeff\u200e\u202e\u2066\u2069\xad"
mixed = st.text(alphabet=LETTERS + MARKS + SPECIAL, max_size=30)
any_text = st.text(max_size=30) | mixed
#: Without whatever is changed for another reason than that it is decomposed.
plain = st.text(max_size=30).map(lambda text: unicodedata.normalize("NFC", normal._SPECIAL.sub("", text)))


@given(any_text)
def test_twice_is_once(text: str) -> None:
    once = normalised(text)
    again = normalised(once.text)
    assert again.text == once.text
    assert again.changes == ()


@given(any_text)
def test_ranges_cover_the_original(text: str) -> None:
    """In order, without gaps, from the beginning to the end."""
    found = normalised(text)
    count = len(found.text)
    assert found.original(0, count) == (0, len(text))
    ranges = [found.original(at, at + 1) for at in range(count)]
    for before, after in itertools.pairwise(ranges):
        # Equal within a cluster of which several characters remain.
        assert after == before or after[0] == before[1]
    for at in range(count + 1):
        left, right = found.original(0, at), found.original(at, count)
        if 0 < at < count:
            assert left[0] == 0
            assert right[0] <= left[1]
            assert right[1] == len(text)
        start, end = found.original(at, at)
        assert start == end or not count


@given(any_text)
def test_ranges_hold_what_the_characters_were(text: str) -> None:
    """What stands in a range of the original says the same as the characters of it."""
    found = normalised(text)
    for at, character in enumerate(found.text):
        start, end = found.original(at, at + 1)
        there = normalised(text[start:end]).text
        # Out of its place a joiner has no neighbour that needs it.
        assert character in there or character in "\u200c\u200d"


@given(plain)
def test_unchanged_text_maps_to_itself(text: str) -> None:
    found = normalised(text)
    assert found == Normalised(text)
    for start in range(len(text)):
        assert found.original(start, len(text)) == (start, len(text))


@given(plain)
def test_decomposed_text_comes_back(text: str) -> None:
    assert normalised(unicodedata.normalize("NFD", text)).text == text


@pytest.mark.parametrize(
    ("text", "expected", "changes"),
    [
        ("", "", ()),
        ("plain\ttext\n", "plain\ttext\n", ()),
        ("naïve 漢字 🙂", "naïve 漢字 🙂", ()),
        ("a\xa0b\u202fc\u2007d", "a b c d", ("3 no-break spaces",)),
        ("a\u2003b\u3000c", "a b c", ("2 other spaces",)),
        ("wa\u200bter\ufeff\u2060", "water", ("3 zero-width characters",)),
        ("\u200eab\u202ec\u2066", "abc", ("3 direction marks",)),
        ("hy\xadphen", "hyphen", ("1 soft hyphen",)),
        ("re\u0301sume\u0301", "résumé", ("2 decomposed letters",)),
        ("e\u200b\u0301", "é", ("1 zero-width character", "1 decomposed letter")),
        ("\u212bngstr\xf6m", "Ångström", ("1 duplicate character",)),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국", ("2 decomposed letters",)),
        ("Vie\u0323\u0302t", "Việt", ("1 decomposed letter",)),
        # Joiners between letters that need none, beside blanks, and beside what does.
        ("wa\u200dter", "water", ("1 zero-width character",)),
        ("wa\u200cter\u200d .", "water .", ("2 zero-width characters",)),
        ("во\u200dда", "вода", ("1 zero-width character",)),
        ("e\u0301\u200da", "éa", ("1 zero-width character", "1 decomposed letter")),
        ("👩\u200d💻", "👩\u200d💻", ()),
        ("❤\ufe0f\u200d🔥", "❤\ufe0f\u200d🔥", ()),
        ("می\u200cخواهم", "می\u200cخواهم", ()),
        ("क्\u200dष", "क्\u200dष", ()),
        ("a\u200d\u200b\u200db", "ab", ("3 zero-width characters",)),
    ],
)
def test_known_strings(text: str, expected: str, changes: tuple[str, ...]) -> None:
    found = normalised(text)
    assert found.text == expected
    assert sorted(found.changes) == sorted(changes)


def test_changes_are_counted() -> None:
    assert normalised("\u200f" * 1200 + "ab").changes == ("1,200 direction marks",)


def test_places() -> None:
    found = normalised("\u200bre\u0301\xa0\xadsume\u0301s")
    assert found.text == "ré sumés"
    assert found.original(0, 1) == (0, 2)
    assert found.original(1, 2) == (2, 4)
    assert found.original(2, 3) == (4, 6)
    assert found.original(3, 7) == (6, 11)
    assert found.original(7, 8) == (11, 12)
    # Nothing is left, and two characters are left of one.
    assert normalised("\u200b\u200b").original(0, 0) == (0, 2)
    found = normalised("a\u0958b")
    assert len(found.text) == 4
    assert found.original(1, 2) == found.original(2, 3) == (1, 2)


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (2, 1), (0, 4)])
def test_what_is_no_range_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=f"start={start}, end={end} is no range of a text of 3 characters"):
        normalised("abc").original(start, end)


def test_all_space_separators_are_known() -> None:
    every = {chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Zs"}
    assert {space for space in every if not normal._SPACE.match(space)} == {" "}
    assert normalised("".join(sorted(every))).text == " " * len(every)


def test_whatever_is_composed_with_the_one_before_is_known() -> None:
    """In this Python's Unicode: the second parts of all characters that consist of two."""
    seconds = set()
    for code in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(chr(int(parts[1], 16)))
    assert len(seconds) > 50
    assert not [second for second in seconds if not normal._goes_on(second)]


def test_long_texts_take_no_longer_than_they_are_long() -> None:
    """Runs of marks and of joiners, and clusters that no letter has, which stay as they are."""
    began = time.process_time()
    piled = "a" + "\u0301\u0323" * 200_000
    assert normalised(piled).text == piled
    assert normalised("a" + "\u200d" * 400_000 + "b").text == "ab"
    found = normalised("e\u0301\xa0" * 100_000)
    assert found.text == "é " * 100_000
    assert found.original(199_998, 200_000) == (299_997, 300_000)
    assert time.process_time() - began < 20
