"""Repetition and likeness: by hand, under changes that must not matter, and against sacrebleu."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from paper_repro.quality.measures import (
    bleu,
    distinct,
    distinct_together,
    longest_repeat,
    ngrams,
    repeated,
    self_bleu,
)

#: Few different ids, so that n-grams return.
TEXTS = st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=20), min_size=2, max_size=5)


def test_ngrams_by_hand() -> None:
    assert ngrams("abca", 2) == [("a", "b"), ("b", "c"), ("c", "a")]
    assert ngrams("ab", 3) == []
    with pytest.raises(ValueError, match="n=0 must be at least 1"):
        ngrams("ab", 0)


def test_distinct_by_hand() -> None:
    """Of a b a b a: 2 of 5 tokens, 2 of 4 pairs (ab, ba), 2 of 3 triples."""
    assert [distinct("ababa", n) for n in (1, 2, 3)] == [2 / 5, 2 / 4, 2 / 3]
    # The pairs ab, bc and ab, bd: of four, three differ; none goes from one text to the next.
    assert distinct_together(["abc", "abd"], 2) == 3 / 4
    with pytest.raises(ValueError, match="n=3 is more than the 2 tokens of the longest text"):
        distinct("ab", 3)


def test_repetition_by_hand() -> None:
    """In abcde abcdf x abcde the 4-grams abcd and, twice, abcd and bcde return: 3 of 13."""
    text = "abcdeabcdfxabcde"
    assert len(text) - 3 == 13
    assert repeated(text) == pytest.approx(3 / 13)
    # The last five letters stand there a second time.
    assert longest_repeat(text) == 5
    assert longest_repeat("abcdefgh") == 0
    # In aaaaaa the second 4-gram is the first again, and so is the third: tokens 2 to 6.
    assert longest_repeat("aaaaaa") == 5


def test_bleu_by_hand() -> None:
    """a b c d e against a b c d x: 4/5, 3/4, 2/3 and 1/2 of the n-grams are found."""
    assert bleu("abcde", ["abcdx"]) == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert bleu("abcde", ["vwxyz", "abcde"]) == pytest.approx(100)
    assert bleu("abcde", ["vwxyz"]) == 0
    with pytest.raises(ValueError, match="references are empty"):
        bleu("abcde", [])
    with pytest.raises(ValueError, match="texts hold 1"):
        self_bleu(["abcde"])


@given(TEXTS)
def test_bleu_is_that_of_sacrebleu(texts: list[list[int]]) -> None:
    """Its score of a sentence, with words for ids and nothing tokenised, and of orders that there are."""
    judge = BLEU(tokenize="none", effective_order=True)
    words = [" ".join(f"w{i}" for i in ids) for ids in texts]
    scores = [judge.sentence_score(words[i], words[:i] + words[i + 1 :]).score for i in range(len(words))]
    for i, score in enumerate(scores):
        assert bleu(texts[i], texts[:i] + texts[i + 1 :]) == pytest.approx(score)
    assert self_bleu(texts) == pytest.approx(sum(scores) / len(scores))


@given(TEXTS, st.permutations(range(5)), st.randoms(use_true_random=False))
def test_names_of_tokens_and_the_order_of_texts_do_not_matter(texts, names, random) -> None:
    renamed = [[names[i] for i in ids] for ids in texts]
    random.shuffle(renamed)
    assert self_bleu(renamed) == pytest.approx(self_bleu(texts))
    for n in (1, 2, 3):
        assert distinct_together(renamed, n) == distinct_together(texts, n)
    for measure in (repeated, longest_repeat):
        assert sorted(map(measure, renamed)) == sorted(map(measure, texts))


@given(st.lists(st.integers(0, 4), min_size=4, max_size=30), st.integers(1, 4))
def test_bounds(ids: list[int], n: int) -> None:
    grams = len(ids) - n + 1
    assert 1 / grams <= distinct(ids, n) <= 1
    # What repeats longest repeats some 4-gram, and not all of the text.
    assert (longest_repeat(ids) > 0) == (repeated(ids) > 0)
    assert longest_repeat(ids) < len(ids)
    # Several copies of a text are like each other throughout, and have its n-grams only.
    assert self_bleu([ids, ids, ids]) == pytest.approx(100)
    assert distinct_together([ids, ids], n) == pytest.approx(distinct(ids, n) / 2)
