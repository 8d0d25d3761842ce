"""Candidates of one race and the tree over them: their laws, and how often one is accepted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.methods import SEEDS, TREE_P, TREE_Q, spread
from tests.helpers.support import ALPHA, P, Q, assert_within, chi_square_p, pairs
from tradeoff.kernels import JointRaceTree, OneRaceTree
from tradeoff.kernels.race_tree import one_race_candidates, one_race_tree
from tradeoff.kernels.randomness import SimulatedRandomness


def tree_efficiency(p: np.ndarray, q: np.ndarray, width: int) -> float:
    """Exact acceptance probability of a tree, by recursion over the order of the candidates."""
    if width == 0 or q.sum() == 0:
        return 0.0
    q = q / q.sum()
    total = 0.0
    rest = np.maximum(p - q, 0)
    for j in np.flatnonzero(q > 0):
        a = min(1.0, p[j] / q[j])
        below = tree_efficiency(rest / rest.sum(), np.where(np.arange(len(q)) == j, 0, q), width - 1)
        total += q[j] * (a + (1 - a) * below)
    return total


@pytest.mark.parametrize("joint", [False, True], ids=["one race", "joint race"])
@pytest.mark.parametrize(("width", "reference"), [(1, 0.610), (2, 0.863), (3, 0.928)])
def test_tree_accepts_as_often_as_it_must(width: int, reference: float, joint: bool) -> None:
    rng, accepted = np.random.default_rng(11), 0
    counts = np.zeros(5)
    for _ in range(4):
        race = rng.standard_exponential((SEEDS // 4, 5))
        rank, token = one_race_tree(
            spread(TREE_P, SEEDS // 4), spread(TREE_Q, SEEDS // 4), race, width, joint=joint
        )
        candidates = one_race_candidates(spread(TREE_Q, SEEDS // 4), race, width)
        won = rank < width
        chosen = np.take_along_axis(candidates, np.minimum(rank, width - 1)[:, None], axis=1)[:, 0]
        assert (token[won] == chosen[won]).all()
        accepted += int(won.sum())
        counts += np.bincount(token, minlength=5)
    rate = accepted / SEEDS
    error = math.sqrt(rate * (1 - rate) / SEEDS)
    assert abs(rate - reference) < 4 * error + 0.0005  # the reference is rounded to three digits
    assert_within(rate, tree_efficiency(TREE_P, TREE_Q, width), error)
    assert chi_square_p(counts, SEEDS * TREE_P) > ALPHA


def test_candidates_are_a_sample_without_replacement() -> None:
    """Law of ordered pairs: Q_i Q_j / (1 - Q_i)."""
    race = np.random.default_rng(12).standard_exponential((SEEDS, 5))
    first, second = one_race_candidates(spread(TREE_Q, SEEDS), race, 2).T
    law = np.outer(1 / (1 - TREE_Q), np.ones(5)) * np.outer(TREE_Q, TREE_Q)
    np.fill_diagonal(law, 0)
    assert chi_square_p(np.bincount(5 * first + second, minlength=25), SEEDS * law.ravel()) > ALPHA


@given(pair=pairs(), width=st.integers(1, 5), seed=st.integers(0, 2**32), joint=st.booleans())
def test_tree_survives_drafts_with_fewer_tokens_than_candidates(
    pair: tuple[np.ndarray, np.ndarray], width: int, seed: int, joint: bool
) -> None:
    p, q = pair
    race = np.random.default_rng(seed).standard_exponential((200, len(p)))
    rank, token = one_race_tree(spread(p, 200), spread(q, 200), race, width, joint=joint)
    available = int((q > 0).sum())
    assert ((rank == width) | (rank < available)).all()
    assert (p[token] > 0).all()
    candidates = one_race_candidates(spread(q, 200), race, width)
    assert (q[candidates] > 0).all()
    for row in candidates[:, : min(available, width)]:
        assert len(set(row)) == len(row)


@pytest.mark.parametrize("joint", [False, True], ids=["one race", "joint race"])
def test_wide_tree_on_a_narrow_draft_stays_unbiased(joint: bool) -> None:
    q = np.array([0.6, 0.4, 0, 0, 0])
    race = np.random.default_rng(13).standard_exponential((SEEDS // 4, 5))
    _, token = one_race_tree(spread(TREE_P, len(race)), spread(q, len(race)), race, 4, joint=joint)
    assert chi_square_p(np.bincount(token, minlength=5), len(race) * TREE_P) > ALPHA


@pytest.mark.parametrize("method", [OneRaceTree(width=3), JointRaceTree(width=3), JointRaceTree(width=1)])
def test_replacement_of_a_tree_tests_the_other_candidates(method: OneRaceTree | JointRaceTree) -> None:
    """As a kernel of one draft token the tree agrees with the whole tree of that level."""
    seeds = 50_000
    randomness = SimulatedRandomness(np.random.default_rng(14), (seeds,), len(P))
    p, q = spread(P, seeds), spread(Q, seeds)
    draft = method.draft(q, randomness)
    verdict = method(p, q, draft, randomness)
    rank, token = method.choose(p, q, randomness)
    np.testing.assert_array_equal(verdict.token, token)
    np.testing.assert_array_equal(verdict.accepted, rank == 0)
    np.testing.assert_array_equal(method.candidates(q, randomness)[:, 0], draft)
