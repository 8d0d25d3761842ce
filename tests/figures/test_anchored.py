"""The figures of Anchored E-Watermarking: reference values, files, errors, and that --check can fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from figures.anchored import growth as anchored_figure_1
from figures.anchored import stopping as anchored_figure_2
from tradeoff.anchored.e_values import anchored_growth

runner = CliRunner()


def app(module) -> typer.Typer:
    application = typer.Typer()
    application.command()(module.draw)
    return application


def test_every_reference_value_of_figure_1_is_reproduced():
    rows = anchored_figure_1.references()
    assert len(rows) == 27
    assert not [row for row in rows if not row.holds]
    closed = [row for row in rows if row.name.startswith("J*")]
    assert len(closed) == 10
    assert all(row.tolerance == 1e-7 for row in closed)
    assert not replace(closed[0], value=closed[0].value + 1e-6).holds


def test_every_reference_value_of_figure_2_is_reproduced():
    rows = anchored_figure_2.references(paths=2_000, seed=3)
    assert len(rows) == 27
    assert not [row for row in rows if not row.holds]
    # What is compared with theory is a difference of 4 standard errors at most.
    differences = [row for row in rows if "less theory" in row.name]
    assert all(row.tolerance == pytest.approx(4 * row.error) for row in differences)
    assert max(row.error for row in rows) < 0.15


def test_figure_2_misses_its_references_under_another_law(monkeypatch):
    """A target off the boundary grows faster than J*: the check must notice."""
    honest = anchored_figure_2.worst_walk
    monkeypatch.setattr(anchored_figure_2, "worst_walk", lambda p: honest(p, 0.09))
    assert [row for row in anchored_figure_2.references(paths=2_000) if not row.holds]


@pytest.mark.parametrize("module", [anchored_figure_1, anchored_figure_2], ids=["1", "2"])
def test_check_exits_1_when_a_reference_is_missed(module, monkeypatch):
    row = replace(anchored_figure_1.Reference("one value", 1.0, 1.0, 1e-9))
    for value, status in ((1.0, 0), (2.0, 1)):
        monkeypatch.setattr(module, "references", lambda *_, value=value: [replace(row, value=value)])
        result = runner.invoke(app(module), ["--check"])
        assert result.exit_code == status
        assert f"{1 - status} of 1 reference values" in result.output


def test_files_of_figure_1(tmp_path):
    result = runner.invoke(app(anchored_figure_1), ["--out", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    stem = tmp_path / "new" / "anchored_figure_1"
    assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(stem.with_suffix(".csv"))
    assert (table.groupby("p").size() == 30).all()
    assert set(table["p"]) == {0.5, 0.7, 0.9}
    last = table.groupby("p").last()
    assert (last["status"] == "optimal").all()
    assert np.abs(last["objective"] - last["j_star"]).max() < 1e-6
    assert last["j_star"].to_numpy() == pytest.approx([0.6616681, 0.5793852, 0.2936039], abs=1e-7)


def test_files_of_figure_2(tmp_path):
    arguments = ["--out", str(tmp_path / "new"), "--paths", "200"]
    result = runner.invoke(app(anchored_figure_2), arguments)
    assert result.exit_code == 0, result.output
    stem = tmp_path / "new" / "anchored_figure_2"
    assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(stem.with_suffix(".csv"))
    assert (table.groupby("p").size() == 60).all()
    assert table["alpha"].min() == 1e-120
    assert table["alpha"].max() == 1e-2
    for p, part in table.groupby("p"):
        assert part["limit"].iloc[0] == pytest.approx(1 / float(anchored_growth([p, 1 - p], 0.1)))
        assert (part["wald"] > part["limit"]).all()
        # Where both are known they come together.
        both = part.dropna()
        assert len(both) == 6
        assert abs(both["exact"].iloc[-1] - both["wald"].iloc[-1]) < 2e-3 * both["wald"].iloc[-1]
    assert np.isfinite(table["ratio"]).all()


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (anchored_figure_1, ["--out", "FILE"], "choose another"),
        (anchored_figure_2, ["--out", "FILE"], "choose another"),
        (anchored_figure_2, ["--paths", "1", "--out", "NEW"], "paths=1 must be at least 2"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(module, arguments, words, tmp_path):
    (tmp_path / "file").touch()
    places = {"FILE": str(tmp_path / "file"), "NEW": str(tmp_path / "new")}
    result = runner.invoke(app(module), [places.get(argument, argument) for argument in arguments])
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_equal_seeds_give_equal_paths():
    walk, levels = anchored_figure_2.worst_walk(0.7), np.array([4.6, 23.0])
    first, again, other = (walk.passages(levels, 50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
