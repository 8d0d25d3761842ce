"""Definition 3.2 by linear programmes against direct search; frontiers and hulls against brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.support import P, Q, pairs
from tradeoff.curves.linear import (
    LinearEfficiency,
    gamma_for_strength,
    linear_efficiency,
    linear_strength,
    most_efficient,
    strongest,
)
from tradeoff.curves.setting import Setting
from tradeoff.decoders import SynthID
from tradeoff.decoders.races import race_coupling
from tradeoff.errors import SolverError
from tradeoff.laws import entropy, overlap


@given(pairs(), st.floats(0, 1), st.floats(0, 1))
def test_efficiency_is_its_definition(pair, gamma, theta):
    """E sum min(P_zeta^gamma, Q_zeta^theta) over every pair of draws, from pi_ii and marginals alone."""
    p, q = pair
    joint, n = race_coupling(p, q), len(p)
    laws = (1 - gamma) * p + gamma * np.eye(n)
    drafts = (1 - theta) * q + theta * np.eye(n)
    expected = sum(joint[i, j] * overlap(laws[i], drafts[j]) for i in range(n) for j in range(n))
    assert linear_efficiency(Setting(p, q))(gamma, theta) == pytest.approx(expected, abs=1e-12)


@given(pairs(), st.floats(0, 1))
def test_direct_search_finds_the_maximum(pair, gamma):
    """No break point of the piecewise linear function, and no grid point, is better."""
    p, q = pair
    search = linear_efficiency(Setting(p, q))
    theta, best = search.best_theta(gamma)
    assert 0 <= theta <= 1
    assert best == pytest.approx(search(gamma, theta), abs=0)
    assert all(search(gamma, other) <= best + 1e-12 for other in np.linspace(0, 1, 201))


@given(pairs(), st.floats(0, 1))
@settings(max_examples=40)
def test_linear_programme_equals_direct_search(pair, gamma):
    search = linear_efficiency(Setting(*pair))
    theta, value = search.best_theta_lp(gamma)
    assert value == pytest.approx(search.best_theta(gamma)[1], abs=1e-8)
    assert search(gamma, theta) == pytest.approx(value, abs=1e-8)


def test_linear_programme_on_sampled_laws_equals_direct_search():
    """Decoders that are not degenerate: the sample average over seeds, one term per token and seed."""
    rng = np.random.default_rng(0)
    bits = SynthID(6).draw(rng, (60,), 10)
    search = LinearEfficiency.of_laws(P, Q, SynthID(6)(P, bits), SynthID(6)(Q, bits))
    for gamma in (0.2, 0.6, 1.0):
        assert search.best_theta_lp(gamma)[1] == pytest.approx(search.best_theta(gamma)[1], abs=1e-8)


@given(pairs(), st.floats(0, 1))
@settings(max_examples=30)
def test_definition_3_2_the_strongest_scheme_is_feasible_and_unbeaten(pair, share):
    p, q = pair
    setting = Setting(p, q)
    search = linear_efficiency(setting)
    least, most = search.best_theta(1.0)[1], search(0.0, 0.0)
    requirement = least + share * (most - least)
    point = strongest(setting, requirement)
    assert point.efficiency >= requirement - 1e-12
    assert point.efficiency == pytest.approx(search.best_theta(point.gamma)[1], abs=1e-12)
    assert point.strength == pytest.approx(float(linear_strength(p, point.gamma)), abs=1e-12)
    # Every stronger scheme misses the requirement; best_theta is the independent direct search.
    slope = max(most - least, 1e-3)
    for gamma in np.linspace(point.gamma, 1, 12)[1:]:
        if gamma > point.gamma + 1e-6:
            assert search.best_theta(gamma)[1] <= requirement + 1e-8 * (1 + 1 / slope)


@given(pairs(), st.floats(0.001, 1))
@settings(max_examples=30)
def test_equation_10_and_definition_3_2_are_inverse(pair, gamma):
    p, q = pair
    setting = Setting(p, q)
    strength = float(linear_strength(p, gamma))
    point = most_efficient(setting, strength)
    assert point.strength == pytest.approx(strength, abs=1e-9)
    assert point.efficiency == pytest.approx(linear_efficiency(setting).best_theta(point.gamma)[1], abs=1e-8)
    again = strongest(setting, max(min(point.efficiency, float(overlap(p, q))) - 1e-8, 0.0))
    assert again.strength >= strength - 1e-6


def test_requirements_out_of_reach_say_what_is_possible():
    setting = Setting(P, Q)
    with pytest.raises(ValueError, match=r"efficiency=0.71 .*0\.7.*Lemma 3.1"):
        strongest(setting, 0.71)
    with pytest.raises(ValueError, match=r"strength=3 is outside \[0, 2.14662\]"):
        most_efficient(setting, 3.0)
    with pytest.raises(ValueError, match="solved for degenerate decoders; use gumbel"):
        strongest(Setting(P, Q, SynthID(30), SynthID(30)), 0.65)


def test_a_slack_requirement_still_gets_the_most_efficient_scheme():
    setting = Setting(P, Q)
    for requirement in (0.0, 0.3, 0.6, float(setting.agreement.value) - 1e-9):
        point = strongest(setting, requirement)
        assert point.strength == pytest.approx(entropy(P), abs=1e-7)
        assert point.efficiency == pytest.approx(setting.agreement.value, abs=1e-8)


def test_ends_of_definition_3_2():
    setting = Setting(P, Q)
    assert strongest(setting, 0.0).strength == pytest.approx(entropy(P), abs=1e-7)
    # The weakest watermarks are free (no minimum changes sides), so that full efficiency has some strength.
    free = strongest(setting, 0.7)
    assert free.efficiency == pytest.approx(0.7, abs=1e-8)
    assert free.strength > 0.005
    assert linear_efficiency(setting).best_theta(free.gamma + 1e-3)[1] < 0.7 - 1e-6
    assert most_efficient(setting, 0.0).efficiency == pytest.approx(0.7, abs=1e-9)
    assert most_efficient(setting, float(entropy(P))).efficiency == pytest.approx(
        setting.agreement.value, abs=1e-8
    )


def test_settled_tournaments_solve_definition_3_2_too():
    setting = Setting(P, Q, SynthID(math.inf), SynthID(math.inf), seeds=20_000)
    point = strongest(setting, 0.65)
    assert 0.65 - 1e-12 <= point.efficiency < 0.65 + 1e-8
    assert 0.4 < point.strength < 0.7


@given(st.floats(0, 1))
def test_gamma_of_a_strength_is_unique(gamma):
    strength = float(linear_strength(P, gamma))
    assert linear_strength(
        P, gamma_for_strength(lambda g: float(linear_strength(P, g)), strength)
    ) == pytest.approx(strength, abs=1e-12)


def test_where_theta_changes_nothing_it_is_0():
    assert LinearEfficiency.of_pairs(np.ones(1), np.ones(1), np.ones(1)).best_theta(0.5) == (0.0, 1.0)


def test_the_smallest_best_theta_is_reported():
    """At gamma = 0 every theta up to the first change of sides keeps 1 - TV; 0 is the plain draft."""
    assert linear_efficiency(Setting(P, Q)).best_theta(0.0) == (0.0, pytest.approx(0.7, abs=1e-12))


def test_definition_3_2_at_vocabulary_size():
    """Thousands of tokens: feasible to rounding, and no larger gamma is."""
    rng = np.random.default_rng(7)
    p = rng.dirichlet(np.full(2_000, 0.05))
    q = (p + rng.dirichlet(np.full(2_000, 0.05))) / 2
    search = linear_efficiency(Setting(p, q))
    requirement = (search.best_theta(1.0)[1] + search(0.0, 0.0)) / 2
    point = strongest(Setting(p, q), requirement)
    assert requirement - 1e-12 <= point.efficiency < requirement + 1e-9
    assert search.best_theta(point.gamma + 1e-9)[1] < requirement


def test_a_failing_solver_does_not_fail_definition_3_2(monkeypatch):
    expected = strongest(Setting(P, Q), 0.65)

    def fail(*_):
        raise SolverError("no luck")

    monkeypatch.setattr(LinearEfficiency, "largest_gamma", fail)
    assert strongest(Setting(P, Q), 0.65).gamma == pytest.approx(expected.gamma, abs=1e-12)
