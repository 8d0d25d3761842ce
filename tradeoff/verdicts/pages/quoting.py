"""Marked parts as they are quoted: in whole words, and long ones without their middle."""

from __future__ import annotations

from collections.abc import Sequence

from tradeoff.detection import Segment

__all__ = ["shortened", "spans_of"]

#: Words that are quoted in full, and those that are left of more.
_FULL, _WORDS = 80, 60
#: Characters of a quote, where words are long or have no blanks between them.
_CHARACTERS = 800
#: Tokens by which an edge moves at most to the edge of a word: some scripts have no blanks.
_FURTHER = 8


def spans_of(parts: Sequence[Segment], words: Sequence[str]) -> list[tuple[int, int]]:
    """Parts, each extended to whole words where their edges are near; disjoint, in the order of the text.

    Args:
        parts: disjoint, in order.
        words: [n] the tokens of the text, spelled.

    Returns:
        From which token up to but not including which.
    """
    spans: list[tuple[int, int]] = []
    before = 0
    for k, part in enumerate(parts):
        behind = parts[k + 1].start if k + 1 < len(parts) else len(words)
        lowest, highest = max(before, part.start - _FURTHER), min(behind, part.end + _FURTHER)
        backwards = range(part.start, lowest - 1, -1)
        start = next((place for place in backwards if _between_words(words, place)), part.start)
        onwards = range(part.end, highest + 1)
        end = next((place for place in onwards if _between_words(words, place)), part.end)
        spans.append((max(start, before), end))
        before = end
    return spans


def shortened(text: str) -> str:
    """In one line, with some words of the middle left out where there are many."""
    words = text.split()
    if len(words) > _FULL:
        half = _WORDS // 2
        left_out = f"[… {len(words) - 2 * half:,} words left out …]"
        words = [*words[:half], left_out, *words[-half:]]
    told = " ".join(words)
    if len(told) <= _CHARACTERS:
        return told
    return f"{told[: _CHARACTERS // 2]} […] {told[-(_CHARACTERS // 2) :]}"


def _between_words(words: Sequence[str], place: int) -> bool:
    if place in (0, len(words)):
        return True
    return words[place - 1][-1:].isspace() or words[place][:1].isspace()
