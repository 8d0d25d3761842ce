"""The most that a detector with the key alone can expect to read under speculation."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import integrate, optimize

from tests.helpers.support import P, Q, Z, assert_within, pairs
from tradeoff.curves import (
    PRICES,
    RacePair,
    race_limit,
    race_limit_curve,
    race_potentials,
    threshold_rule_score,
)
from tradeoff.errors import DistributionError

THREE = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
TWO = np.array([0.9, 0.1]), np.array([0.6, 0.4])
FLAT = np.full(4, 0.25), np.array([0.7, 0.1, 0.1, 0.1])


def zipf(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A target 1/rank^1.2 in random order, and a draft that is it, distorted."""
    rng = np.random.default_rng(seed)
    p = rng.permutation(np.arange(1, n + 1) ** -1.2)
    q = p * np.exp(rng.normal(size=n))
    return p / p.sum(), q / q.sum()


def full_efficiency(pair: RacePair, iterations: int = 200) -> np.ndarray:
    """Potentials at acceptance 1 - TV: [n]."""
    over = pair.p < pair.q
    mass = np.where(over, pair.p, np.maximum(pair.p - pair.q, 0))
    with np.errstate(divide="ignore"):
        start = np.log(mass)
    return race_potentials(pair.p, pair.q, mass, over, pair.p > pair.q, start, [0.0], iterations)[0]


def best_of_all(p: np.ndarray) -> float:
    """The largest E s(E_w) of all w with law P: s(E) ~ Exp(1) for each, and the dual is one integral."""

    def dual(c: np.ndarray) -> float:
        top = c.max()
        tail = integrate.quad(
            lambda y: 1 - np.prod(np.maximum(-np.expm1(c - y), 0)), top, top + 40, limit=400
        )
        return float(top + tail[0] - p @ c)

    return float(optimize.minimize(dual, np.log(p), method="Powell", options={"ftol": 1e-12}).fun)


@pytest.mark.parametrize(
    ("pair", "joint", "bound"),
    [
        ((P, Q), 2.742585, 2.753),
        (THREE, 1.743028, 1.748),
        (TWO, 1.255242, 1.260),
        (FLAT, 2.083333, 2.083),
    ],
)
def test_reference_values(pair, joint, bound):
    found = race_limit(*pair)
    assert found.joint_race == pytest.approx(joint, abs=1e-6)
    assert abs(found.dual.value - bound) <= 0.003 + 4 * found.dual.standard_error
    assert found.joint_race <= found.dual.value <= found.limit


@pytest.mark.parametrize("pair", [(P, Q), THREE])
def test_the_dual_s_own_rule_attains_the_bound(pair):
    """Emitting what attains the maximum is unbiased, accepts 1 - TV, and scores what the bound says."""
    c, count, rng = full_efficiency(RacePair(*pair)), 200_000, np.random.default_rng(1)
    p, q = pair
    e = rng.standard_exponential((count, len(p)))
    j, rows = np.argmin(e / q, axis=1), np.arange(count)
    score = -np.log(-np.expm1(-e))
    allowed = np.broadcast_to(p > q, e.shape).copy()
    allowed[rows, j] = True
    value = np.where(allowed, score + c, -np.inf)
    w = np.where(p[j] < q[j], np.argmax(value, axis=1), j)
    # The solver's quadrature may be off by 1e-3.
    law = np.bincount(w, minlength=len(p)) / count
    assert np.all(np.abs(law - p) <= 1e-3 + Z * np.sqrt(p * (1 - p) / count))
    accepted = np.mean(w == j)
    assert abs(accepted - np.minimum(p, q).sum()) <= 1e-3 + Z * np.sqrt(accepted * (1 - accepted) / count)
    emitted, bound = score[rows, w], race_limit(p, q).dual
    error = np.hypot(emitted.std() / np.sqrt(count), bound.standard_error)
    assert abs(emitted.mean() - bound.value) <= 2e-3 + Z * error


@pytest.mark.parametrize("pair", [THREE, TWO])
def test_a_threshold_attains_it_where_one_token_is_under_drafted(pair):
    found = race_limit(*pair)
    assert abs(threshold_rule_score(*pair) - found.dual.value) <= 3e-4 + Z * found.dual.standard_error


@pytest.mark.parametrize("pair", [(P, Q), THREE, TWO, FLAT, zipf(20, 0)])
def test_a_threshold_lies_between_the_joint_race_and_the_bound(pair):
    found, score = race_limit(*pair), threshold_rule_score(*pair)
    # The quadrature of the threshold may be off by 2e-4.
    assert found.joint_race - 2e-4 <= score <= found.limit + 2e-4


def test_two_tokens_allow_more_than_no_speculation_has():
    """Gumbel-max is not the best rule for Aaronson's score; speculation of two tokens reaches the best."""
    pair = RacePair(*TWO)
    found = race_limit(*TWO)
    assert pair.gumbel_score == pytest.approx(1.255242, abs=1e-6)
    assert abs(best_of_all(TWO[0]) - found.dual.value) <= 3e-4 + Z * found.dual.standard_error


@pytest.mark.parametrize(("n", "seed"), [(50, 0), (50, 1), (200, 2), (200, 3), (600, 4)])
def test_the_joint_race_keeps_nearly_all_of_it(n, seed):
    found = race_limit(*zipf(n, seed), races=4_000)
    assert 0.99 * found.limit <= found.joint_race <= found.limit


@settings(max_examples=25, deadline=None)
@given(pairs())
def test_every_pair_has_a_bound(pair):
    found = race_limit(*pair, races=200, iterations=20)
    most = np.minimum(*pair).sum()
    curve = race_limit_curve(*pair, [0.0, most], races=200, iterations=5, prices=(0.0, 1.0))
    # No race makes the excess over the joint race negative.
    assert found.joint_race - 1e-9 <= found.dual.value <= found.limit < np.inf
    assert np.all(curve.dual.value <= curve.limit)
    assert np.all(np.isfinite(curve.limit))


@pytest.mark.parametrize("iterations", [0, 3])
def test_potentials_that_are_not_optimal_give_a_bound_all_the_same(iterations):
    weak, best = race_limit(P, Q, iterations=iterations), race_limit(P, Q)
    error = np.hypot(weak.dual.standard_error, best.dual.standard_error)
    assert weak.dual.value > best.dual.value - Z * error
    assert race_limit(P, Q, iterations=0).dual.value > best.dual.value + 0.01


def test_equal_laws_leave_nothing_to_bound():
    found = race_limit(P, P)
    assert found.dual.standard_error == 0
    assert found.limit == found.joint_race == pytest.approx(RacePair(P, P).gumbel_score, abs=1e-12)
    curve = race_limit_curve(P, P, [1.0], races=400)
    assert curve.dual.value[0] == pytest.approx(found.limit, abs=1e-12)


def test_a_point_mass_for_a_draft_gives_the_joint_race_the_score_of_no_speculation():
    known = RacePair(P, np.eye(10)[3])
    assert known.joint_score == pytest.approx(known.gumbel_score, abs=1e-9)


def test_interpolation_of_replacements_is_exact():
    p, q = zipf(1_000, 5)
    known = RacePair(p, q)
    some = RacePair(p, q).over[::50]
    a = p[some] / q[some]
    # More than there are nodes.
    assert len(known.over) > 300
    assert known.replaced_score[::50] == pytest.approx(known.replaced_score_at(1 - a), abs=1e-9)


def test_the_curve_has_the_ends_that_are_known():
    known = RacePair(P, Q)
    at = np.array([0, known.agreement, 0.65, 0.68, 0.695, known.overlap])
    curve = race_limit_curve(P, Q, at)
    assert np.all(np.diff(curve.limit) <= 0)
    slopes = np.diff(curve.limit[1:]) / np.diff(at[1:])
    assert np.all(np.diff(slopes) <= 1e-12)
    assert np.all(curve.dual.value < curve.limit)
    # Without a constraint: the best of all rules, a little above Gumbel-max.
    assert abs(curve.dual.value[0] - best_of_all(P)) <= 2e-4 + Z * curve.dual.standard_error[0]
    assert known.gumbel_score == pytest.approx(2.788965, abs=1e-6)
    assert curve.limit[1] >= known.gumbel_score
    # With all of it: the bound of rules that accept as often as any can.
    full = race_limit(P, Q)
    error = np.hypot(full.dual.standard_error, curve.dual.standard_error[-1])
    assert abs(curve.dual.value[-1] - full.dual.value) <= Z * error
    # Mixtures of no speculation and the joint race are rules too.
    chord = np.interp(at[1:], [known.agreement, known.overlap], [known.gumbel_score, known.joint_score])
    assert np.all(curve.limit[1:] >= chord)
    assert np.all(curve.limit[2:-1] > chord[1:-1] + 0.005)


def test_high_prices_lead_to_full_efficiency():
    """The line of a high price, at efficiency 1 - TV, is the bound of rules that accept 1 - TV."""
    known, full = RacePair(P, Q), race_limit(P, Q)
    # Just below 1 - TV only lines count.
    curve = race_limit_curve(P, Q, [known.overlap - 1e-7], prices=(*PRICES, 6.0, 8.0), iterations=100)
    error = np.hypot(full.dual.standard_error, curve.dual.standard_error[0])
    assert abs(curve.dual.value[0] - full.dual.value) <= 2e-3 + Z * error


def test_several_positions_have_the_mean_of_their_bounds():
    p, q = np.stack([P, Q]), np.stack([Q, P])
    both, first, second = race_limit(p, q), race_limit(P, Q, seed=1), race_limit(Q, P, seed=2)
    assert both.joint_race == pytest.approx((first.joint_race + second.joint_race) / 2, abs=1e-12)
    error = np.hypot(first.dual.standard_error, second.dual.standard_error) / 2
    assert both.dual.standard_error == pytest.approx(error, rel=0.1)
    mean = (first.dual.value + second.dual.value) / 2
    assert_within(both.dual.value, mean, np.hypot(error, both.dual.standard_error))
    with ThreadPoolExecutor(2) as executor:
        assert race_limit(p, q, executor=executor) == both


def test_tokens_that_are_rare_in_both_are_left_out():
    p, q = np.append(0.9995 * P, [0.0005, 0]), np.append(0.9995 * Q, [0, 0.0005])
    assert race_limit(p, q, least=1e-3).joint_race == pytest.approx(2.742585, abs=1e-6)
    assert race_limit(p, q, races=400).joint_race > 2.743


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"races": 99}, "races=99"),
        ({"iterations": -1}, "iterations=-1"),
        ({"level": 0.5}, r"level=0\.5"),
        ({"least": 1.0}, r"least=1\.0"),
        ({"least": 0.9}, r"least=0\.9 leaves no token"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        race_limit(P, Q, **options)


def test_bad_curves_are_refused():
    with pytest.raises(ValueError, match=r"1 - TV = 0\.7"):
        race_limit_curve(P, Q, [0.71])
    with pytest.raises(ValueError, match="efficiencies"):
        race_limit_curve(P, Q, [-0.1])
    with pytest.raises(ValueError, match="prices"):
        race_limit_curve(P, Q, [0.7], prices=(-1.0,))
    with pytest.raises(ValueError, match="prices"):
        race_limit_curve(P, Q, [0.7], prices=())
    with pytest.raises(DistributionError):
        race_limit(2 * P, Q)
