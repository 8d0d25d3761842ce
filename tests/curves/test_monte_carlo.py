"""The Monte Carlo engine: unbiased, honest standard errors, bounded memory, reproducible."""

import math
import tracemalloc

import numpy as np
import pytest

from tests.helpers.support import P, Q, Z, assert_within
from tradeoff.curves.monte_carlo import ControlledMean, pair_mean, simulate
from tradeoff.curves.pairs import sample_pairs
from tradeoff.decoders import GumbelMax, SynthID
from tradeoff.decoders.races import race_coupling
from tradeoff.estimate import Estimate
from tradeoff.laws import entropy, kl_divergence, overlap


def overlap_column(p_z, q_z, _):
    return overlap(p_z, q_z)[:, None]


def test_simulation_agrees_with_the_exact_coupling():
    exact = np.trace(race_coupling(P, Q))
    estimate = simulate(overlap_column, P, Q, GumbelMax(), GumbelMax(), seeds=100_000)
    assert_within(estimate.value[0], exact, estimate.standard_error[0])
    assert 0 < estimate.standard_error[0] < 0.002


def test_standard_errors_are_honest():
    """The spread of 200 independent runs against the reported standard errors: their ratio squared is
    chi-square over its 200 degrees of freedom, asked to lie within Z of its mean."""
    exact = np.trace(race_coupling(P, Q))
    runs = [simulate(overlap_column, P, Q, GumbelMax(), GumbelMax(), seeds=600, rng=k) for k in range(200)]
    z = np.array([(run.value[0] - exact) / run.standard_error[0] for run in runs])
    assert abs((z**2).sum() - 200) < Z * math.sqrt(2 * 200) + 0.1 * 200


def test_controls_and_antithesis_reduce_the_error():
    """Below the 0.484/sqrt(N) of plain Monte Carlo at the same number of seeds."""
    estimate = simulate(overlap_column, P, Q, GumbelMax(), GumbelMax(), seeds=40_000)
    exact = np.trace(race_coupling(P, Q))
    assert estimate.standard_error[0] < 0.85 * math.sqrt(exact * (1 - exact) / 40_000)


def test_what_is_linear_in_the_laws_is_exact():
    """E_zeta P_zeta = P is used, not estimated: any linear functional comes out without error."""
    weights = np.linspace(-1, 2, len(P))
    estimate = simulate(
        lambda p_z, q_z, r_z: np.stack([p_z @ weights, q_z @ weights + r_z[:, 0]], axis=-1),
        P,
        Q,
        SynthID(8),
        SynthID(8),
        seeds=2_000,
        residual=True,
    )
    rest = np.maximum(P - Q, 0) / 0.3
    assert estimate.value == pytest.approx([P @ weights, Q @ weights + rest[0]], abs=1e-9)
    assert np.all(estimate.standard_error < 1e-7)


def test_the_residual_is_drawn_under_an_independent_key():
    """E[P_z P_r] factorises for the target and the residual, and does not for target and draft."""
    rest = np.maximum(P - Q, 0) / 0.3

    def products(p_z, q_z, r_z):
        return np.stack([p_z[:, 4] * r_z[:, 4], p_z[:, 4] * q_z[:, 4]], axis=-1)

    estimate = simulate(products, P, Q, GumbelMax(), GumbelMax(), seeds=50_000, residual=True)
    assert_within(estimate.value[0], P[4] * rest[4], estimate.standard_error[0])
    assert estimate.value[1] > P[4] * Q[4] + Z * estimate.standard_error[1]


def test_decoders_of_different_kinds_are_independent():
    def product(p_z, q_z, _):
        return (p_z[:, 4] * q_z[:, 4])[:, None]

    estimate = simulate(product, P, Q, SynthID(20), GumbelMax(), seeds=50_000)
    assert_within(estimate.value[0], P[4] * Q[4], estimate.standard_error[0])


def test_reproducible_and_independent_of_the_batch_size_in_law():
    runs = [simulate(overlap_column, P, Q, GumbelMax(), GumbelMax(), seeds=10_000, rng=7) for _ in range(2)]
    assert runs[0].value == runs[1].value
    small = simulate(overlap_column, P, Q, GumbelMax(), GumbelMax(), seeds=10_000, rng=7, batch_bytes=8_000)
    # A generator is read in sequence, so smaller batches of races only regroup the same numbers.
    assert small.value == pytest.approx(runs[0].value, abs=1e-9)


def test_memory_does_not_grow_with_the_number_of_seeds():
    peaks = []
    for seeds in (20_000, 200_000):
        tracemalloc.start()
        simulate(overlap_column, P, Q, GumbelMax(), GumbelMax(), seeds=seeds, batch_bytes=1 << 18)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_large_vocabularies_use_few_controls_and_stay_unbiased():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.full(200, 0.2)), rng.dirichlet(np.full(200, 0.2))
    exact = np.trace(race_coupling(p, q))
    estimate = simulate(overlap_column, p, q, GumbelMax(), GumbelMax(), seeds=20_000)
    assert_within(estimate.value[0], exact, estimate.standard_error[0])
    strength = simulate(
        lambda law, *_: kl_divergence(law, p)[:, None], p, q, GumbelMax(), GumbelMax(), seeds=4_000
    )
    # Here the functional, log 1/P of the drawn token, is itself one of the controls.
    assert strength.value[0] == pytest.approx(entropy(p), abs=1e-6)
    sample = sample_pairs(p, q, GumbelMax(), GumbelMax(), seeds=40_000, rng=rng)
    same = pair_mean(sample, p, q, lambda i, j: (i == j)[:, None].astype(float))
    assert_within(same.value[0], exact, same.standard_error[0])


def test_pair_means_match_enumeration():
    table = np.random.default_rng(1).random((10, 10))
    sample = sample_pairs(P, Q, GumbelMax(), GumbelMax(), seeds=100_000, rng=np.random.default_rng(2))
    mean = pair_mean(sample, P, Q, lambda i, j: table[i, j][:, None])
    assert_within(mean.value[0], (table * race_coupling(P, Q)).sum(), mean.standard_error[0])
    margins = pair_mean(sample, P, Q, lambda i, j: np.stack([i * 1.0, j * 1.0], axis=-1))
    assert margins.value == pytest.approx([np.arange(10) @ P, np.arange(10) @ Q], abs=1e-9)


def test_controlled_mean_without_controls_is_the_plain_mean():
    values = np.random.default_rng(3).normal(5, 2, (1000, 2))
    mean = ControlledMean(2, 0)
    for part in np.array_split(values, 7):
        mean.add(part, np.zeros((len(part), 0)))
    estimate = mean.estimate()
    assert estimate.value == pytest.approx(values.mean(axis=0), rel=1e-12)
    assert estimate.standard_error == pytest.approx(values.std(axis=0) / math.sqrt(999), rel=1e-9)


def test_too_few_seeds_are_refused():
    for seeds in (3, 0, 400.0):
        with pytest.raises(ValueError, match=f"seeds={seeds} .*at least 4"):
            simulate(overlap_column, P, Q, GumbelMax(), GumbelMax(), seeds=seeds)
    alone = ControlledMean(1, 0)
    alone.add(np.ones((1, 1)), np.zeros((1, 0)))
    with pytest.raises(ValueError, match="1 pairs of seeds"):
        alone.estimate()


@pytest.mark.parametrize("seeds", [8, 20, 40, 100, 400])
def test_few_seeds_do_not_pretend_to_be_exact(seeds):
    """Regression on more controls than seeds would leave no residual: the reported errors stay honest.
    Over 200 runs the mean square of (value - truth) against the mean reported variance."""
    truth = np.trace(race_coupling(P, Q))
    runs = [simulate(overlap_column, P, Q, GumbelMax(), GumbelMax(), seeds=seeds, rng=k) for k in range(200)]
    off = np.mean([(run.value[0] - truth) ** 2 for run in runs])
    reported = np.mean([run.standard_error[0] ** 2 for run in runs])
    assert 0.4 < off / reported < 2.5


def test_estimates_print_with_their_error():
    assert str(Estimate(0.58650001, 0.00055)) == "0.5865 ± 0.00055"


def test_a_large_offset_costs_no_digits():
    values = np.random.default_rng(4).normal(0, 1, (2_000, 1))
    mean = ControlledMean(1, 0)
    for part in np.array_split(values + 1e9, 4):
        mean.add(part, np.zeros((len(part), 0)))
    assert mean.estimate().standard_error == pytest.approx(values.std(axis=0) / math.sqrt(1999), rel=1e-6)
