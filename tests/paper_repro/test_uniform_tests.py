"""Other tests of uniforms: formulas on small samples, levels, and what theory says of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from paper_repro.trials.uniform_tests import (
    UNIFORM_TESTS,
    higher_criticism,
    minimax,
    tr_gof,
    uniform_threshold,
)
from tests.helpers.support import ALPHA


@pytest.mark.parametrize("delta", [0.05, 0.1, 0.4, 0.5, 0.6, 0.75])
def test_minimax_scores_are_log_densities(delta: float) -> None:
    """Of the uniform at a token that the least favourable law emits."""
    score = minimax(delta)
    mass, _ = integrate.quad(lambda u: math.exp(float(score(np.array([u])))), 0, 1, epsabs=1e-10)
    assert mass == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize(
    ("delta", "law"), [(0.5, [0.5, 0.5]), (0.4, [0.6, 0.4]), (0.7, [0.3, 0.3, 0.3, 0.1])]
)
def test_minimax_scores_of_their_law(delta: float, law: list[float]) -> None:
    """A token of probability p is emitted with U <= u with probability p u^(1/p)."""
    u = np.array([0.01, 0.3, 0.9])
    density = sum(u ** (1 / p - 1) for p in law)
    np.testing.assert_allclose(minimax(delta)(u[:, None]), np.log(density), atol=1e-12)


def test_higher_criticism_by_hand() -> None:
    p = np.array([0.3, 0.02, 0.55, 0.9])
    # In order .02, .3, .55, .9: the first lies below 1/4, the third and fourth behind t/2.
    expected = 2 * (0.5 - 0.3) / math.sqrt(0.3 * 0.7)
    assert higher_criticism(1 - p) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("member", "divergence"),
    [
        (2.0, lambda u, v: (u - v) ** 2 / (2 * v * (1 - v))),
        (1.0, lambda u, v: u * math.log(u / v) + (1 - u) * math.log((1 - u) / (1 - v))),
        (0.0, lambda u, v: v * math.log(v / u) + (1 - v) * math.log((1 - v) / (1 - u))),
        (0.5, lambda u, v: 4 * (1 - math.sqrt(u * v) - math.sqrt((1 - u) * (1 - v)))),
    ],
)
def test_tr_gof_by_hand(member: float, divergence) -> None:
    p = np.array([0.45, 0.1, 0.21, 0.7, 0.97])
    # In order .1, .21, .45, .7, .97: the first is cut off below 1/5, the last has F = 1.
    places = [(2 / 5, 0.21), (3 / 5, 0.45), (4 / 5, 0.7)]
    assert tr_gof(member)(1 - p) == pytest.approx(5 * max(divergence(u, v) for u, v in places))


@pytest.mark.parametrize("name", UNIFORM_TESTS)
@pytest.mark.parametrize("tokens", [2, 30])
def test_thresholds_keep_their_level(name: str, tokens: int) -> None:
    """The rate differs from the nominal one by chance alone: of the threshold's draws and of ours."""
    uniforms = np.random.default_rng(1).random((20_000, tokens))
    hits = int((UNIFORM_TESTS[name](uniforms) > uniform_threshold(name, tokens, 0.01)).sum())
    # Rates of both are known to sqrt(.01 / 20,000), so that hits have twice the variance.
    limit = 200 + stats.norm.isf(ALPHA) * math.sqrt(2 * 200)
    assert hits <= limit
    if tokens > 2:
        assert hits >= 400 - limit
