"""A panel a decoder: every curve in it, points at their values, the overlay only when asked for."""

import numpy as np
import pandas as pd
import pytest

from figures.curves import figure_1
from figures.curves.panels import CLASS_NAMES, draw_planes
from tests.helpers.support import P, Q
from tradeoff.curves.planes import planes_table

ENDS = {"standard", "optimum (1 − TV, Ent)"}


@pytest.fixture(scope="module")
def planes():
    return figure_1.compute(P, Q, seeds=400)[0]


def labels(axes):
    return [label for label in axes.get_legend_handles_labels()[1] if not label.startswith("_")]


def test_every_curve_is_in_the_panel_of_its_decoder(planes):
    figure = draw_planes([("", planes)], "caption")
    assert [axes.get_title() for axes in figure.axes] == ["Gumbel-max", "SynthID, m = ∞", "SynthID, m = 30"]
    for axes, decoder in zip(figure.axes, ("gumbel", "synthid-inf", "synthid-30"), strict=True):
        families = [family for family, of in planes.curves if of == decoder]
        assert set(labels(axes)) == {CLASS_NAMES[family] for family in families} | ENDS
        lines = {line.get_label(): line for line in axes.get_lines()}
        for family in families:
            kept = planes.curves[family, decoder].frontier
            drawn = lines[CLASS_NAMES[family]].get_ydata()
            assert np.array_equal(drawn[kept], planes.curves[family, decoder].strength[kept])
    assert len(families) == 2
    assert figure.texts[0].get_text() == "caption"


def test_marked_points(planes):
    figure = draw_planes([("", planes)], "")
    for axes in figure.axes:
        points = {c.get_label(): c.get_offsets().tolist() for c in axes.collections}
        assert points["standard"] == [[pytest.approx(0.7), 0.0]]
        assert points["optimum (1 − TV, Ent)"] == [pytest.approx([0.7, 2.1466205942281027])]
    ends = [c.get_offsets().tolist()[0] for c in figure.axes[0].collections]
    assert pytest.approx([0.6257382074030019, 2.1466205942281027]) in ends
    assert pytest.approx([0.7, 1.9216865363805793]) in ends


def test_one_row_a_set_of_curves(planes):
    figure = draw_planes([(", temperature 1.0", planes), (", temperature 0.5", planes)], "")
    titles = [axes.get_title() for axes in figure.axes]
    assert sum("temperature 1.0" in title for title in titles) == 3
    assert sum("temperature 0.5" in title for title in titles) == 3


def test_the_published_curves_are_drawn_only_when_asked_for(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figure_1, "save_figure", lambda figure, paths: drawn.append(figure))
    for as_published in (False, True):
        figure_1.draw_figure_1(tmp_path, seeds=400, as_published=as_published)
    table = pd.read_csv(tmp_path / "figure_1_as_published.csv").set_index("class")
    assert table.loc["hu, as published", "strength"].iloc[0] == pytest.approx(1.73181, abs=5e-6)
    assert len(table) == len(pd.read_csv(tmp_path / "figure_1.csv")) + 2 * 41
    for number, panel in enumerate(drawn[1].axes):
        more = set(labels(panel)) - set(labels(drawn[0].axes[number]))
        assert more == ({"published, reconstructed"} if number in (0, 2) else set())
    (hu,) = [line for line in drawn[1].axes[0].get_lines() if line.get_label() == "published, reconstructed"]
    assert hu.get_ydata()[0] == pytest.approx(1.73181, abs=5e-6)
    assert "unnormalised" in drawn[1].texts[0].get_text()


def test_tables_hold_every_point(planes):
    table = planes_table(planes)
    assert len(table) == sum(len(c.gamma) for c in planes.curves.values()) + 2
    google = table[(table["class"] == "google") & (table["decoder"] == "gumbel")]
    assert np.array_equal(google["strength"], planes.curves["google", "gumbel"].strength)
    assert np.array_equal(google["frontier"], planes.curves["google", "gumbel"].frontier)
