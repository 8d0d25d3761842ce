"""E-values: valid by exact enumeration, as good as their formulas, and no valid one is better."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from tests.helpers.support import distributions
from tradeoff.anchored import programme
from tradeoff.anchored.coupling import maximal_coupling
from tradeoff.anchored.e_values import (
    anchored_growth,
    growth_at,
    hedged_growth,
    log_anchored,
    log_anchored_matrix,
    log_hedged,
    plug_in_eps,
    worst_case_eps,
)
from tradeoff.anchored.programme import ball_vertices, best_e_value, worst_case
from tradeoff.errors import DistributionError, SolverError
from tradeoff.laws import entropy, total_variation

#: J* at delta = 0.01 and 0.1, computed independently of this library from the max-min programme.
J_STAR = {
    (0.5, 0.5): (0.6616681, 0.4946319),
    (0.7, 0.3): (0.5793852, 0.4123491),
    (0.9, 0.1): (0.2936039, 0.1265677),
    (0.5, 0.3, 0.2): (0.9947082, 0.7964804),
    (0.4, 0.3, 0.2, 0.1): (1.2428821, 1.0264084),
}
CASES = [
    (p0, delta, value) for p0, row in J_STAR.items() for delta, value in zip((0.01, 0.1), row, strict=True)
]
#: Anchors with all tokens possible, up to 8 of them.
full_anchors = st.integers(2, 8).flatmap(lambda n: distributions(n=n, zeros=False))
open_shares = st.floats(1e-6, 1 - 1e-6)


# Validity.


@given(full_anchors, open_shares)
def test_mean_over_seeds_is_one_for_every_token(p0, eps):
    e = np.exp(log_anchored_matrix(p0, eps))
    assert e @ p0 == pytest.approx(np.ones(len(p0)), abs=1e-12)


@given(st.integers(2, 8).flatmap(lambda n: distributions(n=n)), open_shares)
def test_impossible_seeds_make_it_smaller(p0, eps):
    seen = p0 > 0
    e = np.exp(log_anchored_matrix(p0, eps)[:, seen])
    assert (e @ p0[seen] <= 1 + 1e-12).all()
    hedged = np.exp(log_hedged(p0[seen], np.eye(len(p0), dtype=bool)[:, seen], eps))
    assert hedged @ p0[seen] == pytest.approx((1 - eps) * seen + eps, abs=1e-12)


@given(st.integers(2, 8).flatmap(lambda n: distributions(n=n, zeros=False)), st.floats(0.01, 0.99))
def test_of_a_truncated_anchor_the_tokens_left_are_enough(p0, share):
    """Mean 1 for every token that is left, and at most 1 for those cut off."""
    n = len(p0)
    eps = share * (1 - 1 / n)
    left = np.exp(log_anchored(p0, np.eye(n, dtype=bool), n, eps))
    assert left @ p0 == pytest.approx(np.ones(n), abs=1e-12)
    cut = np.exp(log_anchored(p0, np.zeros(n, dtype=bool), n, eps))
    assert float(cut @ p0) == pytest.approx(eps * n / (n - 1), abs=1e-12)
    assert float(cut @ p0) <= 1


@given(full_anchors, open_shares)
def test_the_two_forms_agree(p0, eps):
    n = len(p0)
    assert np.allclose(
        log_anchored(p0, np.eye(n, dtype=bool), n, eps), log_anchored_matrix(p0, eps), atol=1e-12
    )


def test_an_array_of_anchors_and_of_eps():
    p0 = np.random.default_rng(0).dirichlet(np.ones(5), size=(3, 2))
    matrix = log_anchored_matrix(p0, 0.1)
    assert matrix.shape == (3, 2, 5, 5)
    assert np.array_equal(matrix[1, 1], log_anchored_matrix(p0[1, 1], 0.1))
    eps = np.array([0.1, 0.2, 0.3])
    several = log_anchored(p0[0, :, :1], np.array([[True], [False]]), 5, eps)
    assert several.shape == (2, 3)
    assert several[1, 2] == pytest.approx(math.log(0.3 / 4 / p0[0, 1, 0]))


def test_values_by_hand():
    assert log_anchored(0.5, True, 2, 0.05) == pytest.approx(math.log(1.9))
    assert log_anchored(0.5, False, 2, 0.05) == pytest.approx(math.log(0.1))
    assert log_anchored(0.25, False, 3, 0.1) == pytest.approx(math.log(0.2))
    assert log_hedged(0.25, True, 0.2) == pytest.approx(math.log(3.4))
    assert log_hedged(0.25, False, 0.2) == pytest.approx(math.log(0.2))


# Growth.


@pytest.mark.parametrize(("p0", "delta", "value"), CASES)
def test_j_star_is_the_value_of_the_game(p0, delta, value):
    best = best_e_value(p0, delta)
    assert best.status == "optimal"
    assert float(anchored_growth(p0, delta)) == pytest.approx(value, abs=1e-7)
    assert best.value == pytest.approx(value, abs=1e-6)
    assert worst_case(best.e, p0, delta).valid_growth == pytest.approx(value, abs=1e-6)
    assert worst_case(np.exp(log_anchored_matrix(p0, delta / 2)), p0, delta) == pytest.approx(
        (value, 1.0), abs=1e-7
    )


def test_a_worst_case_that_is_not_valid_is_scaled():
    e = 2 * np.exp(log_anchored_matrix([0.7, 0.3], 0.05))
    found = worst_case(e, [0.7, 0.3], 0.1)
    assert found.null_mean == pytest.approx(2, abs=1e-12)
    assert found.growth == pytest.approx(0.4123491 + math.log(2), abs=1e-7)
    assert found.valid_growth == pytest.approx(0.4123491, abs=1e-7)
    assert worst_case(np.zeros((2, 2)), [0.7, 0.3], 0.1) == (-math.inf, 0.0)


def test_j_star_of_many_anchors_at_once():
    p0 = np.array([[0.5, 0.5], [0.7, 0.3], [0.9, 0.1]])
    assert anchored_growth(p0, 0.1) == pytest.approx([J_STAR[tuple(row)][1] for row in p0.tolist()], abs=1e-7)


@given(full_anchors, open_shares, st.data())
def test_growth_is_the_mean_under_the_maximal_coupling(p0, eps, data):
    q = data.draw(distributions(n=len(p0)))
    w = maximal_coupling(q, p0)
    assert w.sum(axis=0) == pytest.approx(p0, abs=1e-12)
    assert w.sum(axis=1) == pytest.approx(q, abs=1e-12)
    tv = min(float(total_variation(q, p0)), 1.0)
    assert np.trace(w) == pytest.approx(1 - tv, abs=1e-12)
    mean = float((w * log_anchored_matrix(p0, eps)).sum())
    assert float(growth_at(p0, eps, tv)) == pytest.approx(mean, abs=1e-9)
    hedged = log_hedged(p0, np.eye(len(p0), dtype=bool), eps)
    assert float(hedged_growth(p0, q, eps)) == pytest.approx(float((w * hedged).sum()), abs=1e-9)


@given(full_anchors, st.floats(0, 1), open_shares)
def test_no_eps_is_better_than_the_tv_itself(p0, tv, eps):
    best = float(growth_at(p0, tv, tv))
    assert float(growth_at(p0, eps, tv)) <= best + 1e-12
    h = 0.0 if tv in (0, 1) else -tv * math.log(tv) - (1 - tv) * math.log(1 - tv)
    assert best == pytest.approx(float(entropy(p0)) - h - tv * math.log(len(p0) - 1), abs=1e-9)


def test_growth_at_the_least_number_there_is():
    """Next to no target differs so little: e* reaches the entropy of the anchor."""
    least = math.nextafter(0, 1)
    assert float(growth_at(np.full(4, 0.25), least, least)) == pytest.approx(math.log(4), rel=1e-12)


def test_growth_at_the_ends():
    p0 = [0.7, 0.3]
    assert float(growth_at(p0, 0, 0)) == pytest.approx(float(entropy(np.array(p0))))
    assert growth_at(p0, 0, 0.1) == -np.inf
    assert growth_at(p0, 1, 0.1) == -np.inf
    assert np.isfinite(growth_at(p0, 1, 1))
    assert growth_at(p0, 0.1, [0.0, 0.1, 0.2]) == pytest.approx(
        [float(growth_at(p0, 0.1, t)) for t in (0, 0.1, 0.2)]
    )


def test_plug_in_eps_is_close_to_the_best_eps_in_hindsight():
    """Krichevsky and Trofimov's regret, log(2 sqrt(T)), on the worst texts and random ones."""
    tokens, n, mass = 300, 7, 0.2
    rng = np.random.default_rng(3)
    texts = [np.arange(tokens) < k for k in (0, 1, 150, 299, 300)] + [
        rng.random(tokens) < r for r in (0.1, 0.4)
    ]
    for mismatch in texts:
        before = np.cumsum(mismatch) - mismatch
        learnt = log_anchored(mass, ~mismatch, n, plug_in_eps(before, np.arange(tokens))).sum()
        share = mismatch.mean()
        best = log_anchored(mass, ~mismatch, n, np.clip(share, 1e-12, 1 - 1e-12)).sum()
        assert -1e-9 <= best - learnt <= math.log(2 * math.sqrt(tokens))


def test_a_hedge_grows_where_a_vocabulary_ruins_e_star():
    """Zipf's law with exponent 2 over 32,000 tokens, TV = 0.15 moved from its top to its bottom."""
    p0 = np.arange(1, 32_001) ** -2.0
    p0 /= p0.sum()
    q = p0.copy()
    q[0] -= 0.15
    q[1000] += 0.15
    assert float(growth_at(p0, 0.15, 0.15)) == pytest.approx(-0.342, abs=5e-4)
    assert float(hedged_growth(p0, q, 0.15)) > 1


# The programme.


@given(st.integers(2, 5).flatmap(lambda n: distributions(n=n, zeros=False)), st.floats(0.01, 0.9))
def test_vertices_are_extreme_targets(p0, share):
    eps = share * (1 - p0.max())
    for q in ball_vertices(p0, eps):
        assert q.min() >= 0
        assert q.sum() == pytest.approx(1, abs=1e-12)
        assert float(total_variation(q, p0)) == pytest.approx(eps, abs=1e-12)
        # One token gains; at most one loses without being emptied.
        assert (q > p0).sum() == 1
        assert ((q < p0) & (q > 1e-15)).sum() <= 1


def test_vertices_of_a_ball_inside_the_simplex():
    p0, eps = np.array([0.5, 0.3, 0.2]), 0.05
    wanted = {(i, j) for i in range(3) for j in range(3) if i != j}
    found = {(int(np.argmax(q - p0)), int(np.argmin(q - p0))) for q in ball_vertices(p0, eps)}
    assert found == wanted
    assert len(ball_vertices(p0, eps)) == 6


@given(st.integers(2, 4).flatmap(lambda n: distributions(n=n, zeros=False)), st.floats(0.02, 0.5))
@settings(max_examples=15)
def test_vertices_hold_the_worst_target(p0, share):
    """No target of the ball has a larger null mean, nor, under its maximal coupling, less growth of e*."""
    eps = share * (1 - 1 / len(p0))
    rng = np.random.default_rng(0)
    e = rng.random((len(p0), len(p0)))
    most = max(float(q @ e @ p0) for q in ball_vertices(p0, eps))
    for q in rng.dirichlet(np.ones(len(p0)), size=50):
        tv = float(total_variation(q, p0))
        inside = p0 + min(1.0, eps / tv) * (q - p0)
        assert float(inside @ e @ p0) <= most + 1e-12


@pytest.mark.parametrize("p0", [(0.6, 0.3, 0.08, 0.02), (0.9, 0.1), (0.97, 0.01, 0.02)])
def test_where_the_ball_leaves_the_simplex_more_than_j_star_can_be_had(p0):
    delta = 0.5 if len(p0) == 2 else 0.2
    best = best_e_value(p0, delta)
    assert best.value > float(anchored_growth(p0, delta)) + 1e-3
    assert worst_case(best.e, p0, delta).valid_growth == pytest.approx(best.value, abs=1e-6)


def test_objective_by_iteration_rises_to_j_star():
    """The first values for p = 0.5, delta = 0.01; the last iteration is the optimum."""
    values = [best_e_value([0.5, 0.5], 0.01, max_iter=k) for k in range(1, 31)]
    assert [round(v.value, 3) for v in values[:5]] == pytest.approx(
        [-1.196, 0.228, 0.498, 0.617, 0.650], abs=2e-3
    )
    assert values[0].status == "user_limit"
    assert values[0].iterations == 1
    assert values[-1].status == "optimal"
    assert values[-1].value == pytest.approx(0.6616681, abs=1e-6)
    assert (np.diff([v.value for v in values]) > -1e-6).all()


def information(w):
    """I(V; S), as a sum over the joint law."""
    apart = np.outer(w.sum(axis=1), w.sum(axis=0))
    return sum(p * math.log(p / q) for p, q in zip(w.ravel(), apart.ravel(), strict=True) if p > 0)


EXTREME = [
    anchor
    for least in (1e-2, 1e-3, 1e-4, 1e-6, 1e-7, 1e-9)
    for anchor in ([1 - least, least], [0.6 - least, 0.4, least], [1 - 2 * least, least, least])
]


@pytest.mark.parametrize("delta", [1e-9, 1e-8, 1e-6, 1e-4, 1e-2, 0.9])
@pytest.mark.parametrize("p0", EXTREME, ids=str)
def test_extreme_anchors_have_their_optimum(p0, delta):
    """J* where no probability is below eps, and more than e* and e = 1 have elsewhere; valid, and reached."""
    best = best_e_value(p0, delta)
    j_star = float(anchored_growth(p0, delta))
    assert best.status == "optimal"
    assert worst_case(best.e, p0, delta) == pytest.approx((best.value, 1.0), abs=1e-12)
    assert best.value >= max(j_star, 0.0) - 1e-15
    if min(p0) >= delta / 2:
        assert best.value == pytest.approx(j_star, abs=1e-12)
    # However a target of the ball is drawn, nobody wins more than V tells of S.
    rng = np.random.default_rng(0)
    vertices = maximal_coupling(ball_vertices(np.array(p0), delta / 2), np.array(p0))
    for shares in [*np.eye(len(vertices)), *rng.dirichlet(np.ones(len(vertices)), 20)]:
        assert best.value <= information(np.tensordot(shares, vertices, 1)) + 1e-12


@pytest.mark.parametrize("delta", [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.1, 0.9])
@pytest.mark.parametrize("least", [1e-2, 1e-4, 1e-6, 1e-7, 1e-9])
def test_two_tokens_by_the_least_information(least, delta):
    """The value of the game is the least I(V; S) that a mixture of the two vertices has."""
    p0 = np.array([1 - least, least])
    one, other = maximal_coupling(ball_vertices(p0, delta / 2), p0)
    found = optimize.minimize_scalar(
        lambda share: information(share * one + (1 - share) * other), bounds=(0, 1), options={"xatol": 1e-12}
    )
    ends = min(information(one), information(other))
    assert best_e_value(p0, delta).value == pytest.approx(min(found.fun, ends), abs=1e-6)


def test_nothing_can_be_won_where_the_target_may_be_one_token():
    """The point mass lies in the ball: its token tells nothing of the seed."""
    p0 = np.array([1 - 5e-6] + [1e-6] * 5)
    for delta in (1e-4, 1e-2, 0.1):
        best = best_e_value(p0, delta)
        assert best.value == pytest.approx(0.0, abs=1e-15)
        assert worst_case(best.e, p0, delta) == pytest.approx((0.0, 1.0), abs=1e-12)


def test_a_stopped_solver_is_believed_only_with_a_proof():
    """Its value stays what it reached: less than J* = 1.47e-5 of an extreme anchor, and so not optimal."""
    stopped = best_e_value([0.999999, 1e-6], 1e-8, max_iter=1000)
    assert stopped.value < float(anchored_growth([0.999999, 1e-6], 1e-8)) - 1e-6
    assert stopped.status == "optimal_inaccurate"


def test_a_solver_that_is_wrong_is_not_believed(monkeypatch):
    """It says "optimal", and its multipliers do not prove it."""
    wrong = programme._Attempt("optimal", 9, 0.0, np.ones((2, 2)))
    monkeypatch.setattr(programme, "_solve", lambda *_: wrong)
    with pytest.raises(
        SolverError, match=r"n = 2, delta = 0\.1: .*nats from a proof; use an anchor with less"
    ):
        best_e_value([0.5, 0.5], 0.1)


@pytest.mark.parametrize("least", [1e-310, 1e-200, 5e-324])
def test_anchors_beyond_the_digits_of_a_solver_are_refused(least):
    with pytest.raises(SolverError, match="where no solver keeps its digits"):
        best_e_value([0.5, 0.5 - least, least], 0.1)


def test_a_solver_that_fails_is_not_silent(monkeypatch):
    import cvxpy as cp

    monkeypatch.setattr(cp.Problem, "status", property(lambda self: "solver_error"))
    with pytest.raises(SolverError, match=r"n = 2, delta = 0\.1: CLARABEL stopped with status solver_error"):
        best_e_value([0.5, 0.5], 0.1)


# Bad input.


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: log_anchored(0.0, True, 2, 0.1),
            ValueError,
            r"p0_at_seed=0 must be in \(0, 1\]: pass the law",
        ),
        (lambda: log_anchored([0.5, 1.5], True, 2, 0.1), ValueError, "p0_at_seed=1.5"),
        (lambda: log_anchored(math.nan, True, 2, 0.1), ValueError, "p0_at_seed=nan"),
        (lambda: log_anchored(0.5, 1, 2, 0.1), ValueError, "matches hold int64 values; pass booleans"),
        (lambda: log_anchored(0.5, True, 1, 0.1), ValueError, "n=1 must be a whole number of at least 2"),
        (lambda: log_anchored(0.5, True, 2.0, 0.1), ValueError, "n=2.0 must be"),
        (lambda: log_anchored(0.5, True, 2, 0.0), ValueError, r"eps=0 must be inside \(0, 1\)"),
        (lambda: log_hedged(0.5, True, [0.5, 1.0]), ValueError, "eps=1 must be inside"),
        (lambda: log_anchored_matrix([0.5, 0.6], 0.1), DistributionError, "p0 sums to 1.1"),
        (lambda: log_anchored_matrix([1.0], 0.1), ValueError, "n=1"),
        (lambda: anchored_growth([0.5, 0.5], 1.0), ValueError, r"delta=1.0 must be in \(0, 1\) for n = 2"),
        (lambda: anchored_growth([0.5, 0.5], 0.0), ValueError, "delta=0.0"),
        (lambda: worst_case_eps(math.nan, 3), ValueError, "delta=nan"),
        (lambda: growth_at([0.5, 0.5], 0.1, 1.2), ValueError, "tv=1.2 must be a total variation"),
        (lambda: growth_at([0.5, 0.5], -0.1, 0.2), ValueError, "eps=-0.1"),
        (
            lambda: hedged_growth([0.5, 0.5], [0.2, 0.3, 0.5], 0.1),
            DistributionError,
            "p0 has 2 tokens and q has 3",
        ),
        (lambda: plug_in_eps(3, 2), ValueError, "mismatches=3 must be between 0 and tokens=2"),
        (lambda: best_e_value([[0.5, 0.5]], 0.1), DistributionError, "one anchor of 2 to 8 tokens"),
        (lambda: best_e_value(np.full(9, 1 / 9), 0.1), DistributionError, r"p0 has shape \(9,\)"),
        (lambda: best_e_value([0.5, 0.5, 0.0], 0.1), DistributionError, r"p0\[2\] = 0: .* drop tokens"),
        (lambda: best_e_value([0.5, 0.5], 1.5), ValueError, "delta=1.5"),
        (lambda: best_e_value([0.5, 0.5], 0.1, max_iter=0), ValueError, "max_iter=0 must be at least 1"),
        (
            lambda: worst_case(np.ones((2, 3)), [0.5, 0.5], 0.1),
            ValueError,
            r"\(2, 3\) must be \[n, n\] = \(2, 2\)",
        ),
        (lambda: worst_case(-np.ones((2, 2)), [0.5, 0.5], 0.1), ValueError, "numbers >= 0"),
    ],
)
def test_bad_input_is_named_with_a_remedy(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_importing_needs_neither_a_solver_nor_torch():
    code = (
        "import sys, tradeoff.anchored.e_values, tradeoff.anchored.supermartingales; "
        "import tradeoff.anchored.buckets, tradeoff.anchored.programme; "
        "assert not {'cvxpy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
