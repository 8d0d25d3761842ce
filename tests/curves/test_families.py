"""Curves of every class against brute-force enumeration and simulation of the laws that define them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.support import P, Q, Z, assert_within, pairs
from tradeoff.curves import splicing
from tradeoff.curves.families import CLASSES, curve
from tradeoff.curves.linear import linear_strength
from tradeoff.curves.measures import google_end_point_strength, hu_end_point_strength
from tradeoff.curves.monte_carlo import simulate
from tradeoff.curves.setting import Setting
from tradeoff.decoders import GumbelMax, Identity, SynthID
from tradeoff.decoders.races import race_coupling
from tradeoff.errors import DistributionError
from tradeoff.laws import acceptance_probability, entropy, excess, kl_divergence, overlap

INFINITE = SynthID(math.inf)
GAMMA = np.array([0.0, 0.005, 0.3, 0.7, 1.0])


def brute_force(name, p, q, joint, gamma, theta):
    """Efficiency and strength of one point by enumerating every pair of draws (and the residual's)."""
    n = len(p)
    eye, a, rest = np.eye(n), acceptance_probability(p, q), excess(p, q, empty="zero")
    efficiency = strength = 0.0
    for i in range(n):
        for j in range(n):
            if joint[i, j] == 0:
                continue
            if name == "linear":
                laws = [(1.0, (1 - gamma) * p + gamma * eye[i])]
                draft = (1 - theta) * q + theta * eye[j]
            else:
                draft = eye[j]
                residuals = [(1.0, rest)] if name == "hu" else list(zip(rest, eye, strict=True))
                if rest.sum() == 0:
                    residuals = [(1.0, rest)]
                laws = [
                    (weight, (1 - gamma) * (a[j] * eye[j] + (1 - a[j]) * tail) + gamma * eye[i])
                    for weight, tail in residuals
                ]
            for weight, law in laws:
                mass = joint[i, j] * weight
                if mass > 0:
                    strength += mass * kl_divergence(law, p)
            mean = sum(weight * law for weight, law in laws)
            efficiency += joint[i, j] * overlap(mean, draft)
    return efficiency, strength


@given(pairs(max_n=5), st.sampled_from(["linear", "hu", "google"]))
@settings(max_examples=50)
def test_gumbel_curves_are_their_enumeration(pair, name):
    p, q = pair
    c = curve(name, Setting(p, q), GAMMA)
    assert np.all(c.efficiency_error == 0)
    assert np.all(c.strength_error == 0)
    joint = race_coupling(p, q)
    for k, gamma in enumerate(GAMMA):
        efficiency, strength = brute_force(name, p, q, joint, gamma, c.theta[k])
        assert c.efficiency[k] == pytest.approx(efficiency, abs=1e-9)
        assert c.strength[k] == pytest.approx(strength, abs=1e-9)


@given(pairs(max_n=5), st.sampled_from(["linear", "hu", "google"]))
@settings(max_examples=25)
def test_independent_degenerate_decoders_are_their_enumeration(pair, name):
    """Different decoders for draft and target, which share no randomness."""
    p, q = pair
    c = curve(name, Setting(p, q, GumbelMax(), INFINITE), GAMMA)
    for k, gamma in enumerate(GAMMA):
        efficiency, strength = brute_force(name, p, q, np.outer(p, q), gamma, c.theta[k])
        assert c.efficiency[k] == pytest.approx(efficiency, abs=1e-9)
        assert c.strength[k] == pytest.approx(strength, abs=1e-9)


@given(pairs())
def test_every_class_keeps_the_bounds(pair):
    """Lemma 3.1 and Theorem 3.2: efficiency in [0, 1-TV], strength in [0, Ent(P)]; and the end points."""
    p, q = pair
    setting = Setting(p, q)
    sse, most = overlap(p, q), entropy(p)
    for name in CLASSES:
        c = curve(name, setting, GAMMA)
        assert np.all((c.efficiency >= -1e-12) & (c.efficiency <= sse + 1e-10))
        assert np.all((c.strength >= -1e-10) & (c.strength <= most + 1e-10))
        assert c.efficiency[0] == pytest.approx(sse, abs=1e-12)
        assert c.efficiency[-1] == pytest.approx(np.trace(race_coupling(p, q)), abs=1e-10)
        assert c.strength[-1] == pytest.approx(most, abs=1e-10)
    assert curve("hu", setting, [0]).strength[0] == pytest.approx(
        float(hu_end_point_strength(p, q)), abs=1e-10
    )
    assert curve("google", setting, [0]).strength[0] == pytest.approx(
        float(google_end_point_strength(p, q)), abs=1e-10
    )
    assert curve("linear", setting, [0]).strength[0] == 0


@given(pairs(zeros=False))
def test_a_weak_linear_watermark_is_free(pair):
    """As long as no minimum changes sides, E min(P_zeta^gamma, Q_zeta^theta) = min(P, Q): the linear
    class keeps 1 - TV at small positive strength."""
    p, q = pair
    gap = np.abs(p - q)
    if gap.min() < 1e-3:
        return
    # |P^gamma - P| <= gamma, and at theta = gamma the draft moves as little.
    gamma = gap.min() / 2
    c = curve("linear", Setting(p, q), [gamma])
    assert c.efficiency[0] == pytest.approx(overlap(p, q), abs=1e-12)
    assert c.strength[0] > 0 or len(p) == 1


def test_time_sharing_is_the_chord_and_does_not_always_dominate_the_linear_class():
    """On the paper's pair the chord is stronger at every efficiency below 0.69. It is not at every P and
    Q: for a flat target the linear class is free up to gamma = 0.25, and stronger than the chord there."""
    chord = curve("time-sharing", Setting(P, Q), [0, 1])
    linear = curve("linear", Setting(P, Q))
    inside = (linear.efficiency < 0.69) & (linear.gamma < 1)
    assert inside.sum() > 20
    at_equal_efficiency = np.interp(linear.efficiency[inside], chord.efficiency[::-1], chord.strength[::-1])
    assert np.all(linear.strength[inside] < at_equal_efficiency)

    p, q = np.full(3, 1 / 3), np.array([0.665, 0.245, 0.09])
    weak = curve("linear", Setting(p, q), [0.25])
    chord = curve("time-sharing", Setting(p, q), [0, 1])
    assert weak.efficiency[0] == pytest.approx(chord.efficiency[0], abs=1e-12)
    assert weak.strength[0] > 0.02 > chord.strength[0] == 0


@given(pairs())
def test_google_is_at_least_as_strong_as_hu(pair):
    p, q = pair
    setting = Setting(p, q)
    assert np.all(curve("google", setting, GAMMA).strength >= curve("hu", setting, GAMMA).strength - 1e-10)


@pytest.mark.parametrize("name", list(CLASSES))
def test_the_race_sampled_like_any_decoder_gives_the_exact_curve(name):
    """The Monte Carlo path for pairs, on a law that is known (10 comparisons a class)."""
    exact = Setting(P, Q)
    sampled = Setting(P, Q, seeds=60_000, seed=1)
    from tradeoff.curves.pairs import sample_pairs

    sample = sample_pairs(P, Q, GumbelMax(), GumbelMax(), seeds=60_000, rng=np.random.default_rng(1))
    sampled.__dict__["pairs"] = sample
    if name == "time-sharing":
        sampled.__dict__["agreement"] = sampled.diagonal_mean(np.ones((1, 10)))
    a, b = curve(name, exact, GAMMA), curve(name, sampled, GAMMA)
    for k in range(len(GAMMA)):
        assert_within(b.efficiency[k], a.efficiency[k], b.efficiency_error[k] + 1e-6)
        assert_within(b.strength[k], a.strength[k], b.strength_error[k])


@pytest.mark.parametrize("name", list(CLASSES))
def test_simulated_laws_give_the_settled_curve(name):
    """The path for non-degenerate decoders, on SynthID(400), which has settled: it must agree with
    m = infinity."""
    gamma = np.array([0.0, 0.5, 1.0])
    settled = curve(name, Setting(P, Q, INFINITE, INFINITE, 40_000, 2), gamma)
    laws = curve(name, Setting(P, Q, SynthID(400), SynthID(400), 4_000, 3), gamma)
    for k in range(3):
        efficiency_error = math.hypot(settled.efficiency_error[k], laws.efficiency_error[k])
        strength_error = math.hypot(settled.strength_error[k], laws.strength_error[k])
        # theta is optimised on another sample on either side, which costs second-order amounts.
        assert abs(laws.efficiency[k] - settled.efficiency[k]) <= Z * efficiency_error + 5e-4
        assert_within(laws.strength[k], settled.strength[k], strength_error)


def test_synthid_references():
    """Google's class, m = 30, gamma = 0; all classes end alike."""
    setting = Setting(P, Q, SynthID(30), SynthID(30), seeds=50_000)
    c = curve("google", setting, [0, 1])
    assert_within(c.strength[0], 1.6557, math.hypot(c.strength_error[0], 0.0007))
    assert c.efficiency[0] == pytest.approx(0.7, abs=1e-9)
    assert_within(c.strength[1], 1.8807, math.hypot(c.strength_error[1], 0.0006))
    assert_within(c.efficiency[1], 0.5919, math.hypot(c.efficiency_error[1], 0.0007))


def test_gumbel_references():
    setting = Setting(P, Q)
    linear = curve("linear", setting, [0.4, 0.8])
    assert linear.strength == pytest.approx([0.394353, 1.331955], abs=5e-7)
    assert linear.efficiency == pytest.approx([0.672828, 0.641435], abs=5e-7)
    assert linear.theta == pytest.approx([0.3727, 0.7909], abs=5e-5)
    hu, google = curve("hu", setting, [0, 0.5]), curve("google", setting, [0, 0.5])
    assert hu.strength == pytest.approx([1.448576, 1.563454], abs=5e-7)
    assert google.strength == pytest.approx([1.921687, 1.777743], abs=5e-7)
    assert hu.efficiency == pytest.approx([0.7, 0.662869], abs=5e-7)
    assert google.efficiency == pytest.approx(hu.efficiency, abs=1e-15)
    assert setting.agreement.value == pytest.approx(0.6257382074030019, abs=1e-12)


def test_quadrature_replaces_the_double_sum_of_hus_class(monkeypatch):
    """Full vocabularies sum the interior of Hu's class by Gauss quadrature; to 1e-10 of the double sum."""
    rng = np.random.default_rng(4)
    gamma = np.array([1e-3, 0.05, 0.5, 0.95])
    for concentration in (0.05, 1.0):
        p = rng.dirichlet(np.full(1500, concentration))
        q = (p + rng.dirichlet(np.full(1500, concentration))) / 2
        setting = Setting(p, q)
        fast = curve("hu", setting, gamma).strength
        monkeypatch.setattr(splicing, "_DIRECT_CELLS", 1 << 40)
        slow = curve("hu", setting, gamma).strength
        monkeypatch.undo()
        assert fast == pytest.approx(slow, abs=1e-10)


@given(pairs(), st.floats(0, 1))
def test_linear_strength_is_its_definition(pair, gamma):
    """E KL((1-gamma) P + gamma delta_i || P) over i ~ P."""
    p, _ = pair
    laws = (1 - gamma) * p + gamma * np.eye(len(p))
    expected = sum(p[i] * kl_divergence(laws[i], p) for i in range(len(p)) if p[i] > 0)
    assert linear_strength(p, gamma) == pytest.approx(expected, abs=1e-9)
    assert linear_strength(p, gamma) >= 0
    assert linear_strength(p, 0.0) == pytest.approx(0, abs=1e-15)


def test_corner_cases_work():
    """n = 1, P = Q, disjoint supports, zeros on either side: every class draws a finite curve."""
    cases = [
        ([1.0], [1.0]),
        (P, P),
        ([0.4, 0.6, 0, 0], [0, 0, 0.5, 0.5]),
        ([0.5, 0.5, 0], [0, 0.5, 0.5]),
        ([1.0, 0.0], [0.0, 1.0]),
    ]
    for p, q in cases:
        for decoder in (GumbelMax(), INFINITE, SynthID(3)):
            setting = Setting(p, q, decoder, decoder, seeds=400)
            for name in CLASSES:
                c = curve(name, setting, [0, 0.5, 1])
                values = np.concatenate([c.efficiency, c.strength, c.efficiency_error, c.strength_error])
                assert np.all(np.isfinite(values))
                assert c.efficiency[0] == pytest.approx(overlap(setting.p, setting.q), abs=1e-9)


def test_equal_models_lose_nothing():
    """P = Q: efficiency 1 at every strength up to Ent(P), in Hu's and Google's classes at once."""
    for name in ("hu", "google"):
        c = curve(name, Setting(P, P), GAMMA)
        assert c.efficiency == pytest.approx(np.ones(5), abs=1e-12)
        assert c.strength == pytest.approx(np.full(5, entropy(P)), abs=1e-12)


def test_without_a_target_watermark_there_is_no_strength():
    c = curve("linear", Setting(P, Q, Identity(), Identity(), seeds=100), [0, 0.5, 1])
    assert c.strength == pytest.approx(np.zeros(3), abs=1e-12)
    assert c.efficiency == pytest.approx(np.full(3, 0.7), abs=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="class 'pareto' is unknown; choose one of linear"):
        curve("pareto", Setting(P, Q))
    with pytest.raises(ValueError, match=r"gamma=\[0, 1.5\]"):
        curve("linear", Setting(P, Q), [0, 1.5])
    with pytest.raises(ValueError, match=r"gamma=\['a'\]"):
        curve("linear", Setting(P, Q), ["a"])
    with pytest.raises(ValueError, match="seed=-1"):
        Setting(P, Q, seed=-1)
    with pytest.raises(ValueError, match="target='gumbel' is not a decoder"):
        Setting(P, Q, "gumbel")
    with pytest.raises(DistributionError, match="different libraries"):
        Setting(torch.tensor(P), Q)
    with pytest.raises(ValueError, match="seeds=3"):
        Setting(P, Q, seeds=3)
    with pytest.raises(DistributionError, match="P has 10 tokens and Q has 9"):
        Setting(P, Q[:9] / Q[:9].sum())
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        Setting(np.full((2, 2), 0.5), np.full((2, 2), 0.5))


def test_default_curve_has_both_end_points():
    c = curve("google", Setting(P, Q))
    assert (c.gamma[0], c.gamma[-1], len(c.gamma)) == (0, 1, 41)
    assert c.name == "Google, Gumbel-max"
    mixed = curve("google", Setting(P, Q, GumbelMax(), INFINITE), [0, 1])
    assert mixed.name == "Google, Gumbel-max on target, SynthID (m = ∞) on draft"


def test_settings_take_torch_tensors_and_lists():
    for p, q in ((torch.tensor(P), torch.tensor(Q)), (P.tolist(), Q.tolist())):
        setting = Setting(p, q)
        assert isinstance(setting.p, np.ndarray)
        assert setting.agreement.value == pytest.approx(0.6257382074030019, abs=1e-12)


def test_time_sharing_uses_gamma_on_both_sides_and_carries_errors():
    c = curve("time-sharing", Setting(P, Q, SynthID(3), SynthID(3), seeds=2_000), [0, 0.5, 1])
    assert np.array_equal(c.theta, c.gamma)
    for error in (c.efficiency_error, c.strength_error):
        assert error[2] > 0
        assert error == pytest.approx(error[2] * c.gamma)


def test_theta_is_found_on_other_seeds_than_the_curve(monkeypatch):
    """An optimum evaluated on the seeds it was found on would be optimistic."""
    from tradeoff.curves import families

    states = []

    def spy(*arguments, rng, **options):
        states.append(np.random.default_rng(rng).bit_generator.state["state"]["state"])
        return simulate(*arguments, rng=rng, **options)

    monkeypatch.setattr(families, "simulate", spy)
    curve("linear", Setting(P, Q, SynthID(3), SynthID(3), seeds=200, seed=5), [0.5])
    assert len(set(states)) == len(states) == 2
