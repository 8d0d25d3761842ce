"""Definition 3.2 within a budget of distortion: certified, and what closed forms and other schemes say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from tests.helpers.support import P, Q
from tradeoff.curves import Setting, most_efficient_within, strongest_within
from tradeoff.curves.biased.decomposition import biased_efficiency, decompose
from tradeoff.curves.families import curve
from tradeoff.decoders import KGW, Completed
from tradeoff.laws import entropy, kl_divergence, overlap

SSE, MOST = float(overlap(P, Q)), float(entropy(P))
SURPRISE = -np.log(P)
#: Of an interior-point solver.
CLOSE = 1e-6


@pytest.mark.parametrize("measure", ["kl", "tv"])
def test_without_a_budget_it_is_the_optimum_of_unbiased_schemes(measure) -> None:
    """Theorem 4.1: strength Ent(P) at every efficiency up to 1 - TV(Q, P), which no class of curves
    exceeds."""
    for efficiency in (0.0, 0.5, SSE):
        found = strongest_within(P, Q, efficiency, 0.0, measure=measure)
        assert found.strength == pytest.approx(MOST, abs=1e-12)
        assert found.bound == pytest.approx(MOST, abs=1e-12)
    assert most_efficient_within(P, Q, MOST, 0.0, measure=measure).efficiency == pytest.approx(SSE, abs=1e-12)
    for family in ("linear", "time-sharing", "hu", "google"):
        points = curve(family, Setting(P, Q), [0.0, 0.5, 1.0])
        for efficiency, strength in zip(points.efficiency, points.strength, strict=True):
            bound = strongest_within(P, Q, min(float(efficiency), SSE), 0.0).bound
            assert strength <= bound + 1e-9
    with pytest.raises(ValueError, match=r"efficiency=0\.71 is more than any scheme reaches"):
        strongest_within(P, Q, 0.71, 0.0, measure=measure)


@pytest.mark.parametrize("measure", ["kl", "tv"])
def test_a_budget_left_small_changes_little(measure) -> None:
    """The programme goes continuously to its value without a budget."""
    found = strongest_within(P, Q, 0.6, 1e-7, measure=measure)
    assert MOST <= found.bound < MOST + 2e-3


@pytest.mark.parametrize("measure", ["kl", "tv"])
@pytest.mark.parametrize("draft", [0.0, 0.02])
def test_more_budget_never_buys_less_and_answers_are_certified(measure, draft) -> None:
    budgets = (0.0, 0.003, 0.03, 0.3)
    strongest = [strongest_within(P, Q, 0.68, b, draft_budget=draft, measure=measure) for b in budgets]
    fastest = [most_efficient_within(P, Q, 2.0, b, draft_budget=draft, measure=measure) for b in budgets]
    for b, one, other in zip(budgets, strongest, fastest, strict=True):
        assert one.strength == pytest.approx(one.bound, abs=CLOSE)
        assert other.efficiency == pytest.approx(other.bound, abs=CLOSE)
        for found in (one, other):
            assert found.distortion <= b + CLOSE
            assert found.draft_distortion <= draft + CLOSE
            assert found.efficiency == pytest.approx(float(overlap(found.target, found.draft)), abs=1e-12)
            assert found.strength == pytest.approx(float(SURPRISE @ found.target), abs=1e-12)
        assert one.efficiency >= 0.68 - CLOSE
        assert other.strength >= 2.0 - CLOSE
    assert (np.diff([one.strength for one in strongest]) > 0).all()
    assert (np.diff([one.efficiency for one in fastest]) > 0).all()


def test_random_schemes_stay_below_the_bound() -> None:
    """Laws R within the budget and as efficient as is asked, by rejection: none is stronger."""
    rng = np.random.default_rng(3)
    bound = strongest_within(P, Q, 0.68, 0.05).bound
    near = P * np.exp(0.3 * rng.standard_normal((100_000, len(P))))
    near /= near.sum(axis=-1, keepdims=True)
    fits = (kl_divergence(near, P) <= 0.05) & (overlap(near, Q) >= 0.68)
    assert fits.sum() > 1_000
    strengths = near[fits] @ SURPRISE
    assert strengths.max() <= bound + 1e-9
    assert strengths.max() > bound - 0.05


@pytest.mark.parametrize("budget", [0.01, 0.1, 0.5])
def test_the_strongest_law_within_a_divergence_is_a_power_of_p(budget) -> None:
    """Without an efficiency it maximises a linear function in a ball of KL: R ~ P^(1-s), by its
    multiplier."""

    def power(s: float) -> np.ndarray:
        law = P ** (1 - s)
        return law / law.sum()

    s = brentq(lambda s: float(kl_divergence(power(s), P)) - budget, 0, 20)
    found = strongest_within(P, Q, 0.0, budget)
    np.testing.assert_allclose(found.target, power(s), atol=1e-4)
    assert found.bound == pytest.approx(float(SURPRISE @ power(s)), abs=CLOSE)


@pytest.mark.parametrize("budget", [0.01, 0.2, 0.4])
def test_the_strongest_law_within_a_variation_moves_mass_to_the_rarest_token(budget) -> None:
    """Mass is taken from the most probable tokens in turn, as their surprise is least."""
    left, law = budget, P.copy()
    for token in np.argsort(-P):
        taken = min(left, law[token])
        law[token] -= taken
        left -= taken
    law[P.argmin()] += budget
    found = strongest_within(P, Q, 0.0, budget, measure="tv")
    assert found.bound == pytest.approx(float(SURPRISE @ law), abs=CLOSE)
    fastest = most_efficient_within(P, Q, 0.0, budget, measure="tv")
    assert fastest.efficiency == pytest.approx(min(1.0, SSE + budget), abs=CLOSE)


@pytest.mark.parametrize("delta", [0.5, 2.0, 5.0, np.inf])
@pytest.mark.parametrize("lists", ["independent", "fixed"])
def test_lists_stay_below_it_plain_and_completed(delta, lists) -> None:
    """With the budgets that they spend on target and draft; without one for drafts they are above."""
    decoder = KGW(float(delta))
    of_p, of_q = decompose(P, decoder, lists=lists), decompose(Q, decoder, lists=lists)
    completed = decompose(P, Completed(decoder), lists=lists)
    efficiency = biased_efficiency(P, Q, decoder, lists=lists).value
    spent = {"budget": of_p.distortion.value, "draft_budget": of_q.distortion.value}
    bound = strongest_within(P, Q, efficiency, **spent).bound
    assert of_p.strength.value < bound
    assert completed.strength.value <= bound + CLOSE
    fastest = most_efficient_within(P, Q, completed.strength.value, **spent).bound
    assert efficiency <= fastest + CLOSE
    if delta == 5.0:
        with pytest.raises(ValueError, match="is more than any scheme reaches"):
            strongest_within(P, Q, efficiency, spent["budget"])


def test_tokens_that_the_model_rules_out_stay_out() -> None:
    p, q = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.4, 0.0, 0.3, 0.3])
    for measure in ("kl", "tv"):
        found = strongest_within(p, q, 0.5, 0.1, draft_budget=0.05, measure=measure)
        assert found.target[3] == found.draft[1] == 0
        assert np.isfinite(found.bound)
        assert found.strength == pytest.approx(found.bound, abs=CLOSE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": -0.1}, "budget=-0.1 must be a finite number of at least 0"),
        ({"budget": 0.1, "draft_budget": np.inf}, "draft_budget=inf must be"),
        ({"budget": 0.1, "measure": "l2"}, "measure='l2' is unknown"),
    ],
)
def test_budgets_that_are_none(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        strongest_within(P, Q, 0.5, **arguments)
    with pytest.raises(ValueError, match="strength=9 is more than any scheme reaches"):
        most_efficient_within(P, Q, 9, 0.1)
    with pytest.raises(ValueError, match="efficiency=-1 must be at least 0"):
        strongest_within(P, Q, -1, 0.1)
