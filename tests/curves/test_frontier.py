"""Frontiers and hulls against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.support import P, Q
from tradeoff.curves.families import curve
from tradeoff.curves.frontier import Curve, non_dominated, upper_hull
from tradeoff.curves.setting import Setting
from tradeoff.decoders import GumbelMax

points = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=15)


@given(points)
def test_frontier_is_what_no_point_dominates(cloud):
    x, y = np.array(cloud, dtype=float).T
    keep = non_dominated(x, y)
    for k in range(len(x)):
        dominated = np.any((x >= x[k]) & (y >= y[k]) & ((x > x[k]) | (y > y[k])))
        assert keep[k] == (not dominated)


@given(points)
def test_upper_hull_lies_above_every_point_and_is_concave(cloud):
    x, y = np.array(cloud, dtype=float).T
    hull = upper_hull(x, y)
    assert np.all(np.diff(x[hull]) > 0)
    assert np.all(np.interp(x, x[hull], y[hull]) >= y - 1e-9)
    slopes = np.diff(y[hull]) / np.diff(x[hull])
    assert np.all(np.diff(slopes) < 1e-12)
    assert (x[hull[0]], x[hull[-1]]) == (x.min(), x.max())


def test_hus_left_part_is_dominated_by_its_efficient_end():
    """The raw curve falls before it rises: only points stronger than the end point survive."""
    c = curve("hu", Setting(P, Q, GumbelMax(), GumbelMax()))
    assert c.frontier[0]
    assert not c.frontier.all()
    stronger = c.strength > c.strength[0]
    assert np.array_equal(c.frontier[1:], stronger[1:])


def test_rounding_of_equal_efficiencies_is_not_dominance():
    """P = Q keeps efficiency 1 at every strength: only the strongest point of the linear class survives."""
    linear = curve("linear", Setting(P, P), np.linspace(0, 1, 11))
    assert linear.frontier.tolist() == [False] * 10 + [True]
    assert curve("hu", Setting(P, P), np.linspace(0, 1, 11)).frontier.all()
    assert non_dominated(np.array([0.7 + 2e-16, 0.7]), np.array([1.0, 2.0])).tolist() == [False, True]


@pytest.mark.parametrize("column", ["efficiency", "strength", "efficiency_error", "strength_error"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_curve_holds_numbers_only(column, value):
    names = ("gamma", "theta", "efficiency", "strength", "efficiency_error", "strength_error")
    columns = {name: np.linspace(0, 1, 5) for name in names}
    Curve("linear", **columns)
    columns[column] = np.array([0.0, 0.1, 0.2, value, np.nan])
    what = column.replace("_", " ")
    with pytest.raises(ValueError, match=rf"'linear' has {what} {value:g} at gamma = 0\.75: .*use another"):
        Curve("linear", **columns)
