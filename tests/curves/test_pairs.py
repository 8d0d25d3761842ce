"""The exact joint law of two Gumbel-max draws: marginals, an independent integral, simulated races."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import integrate

from tests.helpers.support import ALPHA, P, Q, Z, assert_within, chi_square_p, pairs
from tradeoff.curves.pairs import ExactPairs, SampledPairs, sample_pairs
from tradeoff.decoders import GumbelMax, SynthID
from tradeoff.decoders.races import race_coupling, race_diagonal, race_potential


@given(pairs())
def test_marginals_are_the_two_distributions(pair):
    p, q = pair
    joint = race_coupling(p, q)
    assert np.all(joint >= 0)
    assert np.abs(joint.sum(axis=1) - p).max() <= 1e-12
    assert np.abs(joint.sum(axis=0) - q).max() <= 1e-12


def test_marginals_at_a_thousand_tokens_with_zeros():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.full(1000, 0.05)), rng.dirichlet(np.full(1000, 0.05))
    p[rng.random(1000) < 0.2] = 0
    q[rng.random(1000) < 0.2] = 0
    p, q = p / p.sum(), q / q.sum()
    joint = race_coupling(p, q)
    assert np.abs(joint.sum(axis=1) - p).max() <= 1e-12
    assert np.abs(joint.sum(axis=0) - q).max() <= 1e-12


@given(pairs())
def test_the_diagonal_is_its_formula(pair):
    """pi_ii = 1 / sum_k max(P_k/P_i, Q_k/Q_i)."""
    p, q = pair
    diagonal = race_diagonal(p, q)
    for i in range(len(p)):
        expected = 0.0
        if p[i] > 0 and q[i] > 0:
            expected = 1 / np.maximum(p / p[i], q / q[i]).sum()
        assert diagonal[i] == pytest.approx(expected, abs=1e-14)
    assert np.diagonal(race_coupling(p, q)) == pytest.approx(diagonal, abs=0)


@given(pairs(zeros=False, max_n=5))
@settings(max_examples=15)
def test_off_diagonal_against_its_integral(pair):
    """pi_ij = integral of ds / (1 + s + sum_{k != i, j} max(P_k/P_i, s Q_k/Q_j))^2 over
    P_j/P_i < s < Q_j/Q_i by adaptive quadrature."""
    p, q = pair
    joint = race_coupling(p, q)
    n = len(p)
    for i in range(n):
        for j in range(n):
            low, high = p[j] / p[i], q[j] / q[i]
            if i == j or low >= high:
                if i != j:
                    assert joint[i, j] <= 1e-15
                continue
            others = [k for k in range(n) if k not in (i, j)]

            def density(log_s, i=i, j=j, others=others):
                s = math.exp(log_s)
                rest = sum(max(p[k] / p[i], s * q[k] / q[j]) for k in others)
                return s / (1 + s + rest) ** 2

            breaks = [math.log(p[k] / p[i] * q[j] / q[k]) for k in others]
            inside = [b for b in breaks if math.log(low) < b < math.log(high)]
            value, error = integrate.quad(
                density, math.log(low), math.log(high), points=inside or None, limit=500, epsabs=1e-13
            )
            assert joint[i, j] == pytest.approx(value, abs=1e-9 + 10 * error)


def test_a_million_races_agree():
    """Chi-square at level ALPHA, for the paper's pair and for one with zeros on both sides."""
    rng = np.random.default_rng(1)
    with_zeros = (np.array([0.5, 0.3, 0.2, 0.0, 0.0]), np.array([0.0, 0.1, 0.3, 0.6, 0.0]))
    for p, q in ((P, Q), with_zeros):
        n, counts = len(p), 0
        for _ in range(5):
            race = GumbelMax().draw(rng, (200_000,), n)
            code = GumbelMax().token(p, race) * n + GumbelMax().token(q, race)
            counts = counts + np.bincount(code, minlength=n * n)
        assert chi_square_p(counts, 1e6 * race_coupling(p, q)) > ALPHA


def test_ratios_that_overflow_are_the_limit():
    """Q = 1e-310 behaves as Q = 0 does, without a warning."""
    tiny = race_coupling(np.array([0.5, 0.5]), np.array([1e-310, 1.0]))
    zero = race_coupling(np.array([0.5, 0.5]), np.array([0.0, 1.0]))
    assert tiny == pytest.approx(zero, abs=1e-15)
    rng = np.random.default_rng(6)
    for _ in range(20):
        p, q = rng.dirichlet(np.full(1500, 0.01), 2)
        joint = race_coupling(p, q)
        assert np.abs(joint.sum(axis=1) - p).max() <= 1e-12
        assert np.abs(joint.sum(axis=0) - q).max() <= 1e-12


def test_equal_distributions_always_agree():
    assert race_coupling(P, P) == pytest.approx(np.diag(P), abs=1e-15)


def test_disjoint_supports_never_agree():
    p, q = np.array([0.3, 0.7, 0, 0]), np.array([0, 0, 0.6, 0.4])
    assert race_coupling(p, q) == pytest.approx(np.outer(p, q), abs=1e-15)


def test_one_token():
    assert race_coupling(np.ones(1), np.ones(1)).tolist() == [[1.0]]


@given(pairs())
@settings(max_examples=20)
def test_the_coupling_of_swapped_roles_is_the_transpose(pair):
    p, q = pair
    assert race_coupling(q, p) == pytest.approx(race_coupling(p, q).T, abs=1e-14)


def test_batches_and_torch():
    rng = np.random.default_rng(2)
    p, q = rng.dirichlet(np.ones(6), (2, 3)), rng.dirichlet(np.ones(6), (2, 3))
    joint = race_coupling(p, q)
    assert joint.shape == (2, 3, 6, 6)
    for a in range(2):
        for b in range(3):
            assert joint[a, b] == pytest.approx(race_coupling(p[a, b], q[a, b]), abs=1e-15)
    tensor = race_coupling(torch.tensor(p), torch.tensor(q))
    assert isinstance(tensor, torch.Tensor)
    assert tensor.numpy() == pytest.approx(joint, abs=1e-14)


def test_exact_pairs_spell_the_joint_law():
    """pi_ij = P_i Q_j (row_i - column_j)_+ off the diagonal, for the race and for independent draws."""
    _, potential = race_potential(P, Q)
    assert np.all(np.diff(potential[np.argsort(P / Q)]) >= 0)
    off = ~np.eye(10, dtype=bool)
    for law, joint in (
        (ExactPairs.race(P, Q), race_coupling(P, Q)),
        (ExactPairs.independent(P, Q), np.outer(P, Q)),
    ):
        spelled = np.outer(P, Q) * np.maximum(law.row[:, None] - law.column, 0)
        assert spelled[off] == pytest.approx(joint[off], abs=1e-15)
        assert law.diagonal == pytest.approx(np.diagonal(joint), abs=1e-15)


def test_sampled_pairs_have_the_exact_law():
    """Gumbel-max sampled like any other decoder; chi-square at level ALPHA on one side of each pair."""
    sample = sample_pairs(P, Q, GumbelMax(), GumbelMax(), seeds=200_000, rng=np.random.default_rng(3))
    assert sample.target.shape == sample.draft.shape == (100_000, 2)
    for side in range(2):
        code = sample.target[:, side] * 10 + sample.draft[:, side]
        assert chi_square_p(np.bincount(code, minlength=100), 1e5 * race_coupling(P, Q)) > ALPHA


def test_sampling_in_small_batches_covers_every_seed():
    sample = sample_pairs(
        P,
        Q,
        SynthID(math.inf),
        SynthID(math.inf),
        seeds=5_001,
        rng=np.random.default_rng(4),
        batch_bytes=8_000,
    )
    assert sample.target.shape == (2_501, 2)
    agreement = np.mean(sample.target == sample.draft)
    assert_within(agreement, 0.5865, math.hypot(0.001, math.sqrt(0.5865 * 0.4135 / 5_002)))


def test_the_two_columns_of_a_sample_are_antithetic():
    """One column mirrors the other: they agree less often than independent draws (probability sum P^2)."""
    sample = sample_pairs(P, Q, GumbelMax(), GumbelMax(), seeds=100_000, rng=np.random.default_rng(5))
    for ids, law in ((sample.target, P), (sample.draft, Q)):
        independent = float((law**2).sum())
        error = math.sqrt(independent * (1 - independent) / len(ids))
        assert np.mean(ids[:, 0] == ids[:, 1]) < independent - Z * error


def test_frequencies_count_tokens():
    sample = SampledPairs(np.array([[0, 1], [2, 2]]), np.array([[0, 0], [2, 1]]))
    both, target, draft = sample.frequencies(4)
    assert both.tolist() == [0.25, 0, 0.25, 0]
    assert target.tolist() == [0.25, 0.25, 0.5, 0]
    assert draft.tolist() == [0.5, 0.25, 0.25, 0]
