"""The evidence along a text as a picture: where it grows, where the marked parts are, where the level lies.

Coordinates are those of a drawing of WIDTH by HEIGHT; `evidence.html` makes an inline SVG of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from tradeoff.verdicts.pages.sentences import level_in_words, parts_of, power_of_ten
from tradeoff.verdicts.result import Result

__all__ = ["HEIGHT", "WIDTH", "Picture", "picture"]

#: Of the whole drawing, in its own units.
WIDTH, HEIGHT = 480, 290
#: What lies around the axes: room for their words.
_LEFT, _RIGHT, _TOP, _BOTTOM = 106, 14, 50, 54
#: Marks on an axis, at most.
_TICKS = 5
#: Room above the highest point, as a share of it.
_ABOVE = 1.08
#: Powers of ten from which on they are written as such.
_POWERS = 4
#: Room for the words of the level: their width, their height, and how far they are from the line.
_WIDE, _HIGH, _OFF = 170, 16, 7
#: Parts that are numbered; in a drawing of this size more would cover each other.
_NUMBERED = 8


class Tick(NamedTuple):
    """A mark on an axis: where, and what it says."""

    place: float
    label: str


class Label(NamedTuple):
    """Words beside a line: where they begin or end ("start" or "end"), and their base line."""

    x: float
    y: float
    anchor: str


class Part(NamedTuple):
    """A marked part: from `left`, so wide, up to `top`; its number, if one is written."""

    left: float
    width: float
    top: float
    label: str


@dataclass(frozen=True)
class Picture:
    """What is drawn.

    Attributes:
        width, height: of the drawing.
        left, right, top, bottom: the frame of the axes.
        line: the evidence along the text, as the points of a polyline.
        level: height of the level of the verdict.
        level_told: the level in words.
        level_label: where the line of the level is named.
        across, up: marks on the axes, of tokens and of chances.
        parts: the marked parts; each reaches up to its own evidence.
        stop: where reading stopped; None if it did not.
        description: all of it in words, for people who do not see it.
    """

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    line: str
    level: float
    level_told: str
    level_label: Label
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    parts: tuple[Part, ...]
    stop: float | None
    description: str


def picture(result: Result, length: int) -> Picture | None:
    """The evidence along a text; None where no token counts.

    Args:
        result: the finding.
        length: tokens of the text, read or not.
    """
    tokens, log10_p = result.over_time()
    if not len(tokens):
        return None
    evidence = -log10_p
    inside = [-segment.corrected_log_p / math.log(10) for segment in parts_of(result)]
    level = -math.log10(result.fpr)
    highest = max(1.0, level, float(evidence.max()), *inside) * _ABOVE
    left, right, top, bottom = float(_LEFT), float(WIDTH - _RIGHT), float(_TOP), float(HEIGHT - _BOTTOM)

    def across(token: float) -> float:
        return round(left + (right - left) * token / max(length, 1), 1)

    def up(value: float) -> float:
        return round(bottom - (bottom - top) * value / highest, 1)

    start = (across(0), up(0.0))
    points = [start, *((across(t), up(e)) for t, e in zip(tokens.tolist(), evidence.tolist(), strict=True))]
    points = _thinned(points)
    parts = tuple(
        Part(
            across(segment.start),
            max(round(across(segment.end) - across(segment.start), 1), 1.0),
            up(value),
            str(number) if 1 < len(inside) <= _NUMBERED else "",
        )
        for number, (segment, value) in enumerate(zip(parts_of(result), inside, strict=True), start=1)
    )
    return Picture(
        WIDTH,
        HEIGHT,
        left,
        right,
        top,
        bottom,
        " ".join(f"{x:g},{y:g}" for x, y in points),
        up(level),
        level_in_words(result.fpr),
        _beside(up(level), points, (left, right), bottom),
        tuple(Tick(across(value), f"{value:,}") for value in _round_steps(length)),
        tuple(Tick(up(value), _one_in(value)) for value in _round_steps(highest)),
        parts,
        across(result.tokens_needed) if result.tokens_needed is not None else None,
        _description(result, tokens, evidence, inside),
    )


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of the points in every unit across the highest and the lowest; the first and the last, where reading
    may have stopped, stay."""
    kept = [points[0]]
    for _, some in groupby(points[1:-1], key=lambda point: math.floor(point[0])):
        heights = list(some)
        ends = {max(heights, key=lambda point: point[1]), min(heights, key=lambda point: point[1])}
        kept += sorted(ends, key=heights.index)
    return [*kept, points[-1]]


def _beside(
    level: float, points: list[tuple[float, float]], ends: tuple[float, float], bottom: float
) -> Label:
    """Where the words of the level cover none of the evidence, if there is such a place."""
    left, right = ends
    above, below = level - _OFF, level + _HIGH
    places = [
        Label(x, y, anchor) for y in (above, below) for x, anchor in ((right, "end"), (left + _OFF, "start"))
    ]
    for place in places:
        first = place.x if place.anchor == "start" else place.x - _WIDE
        near = [y for x, y in points if first <= x <= first + _WIDE]
        if place.y < bottom and not any(place.y - _HIGH <= y <= place.y + _OFF for y in near):
            return place
    return places[0]


def _description(result: Result, tokens: np.ndarray, evidence: np.ndarray, inside: list[float]) -> str:
    """What the drawing shows, in words."""
    last, highest = float(evidence[-1]), int(np.argmax(evidence))
    told = [
        f"The line is how rare the scores up to each token are by chance. At token {tokens[-1]:,} it stands "
        f"at {_rare(last)}; at its highest, at token {tokens[highest]:,}, at "
        f"{_rare(float(evidence[highest]))}.",
        f"The dashed line, needed for a finding, is at {level_in_words(result.fpr)}.",
    ]
    told += [
        f"Marked part {number}: tokens {segment.start + 1:,} to {segment.end:,}, {_rare(value)} by itself."
        for number, (segment, value) in enumerate(zip(parts_of(result), inside, strict=True), start=1)
        if number <= _NUMBERED
    ]
    if (more := len(inside) - _NUMBERED) > 0:
        told.append(f"{more:,} more parts are marked.")
    if result.tokens_needed is not None:
        told.append(f"Reading stopped after token {result.tokens_needed:,}.")
    return " ".join(told)


def _rare(evidence: float) -> str:
    return _one_in(math.floor(evidence)) if evidence >= 1 else "next to no evidence"


def _one_in(power: int) -> str:
    return f"1 in {10**power:,}" if power < _POWERS else f"1 in {power_of_ten(power)}"


def _round_steps(highest: float) -> range:
    """Whole numbers from 0, a round step apart, at most `_TICKS` up to `highest`."""
    least = max(highest / _TICKS, 1.0)
    unit = 10 ** math.floor(math.log10(least))
    step = next(round(factor * unit) for factor in (1, 2, 5, 10) if factor * unit >= least * (1 - 1e-9))
    return range(0, math.floor(highest) + 1, step)
