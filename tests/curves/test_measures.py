"""Strength and efficiency against enumeration, simulation, their bounds, and Lemma 3.1's optimality."""

import math

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.support import P, Q, Z, assert_within, distributions, pairs
from tradeoff.curves.measures import (
    google_end_point_strength,
    hu_end_point_strength,
    sampling_efficiency,
    watermark_strength,
)
from tradeoff.curves.pairs import exact_pairs
from tradeoff.decoders import GumbelMax, Identity, SynthID
from tradeoff.decoders.races import race_coupling
from tradeoff.errors import DistributionError
from tradeoff.laws import acceptance_probability, binary_entropy, entropy, excess, overlap

INFINITE = SynthID(math.inf)


@given(distributions())
def test_theorem_3_2_strength_is_at_most_the_entropy(p):
    most = float(entropy(p))
    for decoder in (Identity(), GumbelMax(), INFINITE):
        strength = watermark_strength(p, decoder)
        assert strength.standard_error == 0
        assert strength.value == pytest.approx(most if decoder.degenerate else 0, abs=1e-12)


@given(distributions(max_n=5), st.sampled_from([1, 3, 10]))
@settings(max_examples=15)
def test_finite_tournaments_stay_below_the_entropy(p, rounds):
    strength = watermark_strength(p, SynthID(rounds), seeds=4_000)
    slack = Z * strength.standard_error + 1e-9
    assert -slack <= strength.value <= entropy(p) + slack


def test_strength_of_tournaments_grows_with_the_rounds_to_the_entropy():
    """Theorem 3.3; the reference at m = 30 is 1.8807 +- 0.0006."""
    values = [watermark_strength(P, SynthID(m), seeds=20_000) for m in (1, 5, 30, 200)]
    assert [v.value for v in values] == sorted(v.value for v in values)
    assert_within(values[2].value, 1.8807, math.hypot(values[2].standard_error, 0.0006))
    assert values[3].value == pytest.approx(entropy(P), abs=1e-3)


def test_strength_of_one_round_is_its_enumeration():
    """One round: all 2^n bit patterns, exactly."""
    p = P[:6] / P[:6].sum()
    bits = (np.arange(64)[:, None] >> np.arange(6)) & 1
    laws = p * (1 + bits - (bits @ p)[:, None])
    exact = entropy(p) - entropy(laws).mean()
    estimate = watermark_strength(p, SynthID(1), seeds=50_000)
    assert_within(estimate.value, exact, estimate.standard_error)


@given(pairs())
def test_efficiency_is_exact_for_the_race_and_below_lemma_3_1s_bound(pair):
    p, q = pair
    efficiency = sampling_efficiency(p, q, GumbelMax())
    assert efficiency.standard_error == 0
    assert efficiency.value == pytest.approx(np.trace(race_coupling(p, q)), abs=1e-12)
    assert efficiency.value <= overlap(p, q) + 1e-12
    # The race agrees at least half as often as any coupling can: max(x, y) <= x + y in each term.
    assert efficiency.value >= overlap(p, q) / 2 - 1e-12


@given(pairs())
def test_efficiency_without_shared_randomness(pair):
    """E sum min(P_zeta, Q_zeta) = P . Q as soon as one side is degenerate and the other independent."""
    p, q = pair
    for target, draft in (
        (GumbelMax(), INFINITE),
        (INFINITE, GumbelMax()),
        (Identity(), GumbelMax()),
        (INFINITE, Identity()),
    ):
        efficiency = sampling_efficiency(p, q, target, draft)
        assert efficiency.standard_error == 0
        assert efficiency.value == pytest.approx(p @ q, abs=1e-12)
    assert sampling_efficiency(p, q, Identity()).value == pytest.approx(overlap(p, q), abs=1e-12)


@pytest.mark.parametrize(
    ("decoder", "reference", "error"),
    [(INFINITE, 0.5865, 0.001), (SynthID(30), 0.5919, 0.0007)],
    ids=["m=inf", "m=30"],
)
def test_efficiency_of_tournaments(decoder, reference, error):
    """Known values of the paper's example."""
    estimate = sampling_efficiency(P, Q, decoder, seeds=50_000)
    assert_within(estimate.value, reference, math.hypot(estimate.standard_error, error))


def test_lemma_3_1_no_kernel_beats_the_speculative_one():
    """max sum_w Q(w) A(w, w) over all kernels with Q A = P is 1 - TV: a linear programme in A."""
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 7):
        for sparse in (False, True):
            p, q = rng.dirichlet(np.ones(n)), rng.dirichlet(np.full(n, 0.3))
            if sparse:
                q[0], p[-1] = 0, 0
                p, q = p / p.sum(), q / q.sum()
            kernel = cp.Variable((n, n), nonneg=True)
            problem = cp.Problem(
                cp.Maximize(q @ cp.diag(kernel)), [cp.sum(kernel, axis=1) == 1, q @ kernel == p]
            )
            problem.solve(solver=cp.CLARABEL)
            assert problem.value == pytest.approx(overlap(p, q), abs=1e-7)
            speculative = np.diag(acceptance_probability(p, q))
            speculative += np.outer(1 - acceptance_probability(p, q), excess(p, q))
            assert q @ speculative == pytest.approx(p, abs=1e-12)
            assert q @ np.diag(speculative) == pytest.approx(overlap(p, q), abs=1e-12)


@given(pairs())
def test_end_points_against_enumeration_of_the_kernel(pair):
    """Strength of delta_j A for j ~ Q, with the residual random (Hu) or drawn by a decoder (Google)."""
    p, q = pair
    a, rest = acceptance_probability(p, q), excess(p, q, empty="zero")
    hu, google = 0.0, 0.0
    for j in range(len(p)):
        law = (1 - a[j]) * rest
        law[j] += a[j]
        hu += q[j] * entropy(law)
        google += q[j] * binary_entropy(a[j])
    assert float(hu_end_point_strength(p, q)) == pytest.approx(entropy(p) - hu, abs=1e-10)
    assert float(google_end_point_strength(p, q)) == pytest.approx(entropy(p) - google, abs=1e-10)
    assert -1e-10 <= float(hu_end_point_strength(p, q)) <= float(google_end_point_strength(p, q)) + 1e-10
    assert float(google_end_point_strength(p, q)) <= entropy(p) + 1e-10


def test_end_points_batched_in_torch_and_where_p_equals_q():
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(7), (2, 3)), rng.dirichlet(np.ones(7), (2, 3))
    q[0, 0] = p[0, 0]
    for function in (hu_end_point_strength, google_end_point_strength):
        values = function(p, q)
        assert values.shape == (2, 3)
        assert values[0, 0] == pytest.approx(entropy(p[0, 0]), abs=1e-12)
        assert values[1, 2] == pytest.approx(function(p[1, 2], q[1, 2]), abs=1e-12)
        tensor = function(torch.tensor(p), torch.tensor(q))
        assert isinstance(tensor, torch.Tensor)
        assert tensor.numpy() == pytest.approx(values, abs=1e-12)


def test_which_pairs_have_an_exact_law():
    assert exact_pairs(P, Q, GumbelMax(), GumbelMax()) is not None
    assert exact_pairs(P, Q, GumbelMax(), INFINITE) is not None
    assert exact_pairs(P, Q, INFINITE, INFINITE) is None
    assert exact_pairs(P, Q, SynthID(30), GumbelMax()) is None
    assert exact_pairs(P, Q, Identity(), GumbelMax()) is None


def test_bad_input():
    with pytest.raises(DistributionError, match="sums to"):
        watermark_strength([0.5, 0.6], GumbelMax())
    with pytest.raises(DistributionError, match="same vocabulary"):
        sampling_efficiency([0.5, 0.5], [1.0], GumbelMax())
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        watermark_strength(np.full((2, 2), 0.5), GumbelMax())
