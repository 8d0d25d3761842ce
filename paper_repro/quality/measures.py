"""How much a text repeats itself, and how much texts are like each other, by their token ids alone.

Shares of different n-grams fall and BLEU grows with the length and with the number of texts: only equal
lengths, and equal numbers of texts, compare.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

__all__ = [
    "ORDER",
    "bleu",
    "distinct",
    "distinct_together",
    "longest_repeat",
    "ngrams",
    "repeated",
    "self_bleu",
]

#: The longest n-grams of BLEU, and those of repetition.
ORDER = 4
#: Tokens of one text: ids, or words.
Tokens = Sequence[Hashable]


def ngrams(tokens: Tokens, n: int) -> list[tuple[Hashable, ...]]:
    """All n tokens in a row, in order; none where there are fewer.

    Raises:
        ValueError: if n is not positive.
    """
    if n < 1:
        raise ValueError(f"n={n} must be at least 1")
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def distinct(tokens: Tokens, n: int) -> float:
    """Distinct-n: different n-grams among all n-grams of a text (Li et al. 2016).

    Raises:
        ValueError: for fewer than n tokens.
    """
    return distinct_together([tokens], n)


def distinct_together(texts: Sequence[Tokens], n: int) -> float:
    """Distinct-n of several texts together: what stands in two of them counts once above, twice below.

    Raises:
        ValueError: if no text has n tokens.
    """
    found = [one for tokens in texts for one in ngrams(tokens, n)]
    if not found:
        longest = max(map(len, texts), default=0)
        raise ValueError(f"n={n} is more than the {longest} tokens of the longest text; pass longer texts")
    return len(set(found)) / len(found)


def repeated(tokens: Tokens, n: int = ORDER) -> float:
    """The share of n-grams that have stood in the text before: 1 less distinct-n ("rep-n").

    Raises:
        ValueError: for fewer than n tokens.
    """
    return 1 - distinct(tokens, n)


def longest_repeat(tokens: Tokens, n: int = ORDER) -> int:
    """The most tokens in a row of which all n-grams have stood in the text before; 0 if none has.

    Raises:
        ValueError: if n is not positive.
    """
    seen: set[tuple[Hashable, ...]] = set()
    longest = run = 0
    for one in ngrams(tokens, n):
        run = run + 1 if one in seen else 0
        longest = max(longest, run)
        seen.add(one)
    return longest + n - 1 if longest else 0


def bleu(tokens: Tokens, references: Sequence[Tokens]) -> float:
    """BLEU of one text, 0 to 100: n-grams of up to 4 tokens that stand in a reference, and its length.

    As sacrebleu's `sentence_bleu` with its default smoothing and effective order: where no n-gram of an
    order is found, it counts as 1/2, 1/4, ... of one (NIST); the reference of the nearest length is the
    measure of brevity, of two the shorter.

    Raises:
        ValueError: without references.
    """
    if not references:
        raise ValueError("references are empty; pass at least one text to compare with")
    return _bleu(
        _counts(tokens), len(tokens), [_counts(one) for one in references], list(map(len, references))
    )


def self_bleu(texts: Sequence[Tokens]) -> float:
    """The mean BLEU of each text with all others as its references (Zhu et al. 2018, "Texygen"), 0 to 100.

    Raises:
        ValueError: for fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"texts hold {len(texts)}; self-BLEU compares at least two")
    counts, lengths = [_counts(one) for one in texts], list(map(len, texts))
    scores = [
        _bleu(counts[i], lengths[i], counts[:i] + counts[i + 1 :], lengths[:i] + lengths[i + 1 :])
        for i in range(len(texts))
    ]
    return float(np.mean(scores))


def _counts(tokens: Tokens) -> list[Counter[tuple[Hashable, ...]]]:
    """Of n-grams, by their order."""
    return [Counter(ngrams(tokens, n)) for n in range(1, ORDER + 1)]


def _bleu(
    own: Sequence[Counter], length: int, others: Sequence[Sequence[Counter]], lengths: Sequence[int]
) -> float:
    logarithms, smoothing, any_found = [], 1.0, False
    for n, counts in enumerate(own):
        total = counts.total()
        if not total:
            break
        found = sum(min(count, max(other[n][one] for other in others)) for one, count in counts.items())
        any_found |= bool(found)
        if not found:
            smoothing *= 2
        logarithms.append(math.log((found or 1 / smoothing) / total))
    if not any_found:
        return 0.0
    nearest = min(lengths, key=lambda other: (abs(other - length), other))
    brevity = min(0.0, 1 - nearest / length)
    return 100 * math.exp(brevity + sum(logarithms) / len(logarithms))
