"""Biased decoders: strength is information plus distortion, exactly by every way there is."""

from __future__ import annotations

import itertools
import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.support import P, Q, assert_within, distributions, pairs
from tradeoff.curves import Setting, watermark_strength
from tradeoff.curves.biased import decomposition, green_mass
from tradeoff.curves.biased.decomposition import (
    biased_efficiency,
    decompose,
    distortion,
    mutual_information,
)
from tradeoff.curves.biased.green_mass import Lists, every_list, lists_of, mean_over_lists
from tradeoff.curves.measures import sampling_efficiency
from tradeoff.decoders import KGW, Completed, GumbelMax, Identity, SynthID, heavy_water
from tradeoff.laws import entropy, kl_divergence, overlap, total_variation

HARD = KGW(math.inf)
DELTAS = st.sampled_from([0.01, 0.5, 1.0, 2.0, 5.0, 20.0, math.inf])
GAMMAS = st.sampled_from([0.05, 0.25, 0.5, 0.9])


def by_hand(p: np.ndarray, delta: float, gamma: float, size: int | None = None):
    """P_zeta of every list from the formula of the paper, [lists, n], and the lists' probabilities."""
    n, laws, weights = len(p), [], []
    for green in itertools.product((0, 1), repeat=n):
        count = sum(green)
        if size is None:
            weight = gamma**count * (1 - gamma) ** (n - count)
        else:
            weight = 1 / math.comb(n, size) if count == size else 0.0
        mass = float(p @ np.array(green))
        if math.isinf(delta):
            law = p * np.array(green) / mass if mass > 0 else p
        else:
            tilted = p * np.exp(delta * np.array(green))
            law = tilted / tilted.sum()
        laws.append(law)
        weights.append(weight)
    return np.array(laws), np.array(weights)


@given(p=distributions(max_n=6), delta=DELTAS, gamma=GAMMAS, fixed=st.booleans())
def test_strength_is_information_and_distortion(p, delta, gamma, fixed) -> None:
    """E KL(P_zeta || P) = I(w; zeta) + KL(mean || P), each from its own definition over all lists."""
    laws, weight = by_hand(p, delta, gamma, int(gamma * len(p)) if fixed else None)
    joint = weight[:, None] * laws
    mean = joint.sum(axis=0)
    held = joint > 0
    ratio = np.where(held, laws / np.where(mean > 0, mean, 1.0), 1.0)
    information = float((joint * np.log(ratio)).sum())
    found = decompose(p, KGW(delta, gamma), lists="fixed" if fixed else "independent")
    assert found.exact
    assert found.information.value == pytest.approx(information, abs=1e-12)
    assert found.distortion.value == pytest.approx(float(kl_divergence(mean, p)), abs=1e-12)
    assert found.strength.value == pytest.approx(float(weight @ kl_divergence(laws, p)), abs=1e-12)
    assert found.strength.value == pytest.approx(found.information.value + found.distortion.value, abs=1e-12)
    np.testing.assert_allclose(found.mean, mean, atol=1e-14)


@given(p=distributions(max_n=6), delta=DELTAS, gamma=GAMMAS)
def test_completed_strength_is_a_cross_entropy(p, delta, gamma) -> None:
    """The token is a function of the key: E KL(point mass || P) = -sum mean log P = Ent(mean) + KL(mean ||
    P)."""
    inner = decompose(p, KGW(delta, gamma))
    found = decompose(p, Completed(KGW(delta, gamma)))
    surprise = float(-(inner.mean[p > 0] @ np.log(p[p > 0])))
    assert found.strength.value == pytest.approx(surprise, abs=1e-11)
    assert found.information.value == pytest.approx(float(entropy(inner.mean)), abs=1e-12)
    assert found.distortion.value == inner.distortion.value
    assert found.strength.value >= inner.strength.value - 1e-12


@given(
    p=distributions(max_n=10),
    delta=st.floats(1e-3, 80),
    gamma=st.floats(0.01, 0.99),
    most=st.sampled_from([None, 1, 3]),
)
def test_integrals_are_the_sums_over_all_lists(p, delta, gamma, most) -> None:
    """The integral of one variable, at any number of tokens, is what all lists give at few."""
    found = mean_over_lists(p, gamma, [delta, 1.0], most)
    every = every_list(gamma, p > 0, Lists.INDEPENDENT)
    assert found is not None
    assert every is not None
    green, weight = every
    for row, d in enumerate((delta, 1.0)):
        laws = KGW(d, gamma, most)(np.broadcast_to(p, green.shape), lists_of(green))
        strength = float(weight @ kl_divergence(laws, p))
        assert found.strength[row] == pytest.approx(strength, abs=1e-11 * (1 + d))
        np.testing.assert_allclose(found.mean[row], weight @ laws, atol=1e-11)


def test_integrals_at_the_size_of_a_vocabulary() -> None:
    """Beyond what can be enumerated, against simulation."""
    p = np.random.default_rng(0).dirichlet(np.full(400, 0.05))
    exact = decompose(p, KGW(3.0))
    assert exact.exact
    with patch.object(decomposition, "_exact_means", lambda *_: None):
        found = decompose(p, KGW(3.0), seeds=5_000)
    assert not found.exact
    for name in ("strength", "information", "distortion"):
        one, other = getattr(found, name), getattr(exact, name)
        assert one.standard_error > 0 == other.standard_error
        assert_within(one.value, other.value, one.standard_error)


@pytest.mark.parametrize("lists", list(Lists))
@pytest.mark.parametrize(
    "decoder", [KGW(2.0), HARD, KGW(2.0, most=3), Completed(KGW(2.0)), Completed(HARD)], ids=lambda d: d.name
)
def test_simulation_agrees_with_all_lists(decoder, lists) -> None:
    exact = decompose(P, decoder, lists=lists)
    with patch.object(decomposition, "_exact_means", lambda *_: None):
        found = decompose(P, decoder, lists=lists, seeds=40_000, rng=1)
    for name in ("strength", "information", "distortion"):
        one = getattr(found, name)
        assert_within(one.value, getattr(exact, name).value, one.standard_error)


def test_without_its_correction_a_plug_in_divergence_is_too_large() -> None:
    """The correction is needed: few seeds add more to the plain plug-in than its standard error."""
    p = np.full(200, 1 / 200)
    assert decompose(p, KGW(3.0)).distortion.value < 1e-9
    with patch.object(decomposition, "_exact_means", lambda *_: None):
        found = decompose(p, KGW(3.0), seeds=400)
    plain = float(kl_divergence(found.mean, p))
    assert plain > 1e-3
    assert abs(found.distortion.value) < plain / 4


@given(pair=pairs(max_n=6), delta=DELTAS, gamma=GAMMAS)
def test_efficiency_is_that_of_all_lists_and_below_that_of_the_means(pair, delta, gamma) -> None:
    """E sum min(P_zeta, Q_zeta) <= 1 - TV(E Q_zeta, E P_zeta), by concavity."""
    p, q = pair
    decoder = KGW(delta, gamma)
    of_p, weight = by_hand(p, delta, gamma)
    of_q, _ = by_hand(q, delta, gamma)
    found = biased_efficiency(p, q, decoder)
    assert found.standard_error == 0
    assert found.value == pytest.approx(float(weight @ overlap(of_p, of_q)), abs=1e-12)
    means = [decompose(law, decoder).mean for law in (p, q)]
    assert found.value <= 1 - float(total_variation(*means)) + 1e-12
    assert sampling_efficiency(p, q, decoder).value == pytest.approx(found.value, abs=1e-12)


def test_a_shared_list_can_accept_more_than_no_watermark() -> None:
    """1 - TV(Q, P) bounds unbiased pairs (Lemma 3.1), and not these."""
    assert biased_efficiency(P, Q, KGW(2.0)).value > float(overlap(P, Q)) + 0.03
    alone = biased_efficiency(P, Q, KGW(2.0), Identity()).value
    assert alone < float(overlap(P, Q))


def test_simulated_efficiencies_agree_with_exact_ones() -> None:
    for lists in Lists:
        exact = biased_efficiency(P, Q, KGW(2.0), lists=lists)
        with patch.object(green_mass, "MOST_TOKENS", 5):
            found = biased_efficiency(P, Q, KGW(2.0), lists=lists, seeds=20_000)
        assert found.standard_error > 0
        assert_within(found.value, exact.value, found.standard_error)


def test_control_variates_of_biased_laws_are_left_out() -> None:
    """KGW against a draft under other lists is simulated, and its laws do not have the means P and Q."""
    draft = KGW(2.0, 0.5)
    of_p, p_weight = by_hand(P, 5.0, 0.25)
    of_q, q_weight = by_hand(Q, 2.0, 0.5)
    exact = float(np.mean([p_weight @ overlap(of_p, law) * w for law, w in zip(of_q, q_weight, strict=True)]))
    exact *= len(of_q)
    found = sampling_efficiency(P, Q, KGW(5.0), draft, seeds=40_000)
    assert_within(found.value, exact, found.standard_error)


def test_strength_of_biased_decoders_is_the_decompositions() -> None:
    for decoder in (KGW(2.0), Completed(KGW(2.0)), HARD, heavy_water(k=16, tilt=1.0)):
        assert watermark_strength(P, decoder).value == decompose(P, decoder).strength.value
    tilted = decompose(P, heavy_water(k=16, tilt=1.0))
    assert tilted.exact
    assert tilted.distortion.value > 1e-4
    total = tilted.information.value + tilted.distortion.value
    assert tilted.strength.value == pytest.approx(total, abs=1e-12)


def test_unbiased_decoders_have_no_distortion() -> None:
    for decoder in (GumbelMax(), SynthID(3), Identity(), heavy_water(k=16)):
        found = decompose(P, decoder, seeds=4_000)
        assert found.distortion.value == 0
        assert found.information == found.strength
    assert decompose(P, GumbelMax()).strength.value == pytest.approx(float(entropy(P)))


def test_measures() -> None:
    mean = decompose(P, KGW(2.0)).mean
    assert distortion(P, KGW(2.0)).value == pytest.approx(float(kl_divergence(mean, P)))
    assert distortion(P, KGW(2.0), "tv").value == pytest.approx(float(total_variation(mean, P)))
    assert mutual_information(P, KGW(2.0)).value < watermark_strength(P, KGW(2.0)).value


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distortion(P, KGW(), "l2"), "measure='l2' is unknown; use one of kl, tv"),
        (
            lambda: distortion(np.full(40, 1 / 40), HARD, "tv", seeds=100),
            "measure='tv' needs the exact mean",
        ),
        (lambda: decompose(P, KGW(), lists="some"), "lists='some' is unknown; use one of independent, fixed"),
        (lambda: decompose(P, GumbelMax(), lists="fixed"), "lists='fixed' is for red and green lists"),
        (lambda: decompose(np.stack([P, Q]), KGW()), "pass one distribution"),
        (lambda: biased_efficiency(P, Q, KGW(), GumbelMax(), lists="fixed"), "lists='fixed' is for"),
        (lambda: Setting(P, Q, Completed(KGW()), GumbelMax()), "is a biased decoder of point masses"),
    ],
)
def test_what_cannot_be_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
