"""Every picture, from committed tables, is legible at the width at which the documentation shows it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from figures.experiment.rates import draw_tpr
from sims.statements import STATEMENTS
from tests.figures.legible import faults
from tests.figures.pictures import EXPERIMENTS, FIGURES, ROOT, of_statement
from tradeoff.plotting import COLORS, WIDTH, new_figure

#: Of many panels, or drawn as another one is.
SLOW = {
    "edits_gumbel",
    "edits_synthid",
    "figure_1_real",
    "roc_small",
    "sequential_0.3",
    "sequential_1",
    "tpr_joint",
    "transport_tails",
}
CASES = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in (*FIGURES, *EXPERIMENTS)]


@pytest.mark.parametrize("name", CASES)
def test_a_figure_is_legible(name: str) -> None:
    assert faults((FIGURES | EXPERIMENTS)[name]()) == []


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_picture_of_a_statement_is_legible(name: str, tmp_path: Path) -> None:
    assert faults(of_statement(name, tmp_path)) == []


def test_every_committed_picture_is_drawn_here() -> None:
    assert {path.stem for path in (ROOT / "docs" / "pictures").glob("*.png")} == set(FIGURES)
    assert {path.stem for path in (ROOT / "sims" / "results").glob("*.png")} == set(STATEMENTS)


def test_faults_are_found() -> None:
    """Each by a figure that has it."""
    figure, [[left, right]] = new_figure(1, 2, size=(WIDTH, 3))
    for number in range(6):
        left.plot([0, 1, 2], [number, 1, 2], color=COLORS["blue"], label=f"series {number}")
    right.plot([0, 1, 2], color=COLORS["green"], ls="--", label="series 0")
    left.set(title="a title that is longer than the panel " * 2, xlabel="tokens")
    right.set(title="a title that is longer than the panel " * 2)
    left.set_xticks([0.5, 1])
    right.text(0, 0, "small", fontsize=7)
    right.text(5, 1, "far", clip_on=False).set_in_layout(False)
    found = "\n".join(faults(figure))
    for fault in ("6 series", "share colour", "whole numbers", "7 points", "'far' is cut off", "overlap"):
        assert fault in found
    assert "'series 0' looks different" in found
    wide, _ = new_figure(size=(9, 3))
    assert "9 inches" in faults(wide)[0]


def test_few_texts_have_no_bars() -> None:
    """An interval of eight texts is as high as the panel; the note says that none is drawn."""
    table = pd.read_csv(ROOT / "paper_repro" / "results" / "small" / "tpr.csv")
    table = table[table["watermark"] == "gumbel"]
    drawn = {texts: draw_tpr(table.assign(texts=texts), "both") for texts in (8, 200)}
    bars = {
        texts: sum(bool(series.has_yerr) for axes in figure.axes for series in axes.containers)
        for texts, figure in drawn.items()
    }
    assert bars[8] == 0
    assert bars[200] == 13
    notes = {texts: " ".join(text.get_text() for text in figure.texts) for texts, figure in drawn.items()}
    assert "n = 8" in notes[8]
    assert "No bars" in notes[8]
    assert "95%" in notes[200]
