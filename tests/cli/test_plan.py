"""`tradeoff plan`: predictions that agree with simulation, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats
from typer.testing import CliRunner

from tests.support import ALPHA
from tradeoff.cli import app

runner = CliRunner()


def plan(*arguments: str) -> dict:
    result = runner.invoke(app, ["plan", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def record(ids: list[int], p: float) -> str:
    return json.dumps({"token_ids": ids, "log_p": [float(np.log(p))] * len(ids)}) + "\n"


def test_planned_lengths_reach_their_rate_and_not_before(tmp_path: Path) -> None:
    """Simulated texts of n tokens won with probability 0.3 are detected as often as planned."""
    (tmp_path / "texts.jsonl").write_text(record(list(range(100)), 0.3))
    found = plan(str(tmp_path / "texts.jsonl"))
    needed = {row["tpr"]: row["tokens"] for row in found["needed"]}
    assert list(needed) == sorted(needed)
    assert list(needed.values()) == sorted(needed.values())
    rng = np.random.default_rng(5)
    texts = 40_000
    for rate in (0.5, 0.95):
        for tokens, reached in ((needed[rate], True), (needed[rate] - 1, False)):
            # U = exp(-p t), t ~ Exp(1).
            scores = -np.log1p(-np.exp(-0.3 * rng.exponential(size=(texts, tokens)))).sum(axis=1)
            hits = int((scores >= stats.gamma.isf(0.01, tokens)).sum())
            side = stats.binom.cdf(hits, texts, rate) if reached else stats.binom.sf(hits, texts, rate)
            assert side > ALPHA


def test_only_tokens_that_count_make_the_profile(tmp_path: Path) -> None:
    """Repeated contexts, and the first tokens, carry no watermark."""
    ids = [1, 2, 3, 4, 5] * 10
    (tmp_path / "texts.jsonl").write_text(record(ids, 0.3))
    found = plan(str(tmp_path / "texts.jsonl"))
    assert found["share_scored"] == pytest.approx(5 / 50)
    wide = plan(str(tmp_path / "texts.jsonl"), "--context-width", "2")
    assert wide["share_scored"] == pytest.approx(5 / 50)


def test_entropies_stand_for_typical_tokens(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text(record(list(range(80)), float(np.exp(-1.5))))
    by_entropy = plan("--entropy", "1.5")
    by_texts = plan(str(tmp_path / "texts.jsonl"))
    assert by_entropy["needed"] == by_texts["needed"]


def test_entropies_are_not_rounded() -> None:
    """By the normal law of long sums half of texts need 20,500 tokens at 0.0251 nats, 58,000 at 0.0149."""
    for entropy in (0.0251, 0.0149):
        p = np.exp(-entropy)
        # z of 1% over what a token gains; its variance, and the skewness of the sums, make less than 2%.
        normal = (stats.norm.isf(0.01) / (special.digamma(1 + 1 / p) + np.euler_gamma - 1)) ** 2
        found = {row["tpr"]: row["tokens"] for row in plan("--entropy", str(entropy))["needed"]}
        assert found[0.5] == pytest.approx(normal, rel=0.02)


def test_text_without_entropy_is_not_reached() -> None:
    assert {row["tokens"] for row in plan("--entropy", "0")["needed"]} == {None}
    shown = runner.invoke(app, ["plan", "--entropy", "0"])
    assert shown.exit_code == 0
    assert "not reached" in shown.output


def test_table_names_rates_and_profiles(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text(record(list(range(50)), 0.2) + record(list(range(60)), 0.4))
    result = runner.invoke(app, ["plan", str(tmp_path / "texts.jsonl"), "--fpr", "0.001"])
    assert result.exit_code == 0, result.output
    for words in ("95%", "at FPR 0.001", "2 profiles", "TPR by scored tokens"):
        assert words in result.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"token_ids": [1, 2, 3, 4, 5, 6]}\n', "has no 'log_p'"),
        ('{"token_ids": [1, 2], "log_p": [0.0]}\n', "one length"),
        ("no json\n", "is not a file of texts"),
        ("", "holds no text"),
        (record([1, 2, 3], 0.5), "holds no text"),
    ],
)
def test_files_without_probabilities_say_how_to_get_them(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "texts.jsonl").write_text(content)
    result = runner.invoke(app, ["plan", str(tmp_path / "texts.jsonl")])
    assert result.exit_code == 2
    output = " ".join(result.output.split())
    assert words in output
    assert "--measure" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of the two"),
        (["x.jsonl", "--entropy", "1"], "one of the two"),
        (["none-such.jsonl"], "cannot be read"),
        (["--entropy", "-1"], "at least 0"),
        (["--entropy", "1", "--fpr", "1.5"], "fpr=1.5"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str) -> None:
    result = runner.invoke(app, ["plan", *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
