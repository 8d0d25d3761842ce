"""Which tokens of a long text a page shows: all of a short one, else its marked parts and its beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tradeoff.detection import Segment

__all__ = ["excerpt"]

#: Tokens shown before and after a part.
_AROUND = 100


def excerpt(length: int, parts: Sequence[Segment], most: int) -> list[tuple[int, int]]:
    """Disjoint ranges of tokens, in order, with at most `most` in sum.

    Args:
        length: tokens of the text.
        parts: marked ones; those with the most evidence come first where not all of them have room.
        most: tokens that there is room for.

    Returns:
        From which token up to but not including which: all of a text that has room; else its parts with some
        of what is around them, and of what is left as much as there is room for, from the start.
    """
    if length <= most:
        return [(0, length)] if length else []
    chosen: list[tuple[int, int]] = []
    room = most
    for part in sorted(parts, key=lambda one: one.corrected_log_p):
        for gap in list(_gaps(chosen, max(part.start - _AROUND, 0), min(part.end + _AROUND, length))):
            room = _take(chosen, gap, room)
    for gap in list(_gaps(chosen, 0, length)):
        room = _take(chosen, gap, room)
    return _joined(chosen)


def _take(chosen: list[tuple[int, int]], gap: tuple[int, int], room: int) -> int:
    start, end = gap[0], min(gap[1], gap[0] + room)
    if end > start:
        chosen.append((start, end))
    return room - max(end - start, 0)


def _gaps(chosen: Sequence[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What of a range is not chosen yet."""
    for first, last in sorted(chosen):
        if last <= start or first >= end:
            continue
        if first > start:
            yield start, first
        start = max(start, last)
    if start < end:
        yield start, end


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and joined[-1][1] == start:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined
