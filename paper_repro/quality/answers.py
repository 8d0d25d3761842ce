"""Whether an answer is right, and how much of a reference it has, by words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

__all__ = ["AGREEMENT", "exact", "normalised_words", "right", "rouge_l", "token_f1"]

_ARTICLES = frozenset(("a", "an", "the"))
_NO_WORD = re.compile(r"[^\w\s]|_")


def normalised_words(text: str) -> list[str]:
    """Words as SQuAD compares them: lower case, no punctuation, no articles (Rajpurkar et al. 2016)."""
    return [word for word in _NO_WORD.sub("", text.lower()).split() if word not in _ARTICLES]


def right(text: str, answers: Sequence[str]) -> bool:
    """Whether an accepted answer stands in the text, word for word after normalising."""
    words = normalised_words(text)
    return any(_stands(normalised_words(answer), words) for answer in answers)


def exact(text: str, answers: Sequence[str]) -> bool:
    """Whether the text is an accepted answer and nothing else, after normalising."""
    return normalised_words(text) in [normalised_words(answer) for answer in answers]


def token_f1(text: str, answers: Sequence[str]) -> float:
    """SQuAD's F1: harmonic mean of the shares of words that text and answer have in common; of the best."""
    return max(_f1_of_words(normalised_words(text), normalised_words(answer)) for answer in answers)


def rouge_l(text: str, references: Sequence[str]) -> float:
    """ROUGE-L: F1 of the longest common subsequence of words (Lin 2004), of the best reference.

    Words are normalised as for F1, and not stemmed.
    """
    return max(_rouge_l(normalised_words(text), normalised_words(reference)) for reference in references)


#: Measures of agreement with accepted answers, 0 to 1, by their columns.
AGREEMENT: Mapping[str, Callable[[str, Sequence[str]], float]] = MappingProxyType(
    {"right": right, "exact": exact, "token_f1": token_f1, "rouge_l": rouge_l}
)


def _stands(answer: list[str], words: list[str]) -> bool:
    size = len(answer)
    return bool(size) and any(words[i : i + size] == answer for i in range(len(words) - size + 1))


def _f1_of_words(words: list[str], answer: list[str]) -> float:
    common = (Counter(words) & Counter(answer)).total()
    return _f1(common, len(words), len(answer))


def _rouge_l(words: list[str], reference: list[str]) -> float:
    return _f1(_common_subsequence(words, reference), len(words), len(reference))


def _f1(common: int, first: int, second: int) -> float:
    """Harmonic mean of common / first and common / second; 1 for two empty texts, as SQuAD has it."""
    if not first and not second:
        return 1.0
    return 2 * common / (first + second)


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, 1):
            kept = row[place]
            row[place] = before + 1 if word == other else max(kept, row[place - 1])
            before = kept
    return row[-1]
