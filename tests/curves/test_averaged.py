"""Averages over positions: exact for Gumbel-max, unbiased for SynthID, independent of the executor."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.helpers.support import Z, assert_within
from tradeoff.curves.averaged import GAMMA, _reduce, average_plane
from tradeoff.curves.families import curve
from tradeoff.curves.linear import LinearEfficiency, linear_strength
from tradeoff.curves.measures import google_end_point_strength, hu_end_point_strength
from tradeoff.curves.setting import Setting
from tradeoff.decoders import SynthID
from tradeoff.decoders.races import race_diagonal
from tradeoff.laws import entropy, overlap


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(30, 0.3), 12)
    return list(zip(p, (p + rng.dirichlet(np.full(30, 0.3), 12)) / 2, strict=True))


@pytest.fixture(scope="module")
def averaged(rows):
    return average_plane(len(rows), lambda: rows, seeds=400)


def test_positions_are_exact(rows, averaged):
    for k, (p, q) in enumerate(rows):
        row = averaged.positions.iloc[k]
        assert row["sse"] == pytest.approx(overlap(p, q), abs=1e-12)
        assert row["agreement"] == pytest.approx(race_diagonal(p, q).sum(), abs=1e-12)
        assert row["entropy"] == pytest.approx(entropy(p), abs=1e-12)
        assert row["hu"] == pytest.approx(float(hu_end_point_strength(p, q)), abs=1e-12)
        assert row["google"] == pytest.approx(float(google_end_point_strength(p, q)), abs=1e-12)


@pytest.mark.parametrize("family", ["hu", "google"])
def test_gumbel_curves_are_means_of_exact_curves(rows, averaged, family):
    mean = averaged.planes.curves[family, "gumbel"]
    curves = [curve(family, Setting(p, q), GAMMA) for p, q in rows]
    assert mean.efficiency == pytest.approx(np.mean([c.efficiency for c in curves], axis=0), abs=1e-12)
    assert mean.strength == pytest.approx(np.mean([c.strength for c in curves], axis=0), abs=1e-12)
    assert mean.efficiency_error.max() == mean.strength_error.max() == 0


def test_the_common_theta_maximises_the_mean_efficiency(rows, averaged):
    c = averaged.planes.curves["linear", "gumbel"]
    parts = [LinearEfficiency.of_pairs(p, q, race_diagonal(p, q)) for p, q in rows]
    for k, gamma in enumerate(GAMMA):
        mean = np.mean([part(gamma, c.theta[k]) for part in parts])
        assert c.efficiency[k] == pytest.approx(mean, abs=1e-12)
        others = [np.mean([part(gamma, t) for part in parts]) for t in np.linspace(0, 1, 41)]
        assert c.efficiency[k] >= max(others) - 1e-6
    assert c.strength == pytest.approx(
        np.mean([linear_strength(p, GAMMA) for p, _ in rows], axis=0), abs=1e-12
    )


@pytest.mark.parametrize(("decoder", "rounds"), [("synthid-inf", math.inf), ("synthid-30", 30)])
@pytest.mark.parametrize("family", ["hu", "google"])
def test_tournament_curves_are_unbiased(rows, averaged, family, decoder, rounds):
    """Against the library's own simulation of every position with other seeds (10 comparisons each; the
    1e-4 of mass that is left out may add as much)."""
    c = averaged.planes.curves[family, decoder]
    points = [0, 3, 7]
    curves = [
        curve(family, Setting(p, q, SynthID(rounds), SynthID(rounds), seeds=2_000, seed=9), GAMMA[points])
        for p, q in rows
    ]
    for m, k in enumerate(points):
        for name in ("efficiency", "strength"):
            reference = np.mean([getattr(d, name)[m] for d in curves])
            error = math.sqrt(sum(getattr(d, f"{name}_error")[m] ** 2 for d in curves)) / len(curves)
            own = getattr(c, f"{name}_error")[k]
            value = getattr(c, name)[k]
            assert (
                abs(value - reference) < 1e-3
                or assert_within(value, reference, math.hypot(error, own)) is None
            )


def test_reported_errors_are_the_spread_over_seeds(rows):
    """40 runs with other seeds: the variance of their values against the mean of the reported ones. The
    ratio of a chi-square on 39 degrees of freedom to 39 is within a factor of 3 but for 1e-9."""
    few = rows[:4]
    runs = [average_plane(4, lambda: few, seeds=16, seed=s).planes.curves for s in range(40)]
    for key in (("hu", "synthid-inf"), ("google", "synthid-30")):
        for name in ("efficiency", "strength"):
            spread = np.var([getattr(run[key], name)[4] for run in runs], ddof=1)
            reported = np.mean([getattr(run[key], f"{name}_error")[4] ** 2 for run in runs])
            assert 1 / 3 < spread / reported < 3


def test_each_decoder_has_its_own_best_theta():
    """A draft that repeats the target's head: theta* is far from gamma, and differs between decoders."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.05, 0.05])
    plane = average_plane(1, lambda: [(p, q)], seeds=4_000).planes
    exact = LinearEfficiency.of_pairs(p, q, race_diagonal(p, q))
    gumbel = plane.curves["linear", "gumbel"]
    for k, gamma in enumerate(GAMMA):
        assert gumbel.theta[k] == pytest.approx(exact.best_theta(gamma)[0], abs=1e-9)
    settled = SynthID(math.inf)
    sampled = curve("linear", Setting(p, q, settled, settled, seeds=200_000), GAMMA)
    tournament = plane.curves["linear", "synthid-inf"]
    for k in range(len(GAMMA)):
        error = math.hypot(sampled.efficiency_error[k], tournament.efficiency_error[k])
        assert abs(tournament.efficiency[k] - sampled.efficiency[k]) < Z * error + 1e-3
    assert np.abs(gumbel.theta - GAMMA).max() > 0.02


def test_what_the_simulation_leaves_out_is_1e_4_of_the_mass():
    rng = np.random.default_rng(3)
    p, q = rng.dirichlet(np.full(5_000, 0.01), 2)
    reduced = _reduce(Setting(p, q))
    for side, kept in ((p, reduced.p), (q, reduced.q)):
        assert 1 - 1e-4 <= side[reduced.ids].sum() <= 1
        assert kept == pytest.approx(side[reduced.ids] / side[reduced.ids].sum(), abs=1e-15)
    assert len(reduced.ids) < 5_000


def test_tournament_linear_class_reaches_both_ends(rows, averaged):
    c = averaged.planes.curves["linear", "synthid-inf"]
    assert c.efficiency[0] == pytest.approx(averaged.planes.sse, abs=1e-9)
    settled = averaged.planes.curves["hu", "synthid-inf"]
    assert c.efficiency[-1] == pytest.approx(settled.efficiency[-1], abs=2e-3)
    assert np.all(np.diff(c.efficiency) < 5e-3)


def test_threads_and_processes_do_not_change_anything(rows):
    few = rows[:3]
    alone = average_plane(3, lambda: few, seeds=8, seed=4)
    with ThreadPoolExecutor(2) as executor:
        spread = average_plane(3, lambda: few, seeds=8, seed=4, executor=executor)
    for key, c in alone.planes.curves.items():
        assert np.array_equal(c.efficiency, spread.planes.curves[key].efficiency)
        assert np.array_equal(c.strength, spread.planes.curves[key].strength)


@pytest.mark.parametrize("seeds", [2, 5])
def test_bad_seeds(rows, seeds):
    with pytest.raises(ValueError, match=f"seeds={seeds}"):
        average_plane(1, lambda: rows[:1], seeds=seeds)
