"""The two panels: every curve on its side, points at their values, the overlay only when asked for."""

import numpy as np
import pandas as pd
import pytest

from figures.curves import figure_1
from figures.curves.panels import draw_planes
from tests.helpers.support import P, Q
from tradeoff.curves.planes import planes_table


@pytest.fixture(scope="module")
def planes():
    return figure_1.compute(P, Q, seeds=400)[0]


def labels(axes):
    return [label for label in axes.get_legend_handles_labels()[1] if not label.startswith("_")]


def test_every_curve_is_on_its_side(planes):
    figure = draw_planes([("", planes)], "caption")
    left, right = figure.axes
    assert sum("linear class" in label or "time sharing" in label for label in labels(left)) == 4
    assert not any("'s class" in label for label in labels(left))
    for decoder in ("Gumbel-max", "SynthID, m = ∞", "SynthID, m = 30"):
        for name in ("Hu's class", "Google's class"):
            assert f"{name}, {decoder}" in labels(right)
    assert not any("linear" in label for label in labels(right))
    assert figure.texts[0].get_text() == "caption"


def test_marked_points(planes):
    figure = draw_planes([("", planes)], "")
    for axes in figure.axes:
        points = dict(
            (collection.get_label(), collection.get_offsets().tolist()) for collection in axes.collections
        )
        assert points["standard speculative sampling"] == [[pytest.approx(0.7), 0.0]]
        assert points["optimum (1 − TV, Ent)"] == [pytest.approx([0.7, 2.1466205942281027])]
    left, right = figure.axes
    kept = {c.get_label(): c.get_offsets().tolist() for c in (*left.collections, *right.collections)}
    assert kept["strength maintained, Gumbel-max"] == [
        pytest.approx([0.6257382074030019, 2.1466205942281027])
    ]
    ends = kept["efficiency maintained, Google's class"]
    assert ends[0] == pytest.approx([0.7, 1.9216865363805793])
    assert len(ends) == 3


def test_one_row_a_set_of_curves(planes):
    figure = draw_planes([(", temperature 1.0", planes), (", temperature 0.5", planes)], "")
    titles = [axes.get_title() for axes in figure.axes]
    assert sum("temperature 1.0" in title for title in titles) == 2
    assert sum("temperature 0.5" in title for title in titles) == 2


def test_the_published_curves_are_drawn_only_when_asked_for(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figure_1, "save_figure", lambda figure, paths: drawn.append(figure))
    for as_published in (False, True):
        figure_1.draw_figure_1(tmp_path, seeds=400, as_published=as_published)
    table = pd.read_csv(tmp_path / "figure_1_as_published.csv").set_index("class")
    assert table.loc["hu, as published", "strength"].iloc[0] == pytest.approx(1.73181, abs=5e-6)
    assert len(table) == len(pd.read_csv(tmp_path / "figure_1.csv")) + 2 * 41
    without, with_overlay = (labels(figure.axes[1]) for figure in drawn)
    assert set(with_overlay) - set(without) == {"published curves, reconstructed"}
    published = [line for line in drawn[1].axes[1].get_lines() if line.get_linestyle() == ":"]
    assert len(published) == 2
    assert published[0].get_ydata()[0] == pytest.approx(1.73181, abs=5e-6)
    assert "unnormalised" in drawn[1].texts[0].get_text()


def test_tables_hold_every_point(planes):
    table = planes_table(planes)
    assert len(table) == sum(len(c.gamma) for c in planes.curves.values()) + 2
    google = table[(table["class"] == "google") & (table["decoder"] == "gumbel")]
    assert np.array_equal(google["strength"], planes.curves["google", "gumbel"].strength)
    assert np.array_equal(google["frontier"], planes.curves["google", "gumbel"].frontier)
