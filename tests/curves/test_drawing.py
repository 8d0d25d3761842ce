"""What is drawn is what was computed: frontiers in full, dominated stretches pale, points in place."""

import numpy as np
import pytest

from tests.helpers.support import P, Q
from tradeoff.curves.drawing import draw_curve, draw_points, plot_curves
from tradeoff.curves.families import curve
from tradeoff.curves.setting import Setting
from tradeoff.errors import FileError
from tradeoff.plotting import new_figure, save_figure


@pytest.fixture
def axes():
    _, [[axes]] = new_figure(size=(4, 3))
    return axes


def drawn(line):
    x, y = line.get_data()
    return {(a, b) for a, b in zip(x, y, strict=True) if not np.isnan(a)}


def test_frontier_in_full_and_everything_somewhere(axes):
    c = curve("hu", Setting(P, Q))
    draw_curve(axes, c, color="k", label="Hu")
    pale, full = axes.get_lines()
    assert (full.get_label(), full.get_alpha()) == ("Hu", 1.0)
    assert pale.get_alpha() < 0.5
    assert pale.get_linewidth() < full.get_linewidth()
    points = list(zip(c.efficiency, c.strength, strict=True))
    assert drawn(full) == {point for point, keep in zip(points, c.frontier, strict=True) if keep}
    assert drawn(full) | drawn(pale) == set(points)
    # The pale line reaches the neighbours of dominated points, so that no gap opens between the two.
    assert {points[k] for k in range(len(points)) if not c.frontier[k]} < drawn(pale)


def test_points_lie_where_they_are_put(axes):
    draw_points(axes, [0.7], [2.1], marker="*", color="k", label="optimum")
    draw_points(axes, np.array([0.7, 0.6]), np.array([0.0, 1.0]), marker="x", color="k", label="others")
    first, second = axes.collections
    assert first.get_offsets().tolist() == [[0.7, 2.1]]
    assert second.get_offsets().tolist() == [[0.7, 0.0], [0.6, 1.0]]


def test_pictures_depend_on_their_data_only(tmp_path):
    setting = Setting(P, Q)
    for name in ("a.png", "b.png", "a.pdf", "b.pdf"):
        plot_curves(setting, [curve("google", setting)], tmp_path / name)
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_picture_that_cannot_be_written_is_named(tmp_path):
    figure, _ = new_figure(size=(4, 3))
    with pytest.raises(FileError, match=r"picture\.xyz cannot be written"):
        save_figure(figure, [tmp_path / "picture.xyz"])
