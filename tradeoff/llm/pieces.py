"""The words of a text that is still being generated, in pieces that stay as they are."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

__all__ = ["Pieces"]

#: What stands for bytes that are no character, or not yet one.
_BROKEN = "\ufffd"
#: Characters that a word may have before it is shown in parts.
_LONGEST_WORD = 64


class Pieces:
    """Whole words as they come; all pieces together are what all tokens together are decoded to.

    Held back are characters of which bytes are missing, the beginning of a word, and what may become a stop
    string, so that none stands in two pieces.

    Args:
        decode: the words of tokens.
        stop: strings that may end the text.

    Attributes:
        rewritten: whether later tokens changed words that had been shown, as bytes do in some tokenizers;
            then no more is shown, and the pieces are not the text.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()):
        self._decode, self._stop = decode, tuple(stop)
        self._tokens: list[int] = []
        self._shown = ""
        self.rewritten = False

    def feed(self, tokens: Sequence[int]) -> str:
        """What can be shown after these tokens, and could not before; "" for nothing."""
        self._tokens.extend(tokens)
        words = self._decode(self._tokens)
        return self._next(words, min(_whole_words(words), _before_stop(words, self._stop)))

    def end(self) -> str:
        """What was held back."""
        words = self._decode(self._tokens)
        return self._next(words, len(words))

    def _next(self, words: str, end: int) -> str:
        start = len(self._shown)
        if self.rewritten or not words.startswith(self._shown):
            self.rewritten = True
            return ""
        piece = words[start:end]
        self._shown += piece
        return piece


def _whole_words(words: str) -> int:
    """Where the last word begins that may go on."""
    known = len(words.rstrip(_BROKEN))
    for end in range(known, max(known - _LONGEST_WORD, 0), -1):
        if words[end - 1].isspace() or unicodedata.east_asian_width(words[end - 1]) in ("W", "F"):
            return end
    return known if known > _LONGEST_WORD else 0


def _before_stop(words: str, stop: Sequence[str]) -> int:
    """Where a stop string begins, or the longest end of the words that one begins with."""
    there = [at for string in stop if (at := words.find(string)) >= 0]
    beginnings = (
        len(words) - length
        for string in stop
        for length in range(min(len(string), len(words)), 0, -1)
        if words.endswith(string[:length])
    )
    return min((*there, *beginnings), default=len(words))
