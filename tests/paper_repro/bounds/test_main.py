"""The command, on texts that the experiment's own command wrote with a tiny model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from paper_repro import generate
from paper_repro.bounds import __main__ as bounds

runner = CliRunner()
PRESET = """
title = "tiny"
[models]
target = "{folder}"
draft = "skip:1"
[generation]
texts = 3
max_tokens = 30
lookahead = [2]
batch = 3
context_width = 2
[[prompts]]
name = "a"
option = "questions"
[[arms]]
watermark = "none"
temperature = 1.0
methods = ["basic", "standard"]
[[arms]]
watermark = "gumbel"
temperature = 1.0
methods = ["basic", "joint-race"]
[[arms]]
watermark = "gumbel"
temperature = 1.0
methods = ["joint-race"]
verify = ["block"]
"""


def _run(main, *arguments: str) -> str:
    app = typer.Typer()
    app.command()(main)
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code in (0, 1), result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def written(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("bounds")
    (folder / "q.jsonl").write_text("".join(f'{{"prompt": "{p}"}}\n' for p in ("the man", "an ant", "the")))
    (folder / "tiny.toml").write_text(PRESET.format(folder=tiny_folder))
    options = ["--preset", str(folder / "tiny.toml"), "--questions", str(folder / "q.jsonl")]
    _run(generate.main, *options, "--out", str(folder / "texts"))
    return folder, options


def test_a_row_for_every_statement_and_control(written: tuple[Path, list[str]]) -> None:
    folder, options = written
    said = _run(bounds.main, *options, "--out", str(folder), "--texts", "2")
    table = pd.read_csv(folder / "tiny" / "bounds.csv").fillna({"control": ""})
    # Without a watermark, with one, and with drafts verified as a block.
    assert set(table["method"]) == {"basic", "standard", "joint-race", "joint-race, blocks"}
    predictions, controls = table[table["control"] == ""], table[table["control"] != ""]
    found = {(row.statement, row.method, row.watermark) for row in predictions.itertuples()}
    assert {("unbiased", "basic", "none"), ("acceptance", "standard", "none")} <= found
    assert {("score", "joint-race", "gumbel"), ("key gives token", "joint-race", "gumbel")} <= found
    assert ("share given texts", "basic", "gumbel") in found
    assert ("steps", "joint-race, blocks", "gumbel") in found
    # The law of a token of a block is not that of one position.
    assert not {name for name, method, _ in found if method == "joint-race, blocks"} & {"score", "acceptance"}
    assert set(controls["control"]) == {"wrong key", "wrong draft", "contexts shuffled"}
    # What theory says holds for random models too.
    assert predictions["holds"].all()
    assert f"{len(predictions)} predictions, {len(predictions)} within" in said
    assert f"{len(controls)} controls" in said


def test_what_was_read_is_kept(written: tuple[Path, list[str]]) -> None:
    folder, options = written
    _run(bounds.main, *options, "--out", str(folder), "--texts", "2")
    kept = folder / "texts" / "tiny" / "a" / "joint-race-gumbel-T1.0-K2.bounds.jsonl"
    before = kept.read_text()
    _run(bounds.main, *options, "--out", str(folder), "--texts", "3")
    assert kept.read_text().startswith(before)
    assert len(kept.read_text().splitlines()) == 3


def test_without_texts_it_says_what_to_run(written: tuple[Path, list[str]], tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(bounds.main)
    result = runner.invoke(app, [*written[1], "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no texts; run python -m paper_repro.experiment" in " ".join(result.output.split())
