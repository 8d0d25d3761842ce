"""The evidence along a text as a picture, and which tokens of a long text are shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tradeoff as td
from tests.helpers.detecting import KEY, marked, other
from tradeoff.detection import Segment
from tradeoff.verdicts.pages.excerpt import excerpt
from tradeoff.verdicts.pages.picture import HEIGHT, WIDTH, Picture, picture

SCHEME = td.Scheme.of("joint-race", "gumbel")
MIXED = [*other(700), *marked(60), *other(500, seed=2)]


def drawn(ids: list[int], **how) -> Picture:
    found = picture(td.detect(ids, SCHEME, KEY, **how), len(ids))
    assert found is not None
    return found


def points(drawing: Picture) -> np.ndarray:
    return np.array([[float(x) for x in point.split(",")] for point in drawing.line.split()])


@pytest.mark.parametrize("ids", [marked(300), other(300), MIXED, other(3)], ids=len)
def test_all_of_it_is_in_its_frame(ids: list[int]) -> None:
    drawing = drawn(ids)
    x, y = points(drawing).T
    assert drawing.left <= x.min() <= x.max() <= drawing.right <= WIDTH
    assert drawing.top <= y.min() <= y.max() <= drawing.bottom <= HEIGHT
    assert (np.diff(x) >= 0).all()
    assert drawing.top <= drawing.level < drawing.bottom
    assert 0 < drawing.level_label.y < drawing.bottom
    for part in drawing.parts:
        assert drawing.left <= part.left <= part.left + part.width <= drawing.right + 0.2
        assert part.top >= drawing.top
    assert 2 <= len(drawing.up) <= 7
    assert 2 <= len(drawing.across) <= 7


def test_heights_are_the_evidence() -> None:
    """The line ends at the p-value of the text as a whole, on the scale of its marks."""
    found = td.detect(MIXED, SCHEME, KEY)
    drawing = picture(found, len(MIXED))
    assert drawing is not None
    zero, ten = drawing.up[0], next(tick for tick in drawing.up if tick.label == "1 in 10¹⁰")
    unit = (zero.place - ten.place) / 10

    def height(log10_p: float) -> float:
        return zero.place + unit * log10_p

    assert points(drawing)[-1][1] == pytest.approx(height(found.whole_log10_p), abs=0.2)
    assert drawing.level == pytest.approx(height(-2), abs=0.2)
    (part,), (segment,) = drawing.parts, found.segments
    assert part.top == pytest.approx(height(segment.corrected_log_p / math.log(10)), abs=0.2)
    assert part.left == pytest.approx(
        drawing.left + (drawing.right - drawing.left) * segment.start / len(MIXED), abs=0.2
    )
    assert f"tokens {segment.start + 1:,} to {segment.end:,}" in drawing.description


def test_the_level_is_named_beside_the_evidence() -> None:
    """Above its line at the right, where the evidence does not run through the words."""
    for ids in (marked(300), other(300), MIXED):
        drawing = drawn(ids)
        label, (x, y) = drawing.level_label, points(drawing).T
        wide = 170
        first = label.x if label.anchor == "start" else label.x - wide
        near = y[(first <= x) & (x <= first + wide)]
        assert not ((label.y - 16 <= near) & (near <= label.y)).any()
        assert abs(label.y - drawing.level) < 20
        assert drawing.left <= first
        assert first + wide <= drawing.right


def test_one_part_has_no_number() -> None:
    assert [part.label for part in drawn(MIXED).parts] == [""]
    two = [*other(300), *marked(60), *other(300, seed=2), *marked(60, seed=5), *other(300, seed=3)]
    assert [part.label for part in drawn(two).parts] == ["1", "2"]


def test_where_reading_stopped() -> None:
    ids = marked(200)
    found = td.detect(ids, SCHEME, KEY, sequential=True)
    drawing = picture(found, len(ids))
    assert drawing is not None
    assert drawing.stop is not None
    assert found.tokens_needed is not None
    span = drawing.right - drawing.left
    assert drawing.stop == pytest.approx(drawing.left + span * found.tokens_needed / 200, abs=0.1)
    assert f"Reading stopped after token {found.tokens_needed}." in drawing.description
    assert drawn(ids).stop is None


def test_a_long_line_has_few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """The highest and the lowest of every unit, so that nobody sees that others are left out."""
    rng, length = np.random.default_rng(0), 50_000
    evidence = np.cumsum(rng.normal(0.01, 1, length))
    found = td.detect(other(40), SCHEME, KEY)
    monkeypatch.setattr(type(found), "over_time", lambda _: (np.arange(1, length + 1), -evidence))
    drawing = picture(found, length)
    assert drawing is not None
    x, y = points(drawing).T
    assert len(x) <= 2 * (drawing.right - drawing.left + 1) + 2
    assert y.min() == pytest.approx(drawing.top + (drawing.bottom - drawing.top) * (1 - 1 / 1.08), abs=0.1)
    assert x[-1] == drawing.right
    assert (np.diff(x) >= 0).all()


def test_nothing_to_draw() -> None:
    assert picture(td.detect([1], SCHEME, KEY), 1) is None


parts = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 80), st.floats(-90, -5)), max_size=6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(length=st.integers(0, 1000), parts=parts, most=st.integers(1, 1200))
def test_excerpts(length: int, parts: list[tuple[int, int, float]], most: int) -> None:
    """Disjoint, in order, as many tokens as there is room for; the best part is among them."""
    segments = [
        Segment(start, min(start + size, length), size, 0.0, log_p, log_p)
        for start, size, log_p in parts
        if start < length
    ]
    ranges = excerpt(length, segments, most)
    assert sum(end - start for start, end in ranges) == min(length, most)
    edges = [edge for one in ranges for edge in one]
    assert edges == sorted(edges)
    assert all(start < end for start, end in ranges)
    assert edges == [] or (edges[0] >= 0 and edges[-1] <= length)
    if segments and most >= 400:
        best = min(segments, key=lambda one: one.corrected_log_p)
        assert any(start <= best.start and best.end <= end for start, end in ranges)
