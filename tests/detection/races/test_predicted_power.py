"""Predicted power against simulated texts, and forecasts from laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from tests.detection.races.cases import DISORDERED, FOUR, THREE, scores_of
from tests.helpers.support import P, Z
from tradeoff.decoders import GumbelMax
from tradeoff.detection import Forecast, RaceScoreLaw, predicted_power, race_score_law
from tradeoff.kernels import Algorithm1, Basic, JointRace, OneRace

LATTICE = 1e-4


@pytest.mark.parametrize("method", [Basic(GumbelMax()), JointRace(), OneRace(), Algorithm1()])
def test_power_is_the_rate_at_which_simulated_texts_are_detected(method):
    """Positions drawn from three pairs, tokens by the kernel, Aaronson's sum or that of both keys."""
    texts, tokens, fpr = 20_000, 12, 0.01
    positions = [
        tuple(np.append(law, np.zeros(4 - len(law))) for law in pair) for pair in (THREE, FOUR, DISORDERED)
    ]
    laws = [race_score_law(method.name, *pair) for pair in positions]
    drawn = np.random.default_rng(2).integers(3, size=texts * tokens)
    p, q = (np.stack(part)[drawn] for part in zip(*positions, strict=True))
    sums = scores_of(method, p, q, 9)[None].reshape(texts, tokens).sum(axis=1)
    threshold = special.gammainccinv(tokens * len(method.detection.streams), fpr)
    predicted = predicted_power(laws, tokens, fpr)
    error = math.sqrt(predicted * (1 - predicted) / texts)
    assert abs((sums >= threshold).mean() - predicted) <= Z * error + LATTICE
    assert 0.1 < predicted < 0.9


@pytest.mark.parametrize("tokens", [1, 20, 300])
def test_power_without_speculation_is_the_forecasts(tokens):
    law = race_score_law("basic", FOUR[0])
    assert predicted_power([law], tokens) == pytest.approx(Forecast([FOUR[0]]).power(tokens), abs=2e-5)


@pytest.mark.parametrize("tokens", [1, 300, 10_000])
def test_power_without_a_watermark_is_the_false_positive_rate(tokens):
    assert predicted_power([race_score_law("standard", *THREE)], tokens, 0.05) == pytest.approx(
        0.05, abs=2e-5
    )


@pytest.mark.parametrize("method", ["joint-race", "two-keys"])
def test_a_forecast_is_the_mean_over_texts(method):
    """Every text a profile of its own."""
    texts = [[race_score_law(method, *THREE)], [race_score_law(method, *pair) for pair in (FOUR, DISORDERED)]]
    forecast = Forecast.of_laws(texts)
    for tokens in (5, 40):
        each = [predicted_power(laws, tokens) for laws in texts]
        assert forecast.power(tokens) == pytest.approx(np.mean(each), rel=1e-12)
    needed = forecast.tokens_needed(0.9)
    assert needed is not None
    assert forecast.power(needed) >= 0.9 > forecast.power(needed - 1)


def both_streams() -> RaceScoreLaw:
    return race_score_law("algorithm-1", *THREE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: predicted_power([], 10), "at least one position"),
        (lambda: predicted_power([both_streams(), race_score_law("basic", P)], 10), "all of one stream"),
        (lambda: predicted_power([both_streams()], 0), "tokens=0"),
        (lambda: predicted_power([both_streams()], 10, 1.0), "fpr=1.0"),
        (lambda: Forecast.of_laws([]), "at least one"),
        (lambda: Forecast.of_laws([[both_streams()], []]), "at least one position"),
        (lambda: Forecast.of_laws([[both_streams()], [race_score_law("basic", P)]]), "all of one stream"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
