"""Prompt look-up: no draft model, but what followed the last n tokens when they stood in the text before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["NgramDraft", "NgramIndex", "parse_ngram"]

_NAME = "ngram"


@dataclass(frozen=True)
class NgramDraft:
    """In place of a draft model: a point mass on what followed the last n-gram in prompt and text.

    Prompt look-up decoding (Saxena 2023). Good where much is said again: summaries, edits, questions about a
    passage. Where the n-gram did not occur before, nothing is drafted.

    Args:
        n: tokens that must agree.

    Raises:
        ValueError: for n below 1.
    """

    n: int = 2

    def __post_init__(self) -> None:
        if type(self.n) is not int or self.n < 1:
            raise ValueError(f"draft='ngram:{self.n}' must look up at least 1 token, as ngram:3")

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{_NAME}:{self.n}"


class NgramIndex:
    """One text, and where each of its n-grams stood last, those that something follows.

    Args:
        n: tokens of an n-gram.
        tokens: of the text so far.
    """

    def __init__(self, n: int, tokens: Iterable[int] = ()):
        self._n = n
        self._tokens: list[int] = []
        self._followed: dict[tuple[int, ...], int] = {}
        self.extend(tokens)

    def extend(self, tokens: Iterable[int]) -> None:
        """Append to the text."""
        for token in tokens:
            if len(self._tokens) >= self._n:
                self._followed[tuple(self._tokens[-self._n :])] = len(self._tokens)
            self._tokens.append(token)

    def following(self, count: int) -> Sequence[int]:
        """The `count` tokens that followed the last n-gram when it stood in the text before; none if it did
        not. Where the text ends before, it goes on with what was found, as a period does."""
        start = self._followed.get(tuple(self._tokens[-self._n :])) if len(self._tokens) >= self._n else None
        if start is None:
            return []
        found = self._tokens[start : start + count]
        period = len(found)
        return [found[k % period] for k in range(count)]


def parse_ngram(draft: str) -> NgramDraft | None:
    """The draft called ngram or ngram:n; None for another name.

    Raises:
        ValueError: if n is no number of tokens.
    """
    name, colon, size = draft.partition(":")
    if name != _NAME:
        return None
    if not colon:
        return NgramDraft()
    if not size.isdecimal():
        raise ValueError(f"draft={draft!r} must name a number of tokens, as ngram:3")
    return NgramDraft(int(size))
