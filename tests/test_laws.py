"""Distributions: validation, limits at zero, identities between the measures, NumPy = PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.support import P, Q, distributions, pairs
from tradeoff.errors import DistributionError
from tradeoff.laws import (
    NoExcessError,
    acceptance_probability,
    binary_entropy,
    categorical,
    distribution,
    distribution_pair,
    entropy,
    excess,
    kl_divergence,
    overlap,
    total_variation,
)


@given(distributions())
def test_entropy_is_scipys(p):
    assert entropy(p) == pytest.approx(stats.entropy(p), abs=1e-12)
    assert 0 <= entropy(p) <= np.log(len(p)) + 1e-12


@given(pairs())
def test_divergence_is_scipys_and_infinite_only_off_support(pair):
    p, q = pair
    value = kl_divergence(p, q)
    assert not np.isnan(value)
    assert value >= 0
    if np.any((p > 0) & (q == 0)):
        assert value == np.inf
    else:
        assert value == pytest.approx(stats.entropy(p, q), abs=1e-10)


@given(distributions())
def test_divergence_from_itself_is_zero(p):
    assert kl_divergence(p, p) == 0


@given(pairs())
def test_overlap_is_one_minus_total_variation(pair):
    p, q = pair
    assert overlap(p, q) == pytest.approx(1 - total_variation(p, q), abs=1e-12)
    assert overlap(p, q) == pytest.approx((q * acceptance_probability(p, q)).sum(), abs=1e-12)


@given(pairs())
def test_acceptance_and_excess_rebuild_the_target(pair):
    """Eq. 5: accepted mass plus rejected mass times (P-Q)_+ is P."""
    p, q = pair
    a = acceptance_probability(p, q)
    assert np.all((a >= 0) & (a <= 1))
    rest = excess(p, q, empty="zero")
    assert q * a + (1 - (q * a).sum()) * rest == pytest.approx(p, abs=1e-12)


@given(pairs())
def test_excess_is_a_distribution_disjoint_from_rejected_tokens(pair):
    p, q = pair
    rest = excess(p, q, empty="zero")
    assert rest.sum() == pytest.approx(0 if np.array_equal(p, q) else 1, abs=1e-12)
    assert np.all(rest[p <= q] == 0)


def test_excess_of_equal_distributions_is_an_error_or_explicitly_empty():
    with pytest.raises(NoExcessError, match="P = Q"):
        excess(P, P)
    assert np.array_equal(excess(P, P, empty="zero"), np.zeros_like(P))
    batch = excess(np.stack([P, P]), np.stack([Q, P]), empty="zero")
    assert batch.sum(axis=-1) == pytest.approx([1, 0])
    with pytest.raises(ValueError, match="empty='none'"):
        excess(P, Q, empty="none")


@given(st.floats(0, 1))
def test_binary_entropy_is_the_entropy_of_a_coin(a):
    assert binary_entropy(np.float64(a)) == pytest.approx(entropy(np.array([a, 1 - a])), abs=1e-12)


@given(pairs())
def test_torch_agrees_with_numpy_and_stays_torch(pair):
    p, q = pair
    tp, tq = torch.tensor(p), torch.tensor(q)
    for function in (overlap, total_variation, kl_divergence):
        value = function(tp, tq)
        assert isinstance(value, torch.Tensor)
        assert value.item() == pytest.approx(float(function(p, q)), abs=1e-12)
    assert entropy(tp).item() == pytest.approx(float(entropy(p)), abs=1e-12)
    assert excess(tp, tq, empty="zero").numpy() == pytest.approx(excess(p, q, empty="zero"), abs=1e-15)
    assert acceptance_probability(tp, tq).numpy() == pytest.approx(acceptance_probability(p, q), abs=1e-15)


def test_batches_are_rows():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5), (3, 2)), rng.dirichlet(np.ones(5), (3, 2))
    for function in (overlap, total_variation, kl_divergence):
        rows = [[function(p[a, b], q[a, b]) for b in range(2)] for a in range(3)]
        assert function(p, q) == pytest.approx(np.array(rows), abs=1e-14)


def test_extreme_probabilities_give_no_nan():
    p = np.array([1.0, 5e-324, 0.0, 1e-300])
    q = np.array([5e-324, 1.0, 1e-300, 0.0])
    for value in (
        entropy(p),
        overlap(p, q),
        total_variation(p, q),
        excess(p, q),
        acceptance_probability(p, q),
    ):
        assert np.all(np.isfinite(value))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.5, -0.1, 0.6], ["P[1] = -0.1", "negative", "softmax"]),
        ([0.5, np.nan], ["P[1] = nan", "not finite"]),
        ([np.inf, 0.5], ["P[0] = inf", "not finite"]),
        ([0.5, 0.50001], ["sums to 1.00001", "divide"]),
        ([[0.5, 0.5], [0.3, 0.3]], ["P[1] sums to 0.6"]),
        ([], ["empty"]),
        (np.zeros((0, 3)), ["empty"]),
        (0.5, ["single number"]),
        ([[0.5], [0.2, 0.3]], ["cannot be read", "rectangular"]),
        (["a", "b"], ["cannot be read"]),
        ([1j, 0], ["cannot be read"]),
        (None, ["cannot be read"]),
        (np.ma.masked_array([0.5, 0.5, 0.1], [0, 0, 1]), ["masked array"]),
    ],
)
def test_bad_distributions_name_argument_value_and_remedy(values, words):
    with pytest.raises(DistributionError) as caught:
        distribution(values)
    for word in words:
        assert word in str(caught.value)


def test_small_errors_are_renormalised_in_float64():
    p = distribution(np.float32([0.1, 0.2, 0.7]))
    assert p.dtype == np.float64
    assert p.sum() == pytest.approx(1, abs=1e-15)
    assert distribution([1]).tolist() == [1.0]
    assert distribution(torch.tensor([0.25, 0.75])).dtype == torch.float64


def test_pairs_must_share_a_vocabulary_and_a_batch():
    with pytest.raises(DistributionError, match="P has 2 tokens and Q has 3"):
        distribution_pair([0.5, 0.5], [0.2, 0.3, 0.5])
    with pytest.raises(DistributionError, match="batch shapes"):
        distribution_pair(np.full((2, 2), 0.5), np.full((3, 2), 0.5))
    with pytest.raises(DistributionError, match=r"Q\[0\] = -1"):
        distribution_pair([0.5, 0.5], [-1, 2])


def test_the_tolerance_on_the_sum_is_1e_6():
    assert distribution([0.5, 0.5 + 9e-7]).sum() == pytest.approx(1, abs=1e-15)
    assert distribution([0.5, 0.5 - 9e-7]).sum() == pytest.approx(1, abs=1e-15)
    for off in (2e-6, -2e-6):
        with pytest.raises(DistributionError, match="further than 1e-06 from 1"):
            distribution([0.5, 0.5 + off])


@given(p=distributions(), u=st.floats(1e-16, 1 - 2**-53))
def test_categorical_inverts_the_distribution_function(p: np.ndarray, u: float) -> None:
    token = int(categorical(p, np.array(u)))
    assert p[token] > 0
    end = np.cumsum(p)
    assert end[token] >= u * end[-1] * (1 - 1e-15)
    assert end[token] - p[token] <= u * end[-1] * (1 + 1e-15)


def test_categorical_at_the_ends() -> None:
    p = np.array([0.0, 0.3, 0.0, 0.7, 0.0])
    assert categorical(p, np.array(2.0**-53)) == 1
    assert categorical(p, np.array(1 - 2.0**-53)) == 3
