"""The experiment of a preset, end to end on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from paper_repro import generate
from paper_repro.generate import experiment_key

runner = CliRunner()
PRESET = """
title = "tiny"
[models]
target = "{folder}"
draft = "skip:1"
[generation]
texts = 3
max_tokens = 8
lookahead = [2]
seed = 3
ignore_eos = false
batch = 2
ptt_texts = 1
[[prompts]]
name = "a"
source = "{prompts}"
[[arms]]
watermark = "none"
temperature = 1.0
methods = ["basic", "standard"]
[[arms]]
watermark = "gumbel"
temperature = 1.0
methods = ["one-race", "one-race-tree"]
[[arms]]
watermark = "synthid:3"
temperature = 1.0
methods = ["keep-strength"]
"""


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(generate.main)
    return app


@pytest.fixture
def preset(tiny_folder: Path, tmp_path: Path) -> Path:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the man\nand then\nan ant\n")
    path = tmp_path / "tiny.toml"
    path.write_text(PRESET.format(folder=tiny_folder, prompts=prompts))
    return path


def test_texts_table_and_resumption(app: typer.Typer, preset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = runner.invoke(app, ["--preset", str(preset), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "wrote" in result.output.splitlines()[-1]
    start = f"texts go to {out / 'tiny'}; key of the experiment: fingerprint {experiment_key(3).fingerprint}"
    assert result.output.startswith(start)
    assert experiment_key(3).secret.hex() not in result.output
    assert "texts" in next(line for line in result.output.splitlines() if "AATPS" in line)
    table = pd.read_csv(out / "tiny" / "table.csv").set_index("method")
    assert list(table.index) == ["basic", "standard", "one-race", "one-race-tree", "keep-strength"]
    assert (table["texts"] == 3).all()
    assert table.loc["basic", "lookahead"] == 0
    assert pd.isna(table.loc["basic", "aatps"])
    assert pd.isna(table.loc["basic", "logppl_difference"])
    assert table["ptt_ms"].gt(0).all()
    folder = out / "tiny" / "a"
    by_hand = {
        name: [json.loads(line)["logppl"] for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        for name in ("basic-none-T1.0", "one-race-gumbel-T1.0-K2")
    }
    difference = np.mean(by_hand["one-race-gumbel-T1.0-K2"]) - np.mean(by_hand["basic-none-T1.0"])
    assert table.loc["one-race", "logppl_difference"] == pytest.approx(difference)
    row = table.loc["one-race"]
    z = (row["acceptance"] - row["expected"]) / row["acceptance_error"]
    assert row["acceptance_z"] == pytest.approx(z)
    alone = json.loads((folder / "one-race-gumbel-T1.0-K2.ptt.jsonl").read_text())
    assert alone["batch"] == 1
    assert alone["run"]["seed"] == 3
    assert alone["run"]["ignore_eos"] is False
    assert table.loc[["standard", "one-race", "keep-strength"], "acceptance"].between(0, 1).all()
    assert table.loc[["standard", "one-race"], "expected"].between(0, 1).all()
    # A tree has no single acceptance rate, and keep strength with SynthID no formula.
    assert pd.isna(table.loc["one-race-tree", "acceptance"])
    assert pd.isna(table.loc["keep-strength", "expected"])
    files = sorted(path for path in out.rglob("*.jsonl"))
    assert len(files) == 2 * 5
    record = json.loads(files[0].read_text().splitlines()[0])
    assert experiment_key(3).secret.hex() not in files[-1].read_text()
    assert "overlap" in record or files[0].name.endswith(".ptt.jsonl")
    before = {path: path.read_bytes() for path in files}
    assert runner.invoke(app, ["--preset", str(preset), "--out", str(out)]).exit_code == 0
    assert before == {path: path.read_bytes() for path in files}


def test_options_override_the_preset(app: typer.Typer, preset: Path, tmp_path: Path) -> None:
    table = tmp_path / "out" / "tiny" / "table-standard.csv"
    options = ["--texts", "2", "--max-tokens", "4", "--lookahead", "1", "--only", "standard"]
    result = runner.invoke(app, ["--preset", str(preset), "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 0, result.output
    (row,) = pd.read_csv(table).to_dict("records")
    assert (row["method"], row["lookahead"], row["texts"]) == ("standard", 1, 2)
    assert row["tokens"] <= 8
    # Fewer texts than there are: the table is about those that were asked for.
    options[1] = "1"
    assert (
        runner.invoke(app, ["--preset", str(preset), "--out", str(tmp_path / "out"), *options]).exit_code == 0
    )
    assert pd.read_csv(table)["texts"].tolist() == [1]
    # The table of all methods is not overwritten by one of some.
    assert not (table.parent / "table.csv").exists()


def test_fewer_prompts_than_texts(app: typer.Typer, preset: Path, tmp_path: Path) -> None:
    options = ["--max-tokens", "2", "--only", "standard", "--only", "basic", "--out", str(tmp_path / "out")]
    result = runner.invoke(app, ["--preset", str(preset), "--texts", "100000", *options])
    assert result.exit_code == 0, result.output
    assert "prompts.txt has 3 prompts; using all" in result.output
    assert pd.read_csv(tmp_path / "out" / "tiny" / "table-basic-standard.csv")["texts"].tolist() == [3, 3]


def test_bad_input(app: typer.Typer, preset: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["--preset", str(preset), "--only", "magic", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "only='magic' is no method of the preset" in result.output.replace("\n", " ")
    assert runner.invoke(app, ["--preset", "none-such"]).exit_code == 2
    result = runner.invoke(app, ["--preset", "quick", "--texts", "3", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "texts=3 of an arm with detect = true must be at least 4" in result.output.replace("\n", " ")


def test_experiment_keys_differ_by_seed() -> None:
    assert experiment_key(0) == experiment_key(0)
    assert experiment_key(0) != experiment_key(1)
