"""The main command end to end, small: every file is written, the second run reuses the pairs."""

import re

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from figures.curves import figure_1
from paper_repro.__main__ import run
from tradeoff.curves.monte_carlo import DEFAULT_SEEDS

runner = CliRunner()
#: The built-in pair at the least size at which everything is detected.
LEAST = """
title = "least"
[models]
target = "builtin"
draft = "builtin"
dtype = "float32"
[generation]
texts = 4
max_tokens = 12
lookahead = [2]
batch = 4
ignore_eos = true
[detection]
null_texts = 200
roc_tokens = 10
edits = false
[[prompts]]
name = "continuation"
source = "builtin:continuation"
[[arms]]
watermark = "gumbel"
temperature = 1.0
methods = ["one-race"]
detect = true
"""


@pytest.fixture
def app():
    application = typer.Typer()
    application.command()(run)
    return application


@pytest.fixture
def fast(monkeypatch):
    """A hundredth of the seeds: the reference values keep their 4 standard errors."""
    for function in (figure_1.draw_figure_1, figure_1.compute):
        assert function.__kwdefaults__["seeds"] == DEFAULT_SEEDS
        monkeypatch.setitem(function.__kwdefaults__, "seeds", 2_000)


@pytest.mark.slow
def test_everything_is_written_and_listed(app, fast, tmp_path, builtin_pair):
    out = tmp_path / "results"
    preset = tmp_path / "least.toml"
    preset.write_text(LEAST)
    arguments = ["--out", str(out), "--positions", "8", "--preset", str(preset)]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "30 of 30 reference values reproduced" in result.output
    listed = {
        line.rsplit("/", 1)[-1]
        for line in re.split("Files written|─ Result|Result ─", result.output)[1].splitlines()[1:]
        if line
    }
    assert listed == {path.name for path in out.rglob("*") if path.is_file() and path.suffix != ".jsonl"}
    assert {
        "figure_1.png",
        "figure_1_as_published.pdf",
        "figure_1_real.csv",
        "next_token_pairs.npz",
        "report.html",
        "tpr.csv",
    } <= listed
    assert re.search(r"Files written in \d+ s", result.output)
    positions = pd.read_csv(out / "figure_1_real_positions.csv")
    assert positions.groupby(["temperature", "source"]).size().to_dict() == {
        (t, s): 4 for t in (1.0, 0.7, 0.5) for s in ("model", "human")
    }
    assert (positions["agreement"] <= positions["sse"] + 1e-12).all()
    assert (positions["google"] <= positions["entropy"] + 1e-12).all()
    assert (positions["hu"] <= positions["google"] + 1e-12).all()

    before = (out / "next_token_pairs.npz").stat().st_mtime_ns
    table = (out / "figure_1_real.csv").read_bytes()
    again = runner.invoke(app, arguments)
    assert again.exit_code == 0
    assert (out / "next_token_pairs.npz").stat().st_mtime_ns == before
    assert (out / "figure_1_real.csv").read_bytes() == table


def test_a_missing_model_leaves_what_was_finished(app, fast, tmp_path):
    result = runner.invoke(
        app, ["--out", str(tmp_path), "--target", str(tmp_path / "no-model"), "--draft", "skip:1"]
    )
    assert result.exit_code == 2
    assert "no-model" in result.output
    assert "figure_1.png" in result.output.split("Files written")[1]
    assert (tmp_path / "figure_1.csv").exists()


def test_bad_sizes_are_refused_before_anything_runs(app, tmp_path):
    mistakes = (
        (["--positions", "6"], "positions=6"),
        (["--seeds", "3"], "seeds=3"),
        (["--small", "--paper"], "choose one"),
        (["--preset", "none-such"], "none-such"),
    )
    for arguments, words in mistakes:
        result = runner.invoke(app, ["--out", str(tmp_path), *arguments])
        assert result.exit_code == 2
        assert words in result.output
    assert list(tmp_path.iterdir()) == []


def test_bad_output_folder(app, tmp_path):
    (tmp_path / "file").write_text("")
    result = runner.invoke(app, ["--out", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "choose another" in result.output
