"""Agreement with known answers: SQuAD's normalising and F1 by hand, ROUGE-L against all subsequences."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_repro.quality.answers import exact, normalised_words, right, rouge_l, token_f1
from tradeoff.texts import builtin_answers

WORDS = st.lists(st.sampled_from("bcd"), max_size=6)


def test_normalising_as_squad_does() -> None:
    assert normalised_words("The  Cat,\nan apple & A_dog!") == ["cat", "apple", "adog"]


@pytest.mark.parametrize(
    ("text", "is_right", "is_exact"),
    [
        ("Paris.", True, True),
        ("the PARIS", True, True),
        ("The capital of France is Paris.", True, False),
        ("Parisian", False, False),
        ("", False, False),
        ("New York City", True, False),
        ("York, New", False, False),
    ],
)
def test_what_is_right(text: str, is_right: bool, is_exact: bool) -> None:
    answers = ("Paris", "New York")
    assert right(text, answers) is is_right
    assert exact(text, answers) is is_exact


def test_f1_by_hand() -> None:
    """Three words with one of the answer's two: precision 1/3, recall 1/2; of two answers the better."""
    assert token_f1("it is Rome", ["Rome Italy"]) == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert token_f1("it is Rome", ["Rome Italy", "it is Rome"]) == 1
    assert token_f1("Oslo", ["Rome"]) == 0
    # A word counts as often as both have it.
    assert token_f1("ho ho ho", ["ho"]) == pytest.approx(2 * (1 / 3) / (1 / 3 + 1))


@given(WORDS, WORDS)
def test_rouge_l_is_that_of_all_subsequences(first: list[str], second: list[str]) -> None:
    def subsequences(words: list[str]) -> set[tuple[str, ...]]:
        return {one for size in range(len(words) + 1) for one in combinations(words, size)}

    longest = max(map(len, subsequences(first) & subsequences(second)))
    expected = 2 * longest / (len(first) + len(second)) if first or second else 1
    assert rouge_l(" ".join(first), [" ".join(second)]) == pytest.approx(expected)
    # Words in another order are as many, so F1 is never less.
    assert token_f1(" ".join(first), [" ".join(second)]) >= expected - 1e-12


def test_the_built_in_questions() -> None:
    """Of different words, and each with answers that their own normalising leaves something of."""
    found = builtin_answers()
    assert len(found) == 40
    assert len({name for name, _, _ in found}) == len({prompt for _, prompt, _ in found}) == 40
    for _, prompt, answers in found:
        assert prompt.endswith(("Answer in one word.", "Answer in a few words."))
        assert answers
        assert all(normalised_words(answer) and exact(answer, answers) for answer in answers)
        # A text that only says the question again is not right.
        assert not right(prompt.partition("?")[0], answers)
