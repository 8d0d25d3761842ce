"""Scores of transport watermarks: distances of the code, standardised rows, and addressing by key."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.helpers.support import ALPHA, assert_within, chi_square_p
from tradeoff.decoders import SimplexScores
from tradeoff.optimal_transport.scores import SCORE_LAWS, RandomScores, seeded_table

TABLE = seeded_table(0)
FAMILIES = [SimplexScores(4), SimplexScores(3, 3), *(RandomScores(law, 64) for law in SCORE_LAWS)]


@pytest.mark.parametrize("r", [2, 3, 5, 7])
def test_every_two_words_of_the_simplex_code_differ_at_half_the_values(r):
    """At (k + 1)/2 of k: by Plotkin's bound the least distance of k binary words is at most that."""
    scores = SimplexScores(r)
    k = scores.k
    code = scores.rows(np.arange(k), TABLE)
    assert k == 2**r - 1
    assert set(np.unique(code)) == {0, 1}
    distance = (code[:, None] != code[None]).sum(axis=-1)
    assert (distance[~np.eye(k, dtype=bool)] == (k + 1) // 2).all()
    # Equal weights, and so a = b for every pair; the zero word is nobody's.
    assert (code.sum(axis=-1) == (k + 1) // 2).all()
    assert scores.mean == pytest.approx((k + 1) / (2 * k))


@pytest.mark.parametrize(("r", "q"), [(4, 2), (2, 3), (3, 3), (2, 5)])
def test_rows_have_equal_weights_and_the_mean_that_is_stated(r, q):
    scores = SimplexScores(r, q)
    code = scores.rows(np.arange(scores.k), TABLE)
    for value in range(q):
        # A non-zero linear form takes every value q^(r-1) times; the zero word, left out, has value 0.
        assert ((code == value).sum(axis=-1) == q ** (r - 1) - (value == 0)).all()
    assert code.mean(axis=-1) == pytest.approx(scores.mean)
    assert (code == code.T).all()
    # Two words that are no multiples of each other: their difference is a word too.
    same = (code[:, None] == code[None]).sum(axis=-1)
    assert (same[~np.eye(scores.k, dtype=bool)] == q ** (r - 1) - 1).all()


def test_bits_of_the_inner_product():
    """f(x, s) = <bits(x + 1), bits(s + 1)> mod 2, against Python's own arithmetic."""
    code = SimplexScores(5).rows(np.arange(31), TABLE)
    for x in range(31):
        for s in range(31):
            assert code[x, s] == ((x + 1) & (s + 1)).bit_count() % 2


def test_tokens_beyond_the_words_share_them_at_random():
    scores = SimplexScores(4)
    code, many = scores.rows(np.arange(15), TABLE), np.arange(15, 6_015)
    rows = scores.rows(many, TABLE)
    word = (rows[:, None] == code[None]).all(axis=-1)
    assert (word.sum(axis=-1) == 1).all()
    assert chi_square_p(word.sum(axis=0), np.full(15, 400.0)) > ALPHA
    # Under another key the pairs that collide are others.
    other = (scores.rows(many, seeded_table(1))[:, None] == code[None]).all(axis=-1)
    agree = (word & other).any(axis=-1)
    assert stats.binomtest(int(agree.sum()), len(many), 1 / 15).pvalue > ALPHA


def test_two_tokens_beyond_collide_once_in_k_keys():
    scores, tokens = SimplexScores(3), np.array([100, 200])
    together = sum((np.ptp(scores.rows(tokens, seeded_table(t)), axis=0) == 0).all() for t in range(2_000))
    assert stats.binomtest(int(together), 2_000, 1 / 7).pvalue > ALPHA


@pytest.mark.parametrize("law", SCORE_LAWS)
def test_rows_are_standardised_draws_of_their_law(law):
    rows = RandomScores(law, 4_096).rows(np.arange(5), TABLE)
    assert np.abs(rows.mean(axis=-1)).max() < 1e-12
    assert np.abs(rows.std(axis=-1) - 1).max() < 1e-12
    reference = {
        "lognormal": stats.lognorm(1),
        "gamma": stats.gamma(0.2),
        "gumbel": stats.gumbel_r(),
        "gaussian": stats.norm(),
    }[law]
    raw = SCORE_LAWS[law](TABLE.score_uniforms(np.arange(5), 4_096))
    mean, deviation = raw.mean(axis=-1, keepdims=True), raw.std(axis=-1, keepdims=True)
    assert np.abs(mean + deviation * rows - raw).max() < 1e-12
    assert stats.kstest(raw.ravel(), reference.cdf).pvalue > ALPHA


@pytest.mark.parametrize("scores", FAMILIES, ids=lambda scores: scores.name)
def test_a_row_depends_on_key_and_token_alone(scores):
    tokens = np.array([3, 70_000, 14])
    rows = scores.rows(tokens, TABLE)
    assert rows.shape == (3, scores.k)
    assert rows.dtype == np.float64
    assert np.array_equal(rows[::-1], scores.rows(tokens[::-1], seeded_table(0)))
    assert np.array_equal(rows[1:2], scores.rows(tokens[1:2], TABLE))
    others = [scores.rows(tokens, seeded_table(t)) for t in range(1, 9)]
    assert any(not np.array_equal(rows, other) for other in others)
    assert np.isfinite(rows).all()


def test_rows_of_different_tokens_are_independent():
    rows = RandomScores("gaussian", 1 << 14).rows(np.arange(6), TABLE)
    correlation = rows @ rows.T / rows.shape[1]
    for i in range(6):
        for j in range(i):
            assert_within(correlation[i, j], 0.0, rows.shape[1] ** -0.5)


def test_names_say_what_differs():
    assert [scores.name for scores in FAMILIES[:3]] == [
        "SimplexWater (r = 4)",
        "SimplexWater (r = 3, q = 3)",
        "HeavyWater (lognormal, k = 64)",
    ]
    assert len({scores.name for scores in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize(
    ("family", "arguments", "words"),
    [
        (SimplexScores, {"r": 3, "q": 4}, "q=4 must be a prime"),
        (SimplexScores, {"r": 3, "q": 1}, "q=1 must be a prime"),
        (SimplexScores, {"r": 1}, "r=1 must be a whole number with 2 to"),
        (SimplexScores, {"r": 21}, "r=21 must be"),
        (SimplexScores, {"r": 2.5}, "r=2.5 must be"),
        (RandomScores, {"law": "cauchy"}, "law='cauchy' is unknown; use one of lognormal"),
        (RandomScores, {"k": 1}, "k=1 must be a whole number from 2"),
        (RandomScores, {"k": 1 << 17}, "1024 is usual"),
    ],
)
def test_bad_arguments_are_named(family, arguments, words):
    with pytest.raises(ValueError, match=words):
        family(**arguments)
