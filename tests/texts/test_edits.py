"""Edits: how many tokens they touch, and that they touch nothing else."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.helpers.support import ALPHA, chi_square_p
from tradeoff.texts.edits import delete, insert, paste_into, substitute, truncate

#: Original tokens are all different and below 1,000; others lie above.
OTHERS = np.arange(1_000, 1_030)
HUMAN = np.arange(2_000, 2_200)
EDITS = {
    "substitute": lambda tokens, share, rng: substitute(tokens, share, OTHERS, rng),
    "insert": lambda tokens, share, rng: insert(tokens, share, OTHERS, rng),
    "delete": delete,
    "truncate": lambda tokens, share, rng: truncate(tokens, share),
    "paste": lambda tokens, share, rng: paste_into(tokens, share, HUMAN, rng),
}
each = pytest.mark.parametrize("name", EDITS)
lengths, hundredths, seeds = st.integers(0, 200), st.integers(0, 100), st.integers(0, 99)


@each
@given(n=lengths, percent=hundredths, seed=seeds)
@example(n=100, percent=29, seed=0)  # 0.29 * 100 rounds to below 29
def test_as_many_tokens_as_the_share_says(name, n, percent, seed):
    """floor(share n), counted in whole numbers."""
    tokens = np.random.default_rng(seed).permutation(n)
    before = tokens.copy()
    edited = EDITS[name](tokens, percent / 100, np.random.default_rng(seed))
    np.testing.assert_array_equal(tokens, before)
    touched = int(Fraction(percent, 100) * n)
    kept = edited[edited < 1_000]
    length = {"insert": n + touched, "delete": n - touched, "truncate": n - touched}.get(name, n)
    assert len(edited) == length
    assert np.issubdtype(edited.dtype, np.integer)
    assert len(kept) == (n if name == "insert" else n - touched)
    # What is kept of the text keeps its order.
    places = {int(token): place for place, token in enumerate(before)}
    order = [places[int(token)] for token in kept]
    assert order == sorted(set(order))
    assert set(edited[edited >= 1_000]) <= set(HUMAN if name == "paste" else OTHERS)


@each
def test_the_same_generator_gives_the_same_text(name):
    tokens = np.arange(100)
    first, again, other = (EDITS[name](tokens, 0.4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (name == "truncate") == np.array_equal(first, other)


@each
def test_nothing_at_share_0(name):
    tokens = np.arange(50)
    np.testing.assert_array_equal(EDITS[name](tokens, 0.0, np.random.default_rng(1)), tokens)


@each
def test_everything_at_share_1(name):
    edited = EDITS[name](np.arange(50), 1.0, np.random.default_rng(1))
    assert (edited < 1_000).sum() == (50 if name == "insert" else 0)
    assert len(edited) == {"insert": 100, "delete": 0, "truncate": 0}.get(name, 50)


@each
@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_bad_shares_are_refused(name, share):
    with pytest.raises(ValueError, match="share"):
        EDITS[name](np.arange(50), share, np.random.default_rng(1))


@given(n=lengths, percent=hundredths, seed=seeds)
def test_substitutes_stay_in_place(n, percent, seed):
    tokens = np.arange(n)
    edited = substitute(tokens, percent / 100, OTHERS, np.random.default_rng(seed))
    assert ((edited == tokens) | (edited >= 1_000)).all()


@given(n=lengths, percent=hundredths, seed=seeds)
def test_deleted_and_kept_tokens_make_up_the_text(n, percent, seed):
    """Tokens that repeat are deleted as often as they are missing."""
    tokens = np.arange(n) % 7
    kept = Counter(delete(tokens, percent / 100, np.random.default_rng(seed)).tolist())
    assert kept <= Counter(tokens.tolist())


@given(n=lengths, percent=hundredths)
def test_truncated_text_is_the_beginning(n, percent):
    kept = truncate(np.arange(n), percent / 100)
    assert kept.tolist() == list(range(len(kept)))


@given(n=lengths, percent=hundredths, seed=seeds)
def test_pasted_text_is_one_piece_in_a_human_one(n, percent, seed):
    """The first tokens of the text, together; around them the first of the human text, in order."""
    edited = paste_into(np.arange(n), percent / 100, HUMAN, np.random.default_rng(seed))
    mine = np.flatnonzero(edited < 1_000)
    assert edited[mine].tolist() == list(range(len(mine)))
    assert not len(mine) or mine[-1] - mine[0] == len(mine) - 1
    around = edited[edited >= 1_000]
    assert around.tolist() == HUMAN[: len(around)].tolist()


def test_a_human_text_must_be_long_enough():
    assert len(paste_into(np.arange(400), 0.5, HUMAN, np.random.default_rng(1))) == 400
    with pytest.raises(ValueError, match="200 tokens, 201 are needed"):
        paste_into(np.arange(402), 0.5, HUMAN, np.random.default_rng(1))


@pytest.mark.parametrize("name", ["substitute", "insert", "delete"])
def test_positions_are_uniform(name):
    """Every position is touched as often as every other."""
    counts, rng = np.zeros(20), np.random.default_rng(3)
    for _ in range(2_000):
        edited = EDITS[name](np.arange(20), 0.05, rng)
        if name == "delete":
            counts[np.setdiff1d(np.arange(20), edited)] += 1
        else:
            counts[np.flatnonzero(edited >= 1_000)] += 1
    assert chi_square_p(counts, np.full(20, 100.0)) > ALPHA


@pytest.mark.parametrize("name", ["substitute", "insert"])
def test_new_words_are_as_frequent_as_in_the_list(name):
    """A word that the list holds three times is drawn three times as often."""
    words = np.array([1_001, 1_002, 1_002, 1_002])
    edit = {"substitute": substitute, "insert": insert}[name]
    edited = edit(np.zeros(20_000, dtype=int), 1.0, words, np.random.default_rng(4))
    counts = np.array([(edited == 1_001).sum(), (edited == 1_002).sum()])
    assert counts.sum() == 20_000
    assert chi_square_p(counts, np.array([5_000, 15_000])) > ALPHA


def test_pasting_cuts_the_human_text_anywhere():
    """Before, in every gap, and after: floor(share n) + 1 places, evenly."""
    rng, counts = np.random.default_rng(5), np.zeros(6)
    for _ in range(3_000):
        counts[np.flatnonzero(paste_into(np.arange(10), 0.5, HUMAN, rng) == 0)[0]] += 1
    assert chi_square_p(counts, np.full(6, 500.0)) > ALPHA
