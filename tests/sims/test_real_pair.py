"""The statement on real models: on tiny ones, on broken code, and where no model is to be had."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from sims.__main__ import app
from sims.real_pair.statement import check
from sims.real_pair.texts import Decay
from sims.report import judge
from tests.helpers.tiny import VOCABULARY
from tests.sims.test_mutants import (
    Patch,
    diagonal_without_the_race,
    flipped_comparison,
    flipped_one_race,
    ratio_upside_down,
    truly_random_coin,
)
from tradeoff.detection.with_models.model_aware import ModelAware
from tradeoff.llm.models import pair as models
from tradeoff.llm.models.builtin import ModelDownloadError
from tradeoff.llm.models.pair import ModelPair, skip_layers

SIZE = 5_000


@pytest.fixture(scope="module")
def tiny_pair(make_pair: Callable[..., ModelPair]) -> ModelPair:
    """A random model and the same less a layer, which agree about as often as real ones do.

    Its logits are doubled: the laws of an untrained model hardly depend on the position.
    """
    pair = make_pair(len(VOCABULARY), positions=512)
    pair.target.model.norm.weight.data *= 2
    return replace(pair, draft=skip_layers(pair.target, (1,)))


def probability_misread(patch: pytest.MonkeyPatch) -> None:
    """The test takes tokens for less probable than they are."""
    honest = ModelAware.test
    patch.setattr(ModelAware, "test", lambda self, hits, p, index=None: honest(self, hits, p / 2, index))


def test_tiny_models_are_green_and_the_controls_red(tiny_pair: ModelPair, tmp_path: Path) -> None:
    rows = check(tiny_pair, SIZE, 0, tmp_path)
    assert [v.row.setting for v in judge(rows) if not v.as_expected] == []
    assert {row.expected_red for row in rows} == {True, False}
    table = pd.read_csv(tmp_path / "real_pair.csv")
    assert set(table["what"]) == {"acceptance", "strength", "-(1/n) log p"}
    assert (tmp_path / "real_pair.png").read_bytes().startswith(b"\x89PNG")
    assert check(tiny_pair, SIZE, 0, tmp_path) == rows


@pytest.mark.parametrize(
    "mutate",
    [
        flipped_comparison,
        flipped_one_race,
        ratio_upside_down,
        truly_random_coin,
        diagonal_without_the_race,
        probability_misread,
    ],
    ids=lambda mutate: mutate.__name__,
)
def test_mutant_is_caught(
    mutate: Patch, tiny_pair: ModelPair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mutate(monkeypatch)
    rows = check(tiny_pair, SIZE, 0, tmp_path)
    assert any(v.red and not v.row.expected_red for v in judge(rows))


def test_slope_and_ratio_of_texts_on_a_line() -> None:
    entropies, tokens = np.array([1.0, 2.0, 4.0]), np.array([10, 10, 10])
    decay = Decay(3 * entropies * tokens + 5, entropies * tokens, np.full(3, 4.0), tokens)
    slope, error = decay.slope
    assert slope == pytest.approx(3)
    # Independent values of standard deviation 2/10 at three points.
    assert error == pytest.approx(0.2 / np.sqrt(((entropies - entropies.mean()) ** 2).sum()))
    assert decay.ratio == pytest.approx(((3 * 70 + 15) / 70, np.sqrt(12) / 70))


def test_a_model_that_is_not_to_be_had_is_said_and_changes_no_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unavailable(**_: object) -> ModelPair:
        raise ModelDownloadError("pip cannot reach the network")

    monkeypatch.setattr(models, "load_pair", unavailable)
    chosen = ["--only", "real_pair", "--only", "definition_3_1"]
    # A worker process would not know of what is put in place of the loader here.
    result = CliRunner().invoke(app, ["--quick", *chosen, "--processes", "1", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    said = "Not evaluated: real_pair (pip cannot reach the network)"
    assert said in result.output
    assert said in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert set(pd.read_csv(tmp_path / "summary.csv")["statement"]) == {"Definition 3.1"}


def test_without_pytorch_the_statement_is_named_and_left_out(tmp_path: Path) -> None:
    """Nothing of `sims` imports it before it is needed."""
    program = """
import sys
from importlib.abc import MetaPathFinder

class NoPyTorch(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoPyTorch())
from sims.__main__ import app
app()
"""
    arguments = ["--quick", "--only", "real_pair", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Not evaluated: real_pair (running models needs torch; install it with" in done.stdout
    assert "0 predictions and 0 negative controls, 0 not as expected" in done.stdout
