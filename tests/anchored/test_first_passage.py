"""First passage: walks whose answer is known, exact expectations against simulation, renewal theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.support import assert_within, distributions
from tradeoff.anchored.e_values import anchored_growth, growth_at
from tradeoff.anchored.first_passage import Walk
from tradeoff.laws import total_variation


def two_tokens(p: float, eps: float = 0.05) -> Walk:
    return Walk.anchored([p, 1 - p], [p + eps, 1 - p - eps], eps)


@pytest.mark.parametrize("p", [0.7, 0.95])
def test_a_walk_of_unit_steps_arrives_without_overshoot(p):
    """E tau = b/(2p - 1) at whole levels; ladder heights are 1, so rho = 1/2, its mean between them."""
    walk = Walk(np.array([-1.0, 1.0]), np.array([1 - p, p]))
    for level in (1, 3, 10):
        assert walk.mean_passage(level) == pytest.approx(level / (2 * p - 1), rel=1e-9)
    assert walk.mean_passage(2.5) == pytest.approx(3 / (2 * p - 1), rel=1e-9)
    assert walk.limiting_overshoot == pytest.approx(0.5, abs=1e-9)


def test_a_walk_that_only_rises_has_its_steps_as_ladder_heights():
    values, chances = np.array([0.3, math.sqrt(2), math.pi]), np.array([0.5, 0.3, 0.2])
    walk = Walk(values, chances)
    assert walk.limiting_overshoot == pytest.approx(values**2 @ chances / (2 * values @ chances), abs=1e-12)
    # Averaged over levels its ups and downs cancel.
    levels = np.linspace(20, 40, 101)
    overshoot = [walk.mean_passage(level) * walk.mean - level for level in levels]
    assert np.mean(overshoot) == pytest.approx(walk.limiting_overshoot, abs=5e-3)


@pytest.mark.parametrize("p", [0.5, 0.7, 0.9])
def test_limiting_overshoot_against_simulated_ladder_heights(p):
    """E H^2 / (2 E H), with the error of a ratio."""
    walk, rng = two_tokens(p), np.random.default_rng(4)
    heights, ladder = np.zeros(20_000), np.zeros(20_000)
    while (below := ladder <= 0).any():
        heights[below] += rng.choice(walk.values, p=walk.chances, size=int(below.sum()))
        ladder[below] = heights[below]
    mean = ladder.mean()
    ratio = (ladder**2).mean() / (2 * mean)
    error = (ladder**2 / 2 - ratio * ladder).std() / mean / math.sqrt(len(ladder))
    assert_within(ratio, walk.limiting_overshoot, error)


@pytest.mark.parametrize("p", [0.5, 0.7, 0.9])
def test_exact_expectation_against_simulation(p):
    walk = two_tokens(p)
    levels = np.array([0.1, 1.0, 4.6, 23.0])
    tau = walk.passages(levels, 20_000, np.random.default_rng(1))
    for level, column in zip(levels, tau.T, strict=True):
        assert_within(column.mean(), walk.mean_passage(level), column.std() / math.sqrt(len(column)))


def test_expectation_comes_near_walds_and_never_below_the_bound():
    """E tau >= b/J*, and the overshoot is never more than the largest step."""
    walk = two_tokens(0.7)
    for level in (2.0, 10.0, 40.0):
        overshoot = walk.mean_passage(level) * walk.mean - level
        assert 0 <= overshoot <= walk.values.max()
    assert overshoot == pytest.approx(walk.limiting_overshoot, abs=0.01)


@given(
    st.integers(2, 6).flatmap(
        lambda n: st.tuples(distributions(n=n, zeros=False), distributions(n=n, zeros=False))
    )
)
def test_mean_step_is_the_growth(pair):
    p0, q = pair
    tv = float(total_variation(p0, q))
    growth = float(growth_at(p0, 0.05, tv))
    if growth > 1e-9:
        walk = Walk.anchored(p0, q, 0.05)
        assert walk.mean == pytest.approx(growth, abs=1e-9)
        assert walk.chances.sum() == pytest.approx(1, abs=1e-12)
    elif growth < -1e-9:
        with pytest.raises(ValueError, match="must be positive for the walk to arrive"):
            Walk.anchored(p0, q, 0.05)


def test_the_worst_target_of_the_figure_grows_at_j_star():
    assert two_tokens(0.9).mean == pytest.approx(float(anchored_growth([0.9, 0.1], 0.1)), abs=1e-12)


def test_paths_agree_with_a_plain_loop():
    """The k-th level is first reached at the k-th recorded time: plain Python on the same random numbers."""
    walk = two_tokens(0.7)
    levels = np.array([0.5, 2.0, 9.0])
    found = walk.passages(levels, 50, np.random.default_rng(8))
    steps = walk.values[
        np.searchsorted(
            np.cumsum(walk.chances)[:-1], np.random.default_rng(8).random((50, 256)), side="right"
        )
    ]
    for row, times in zip(steps, found, strict=True):
        height, expected = 0.0, {}
        for t, step in enumerate(row, 1):
            height += step
            for level in levels:
                if height >= level:
                    expected.setdefault(level, t)
        assert [expected[level] for level in levels] == times.tolist()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: Walk(np.array([-1.0, 1.0]), np.array([0.5, 0.5])),
            "mean step is 0 nats, and must be positive",
        ),
        (lambda: two_tokens(0.5).mean_passage(0.0), "level=0.0 must be positive"),
        (
            lambda: Walk(np.arange(1.0, 5.0), np.full(4, 0.25)).limiting_overshoot,
            "the steps take 4 values; exact laws are for 3",
        ),
    ],
)
def test_bad_input_is_named_with_a_remedy(call, words):
    with pytest.raises(ValueError, match=words):
        call()
