"""Transport to uniform side information: couplings, optimality, regularisation, and what is reported."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from tests.helpers.support import distributions
from tradeoff.decoders import SimplexScores
from tradeoff.laws import entropy
from tradeoff.optimal_transport.scores import RandomScores, seeded_table
from tradeoff.optimal_transport.solvers import Exact, Sinkhorn, detection_gap, plan_strength

SOLVERS = [Exact(), Sinkhorn(), Sinkhorn(max_iterations=1), Sinkhorn(0.005, max_iterations=50)]


def programme(p: np.ndarray, scores: np.ndarray, side: np.ndarray | None = None) -> float:
    """max E_pi f by HiGHS, less E_{P x Unif} f where side information is uniform."""
    m, k = scores.shape
    rows, columns = np.kron(np.eye(m), np.ones(k)), np.kron(np.ones(m), np.eye(k))
    solution = linprog(
        -scores.ravel(),
        A_eq=np.concatenate([rows, columns]),
        b_eq=np.concatenate([p, np.full(k, 1 / k) if side is None else side]),
        method="highs-ds",
    )
    return -float(solution.fun) - (float(p @ scores.mean(axis=-1)) if side is None else 0.0)


@st.composite
def problems(draw) -> tuple[np.ndarray, np.ndarray]:
    """A law, with zeros or without, and scores: words or draws with a tail, ties included."""
    p = draw(distributions(max_n=6))
    k = draw(st.integers(2, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = rng.lognormal(size=(len(p), k))
    return p, np.floor(scores) % 2 if draw(st.booleans()) else scores


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{s.name}-{getattr(s, 'max_iterations', '')}")
@settings(max_examples=40)
@given(problem=problems())
def test_every_plan_is_a_coupling(solver, problem):
    """Whatever the solver left over: columns are laws, and their mean is P."""
    p, scores = problem
    laws = solver(p, scores).laws
    assert laws.shape == scores.shape
    assert laws.min() >= 0
    assert np.abs(laws.sum(axis=0) - 1).max() < 1e-12
    assert np.abs(laws.mean(axis=-1) - p).max() < 1e-12


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{s.name}-{getattr(s, 'max_iterations', '')}")
@settings(max_examples=40)
@given(problem=problems(), data=st.data())
def test_every_plan_for_other_laws_of_side_information_is_a_coupling(solver, problem, data):
    """Columns are laws, and their mean under the law of s is P, over 13 orders of magnitude of its masses."""
    p, scores = problem
    side = data.draw(distributions(n=scores.shape[-1], zeros=False))
    laws = solver(p, scores, side).laws
    assert laws.min() >= 0
    assert np.abs(laws.sum(axis=0) - 1).max() < 1e-12
    assert np.abs(laws @ side - p).max() < 1e-12


@settings(max_examples=40)
@given(problem=problems(), data=st.data())
def test_exact_is_the_optimum_for_other_laws_of_side_information(problem, data):
    p, scores = problem
    side = data.draw(distributions(n=scores.shape[-1], zeros=False))
    reached = float((Exact()(p, scores, side).laws * scores).sum(axis=0) @ side)
    assert reached == pytest.approx(programme(p, scores, side), abs=1e-6 * scores.max())


def test_uniform_side_information_is_what_is_left_out():
    scores = RandomScores("gamma", 32).rows(np.arange(4), seeded_table(2))
    p = np.array([0.5, 0.3, 0.15, 0.05])
    for solver in SOLVERS:
        assert solver(p, scores, np.full(32, 1 / 32)).laws == pytest.approx(solver(p, scores).laws, abs=1e-12)


@settings(max_examples=40)
@given(problem=problems())
def test_exact_is_the_optimum_of_the_linear_programme(problem):
    p, scores = problem
    plan = Exact()(p, scores)
    assert detection_gap(p, scores, plan) == pytest.approx(programme(p, scores), abs=1e-9)
    assert plan.converged
    assert plan.marginal_error < 1e-12


@settings(max_examples=30)
@given(problem=problems(), regularisation=st.sampled_from([0.3, 0.05, 0.02, 0.005]))
def test_entropy_costs_at_most_its_own_range(problem, regularisation):
    """0 <= D(exact) - D(Sinkhorn) <= regularisation (range of f) min(Ent(P), log k), for converged plans."""
    p, scores = problem
    plan = Sinkhorn(regularisation, 1e-10, 20_000)(p, scores)
    lost = detection_gap(p, scores, Exact()(p, scores)) - detection_gap(p, scores, plan)
    spread = scores.max() - scores.min()
    if plan.converged:
        most = regularisation * spread * min(float(entropy(p)), math.log(scores.shape[-1]))
        assert -1e-9 <= lost <= most + 1e-8 * spread
    assert lost >= -1e-9


def test_the_gap_goes_to_the_exact_one_with_the_regularisation():
    p, scores = np.array([0.6, 0.3, 0.1]), RandomScores("lognormal", 64).rows(np.arange(3), seeded_table(1))
    exact = detection_gap(p, scores, Exact()(p, scores))
    plans = [Sinkhorn(r, 1e-9, 100_000)(p, scores) for r in (1.0, 0.3, 0.1, 0.03, 0.01, 0.001)]
    assert all(plan.converged for plan in plans)
    gaps = [detection_gap(p, scores, plan) for plan in plans]
    assert np.all(np.diff(gaps) > 0)
    assert gaps[0] < 0.6 * exact
    assert gaps[-1] == pytest.approx(exact, rel=1e-3)


def test_what_was_stopped_early_says_so():
    p, scores = np.array([0.6, 0.3, 0.1]), RandomScores("lognormal", 64).rows(np.arange(3), seeded_table(1))
    stopped, done = Sinkhorn(0.02, 1e-9, 1)(p, scores), Sinkhorn(0.02, 1e-9)(p, scores)
    assert not stopped.converged
    assert stopped.iterations == 1
    assert stopped.marginal_error > 1e-3
    assert done.converged
    assert 1 < done.iterations < 2_000
    assert done.marginal_error < 1e-7
    # Rows come out right after every iteration: it is the columns that tell.
    assert np.abs(stopped.laws.mean(axis=-1) - p).max() < 1e-12


def test_a_coupling_with_one_token_or_constant_scores_carries_nothing():
    scores = np.array([[1.0, 2.0, 5.0]])
    for solver in SOLVERS:
        plan = solver(np.ones(1), scores)
        assert np.abs(plan.laws - 1).max() < 1e-12
        assert detection_gap(np.ones(1), scores, plan) == pytest.approx(0, abs=1e-12)
        flat = np.full((2, 3), 7.0)
        p = np.array([0.7, 0.3])
        assert detection_gap(p, flat, solver(p, flat)) == pytest.approx(0, abs=1e-12)


def test_tokens_without_mass_change_nothing():
    scores = RandomScores("gamma", 32).rows(np.arange(4), seeded_table(2))
    p = np.array([0.5, 0.0, 0.5, 0.0])
    for solver in SOLVERS:
        plan = solver(p, scores)
        assert plan.laws[[1, 3]].max() == 0
        few = solver(p[[0, 2]], scores[[0, 2]])
        assert np.abs(plan.laws[[0, 2]] - few.laws).max() < 1e-12


def test_the_gap_is_what_a_sampler_measures():
    """E f(X, S) - E f(X, S') with S' independent of X, from the laws of a two-token plan worked by hand."""
    p, scores = np.array([0.75, 0.25]), np.array([[0.0, 0.0, 0.0, 4.0], [8.0, 0.0, 0.0, 0.0]])
    plan = Exact()(p, scores)
    assert np.abs(plan.laws - [[0, 1, 1, 1], [1, 0, 0, 0]]).max() < 1e-12
    # Coupled: 8/4 from the light token, 4/4 from the heavy one; independent: 0.75 * 1 + 0.25 * 2.
    assert detection_gap(p, scores, plan) == pytest.approx(3 - 1.25)


def test_simplex_codes_reach_their_gap():
    scores = SimplexScores(3).rows(np.arange(7), seeded_table(0))
    p = np.r_[0.9, np.full(6, 0.1 / 6)]
    assert detection_gap(p, scores, Exact()(p, scores)) >= 0.1 - 1e-12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"regularisation": 0.0}, "regularisation=0.0 must be a positive"),
        ({"tolerance": float("nan")}, "tolerance=nan must be a positive"),
        ({"max_iterations": 0}, "max_iterations=0 must be a whole number"),
        ({"max_iterations": 1.5}, "max_iterations=1.5 must be a whole number"),
    ],
)
def test_bad_settings_name_the_argument(arguments, words):
    with pytest.raises(ValueError, match=words):
        Sinkhorn(**arguments)


def test_exact_says_when_it_does_not_finish(monkeypatch):
    import ot

    honest = ot.emd
    monkeypatch.setattr(ot, "emd", lambda *a, **k: honest(*a, **k | {"numItermax": 1}))
    with (
        pytest.warns(UserWarning, match="numItermax"),
        pytest.raises(RuntimeError, match=r"3 tokens to 64 values.*Sinkhorn"),
    ):
        Exact()(np.full(3, 1 / 3), RandomScores("gamma", 64).rows(np.arange(3), seeded_table(2)))


@settings(max_examples=30)
@given(problem=problems())
def test_the_strength_is_the_mutual_information_of_the_coupling(problem):
    p, scores = problem
    for solver in (Exact(), Sinkhorn()):
        plan = solver(p, scores)
        ratio = np.divide(plan.laws, p[:, None], out=np.ones_like(plan.laws), where=plan.laws > 0)
        information = (plan.laws * np.log(ratio)).sum() / scores.shape[-1]
        assert plan_strength(p, plan) == pytest.approx(information, abs=1e-9)
        assert plan_strength(p, plan) <= float(entropy(p)) + 1e-12


def test_names():
    assert [solver.name for solver in SOLVERS[:2]] == ["exact", "sinkhorn-0.05"]
