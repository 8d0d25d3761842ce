"""Tokens spelled for people, one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["PART", "Speller", "numbers"]

#: Stands for a token that ends within a character, which is shown with the token that completes it.
PART = "·"
#: What tokenizers decode the bytes of an unfinished character to.
_UNDECODED = "\ufffd"
#: The longest character of UTF-8 has 4 bytes, so that what 4 tokens do not complete is none.
_LONGEST = 4


class Speller:
    """Spells tokens with the tokenizer that made them.

    Args:
        tokenizer: of Transformers.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer, self._size = tokenizer, len(tokenizer)
        self._spellings: dict[int, str] = {}

    def words(self, ids: Iterable[int]) -> list[str]:
        """Every token spelled: [n]; as numbers where the tokenizer has no such token."""
        words: list[str] = []
        part: list[int] = []
        for token in ids:
            if token >= self._size:
                part = []
                words.append(_number(token))
                continue
            word = self._word(token)
            if part or _UNDECODED in word:
                part.append(token)
                word = self._decoded(part)
                if word.endswith(_UNDECODED) and len(part) < _LONGEST:
                    word = PART
                else:
                    part = []
            words.append(word)
        return words

    def _word(self, token: int) -> str:
        if token not in self._spellings:
            self._spellings[token] = self._decoded([token])
        return self._spellings[token]

    def _decoded(self, ids: list[int]) -> str:
        word = str(self._tokenizer.decode(ids))
        # SentencePiece's decoder drops the blank of a first word.
        starts_word = str(self._tokenizer.convert_ids_to_tokens(ids[0])).startswith("▁")
        return f" {word}" if starts_word and not word.startswith(" ") else word


def numbers(ids: Iterable[int]) -> list[str]:
    """Every token as its number: [n]."""
    return [_number(token) for token in ids]


def _number(token: int) -> str:
    return f"#{token} "
