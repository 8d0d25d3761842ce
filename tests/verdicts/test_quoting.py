"""Quotes of marked parts: in whole words, disjoint, and never long."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tradeoff.detection import Segment
from tradeoff.verdicts.pages.quoting import shortened, spans_of


def part(start: int, end: int) -> Segment:
    return Segment(start, end, end - start, 0.0, -90.0, -90.0)


def test_a_number_is_not_split() -> None:
    words = ["In", " the", " year", " 18", "29", " the", " Ear", "l", ".", " Then"]
    assert spans_of([part(4, 7)], words) == [(3, 9)]
    assert spans_of([part(3, 9)], words) == [(3, 9)], "whole words stay as they are"


def test_two_parts_do_not_share_a_word() -> None:
    """That both have a piece of: their edges stay where they are."""
    words = [" a", " b", " c", "d", "e", " f", " g"]
    assert spans_of([part(0, 3), part(4, 7)], words) == [(0, 3), (4, 7)]


def test_a_script_without_blanks_keeps_its_edges() -> None:
    assert spans_of([part(40, 60)], ["字"] * 100) == [(40, 60)]


token = st.sampled_from([" a", "b", "c ", "\n", "", " "])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(words=st.lists(token, min_size=1, max_size=80), edges=st.sets(st.integers(0, 80), max_size=6))
def test_spans_hold_their_parts(words: list[str], edges: set[int]) -> None:
    """Each but what a part before it has taken; in order, disjoint, inside the text."""
    places = sorted(edge for edge in edges if edge <= len(words))
    parts = [part(*pair) for pair in zip(places[::2], places[1::2], strict=False)]
    spans = spans_of(parts, words)
    assert len(spans) == len(parts)
    before = 0
    for one, (start, end) in zip(parts, spans, strict=True):
        assert before <= start <= one.start < one.end <= end <= len(words)
        before = end


def test_long_quotes_lose_their_middle() -> None:
    assert shortened(" A\n short  one ") == "A short one"
    words = [f"w{k}" for k in range(200)]
    assert shortened(" ".join(words)) == " ".join(
        [*words[:30], "[… 140 words left out …]", *words[-30:]],
    )
    bare = shortened("字" * 5_000)
    assert len(bare) < 1_000
    assert "[…]" in bare
