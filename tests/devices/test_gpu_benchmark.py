"""The script for a GPU, tried out on the CPU with tiny models: what it writes, and that it goes on."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from paper_repro.pages.parts import measured
from tests.benchmarks import bench_round
from tests.benchmarks.gpu import __main__ as gpu
from tests.benchmarks.gpu import numbers, speed
from tests.benchmarks.gpu.results import Results, Step
from tests.helpers.support import Z
from tests.helpers.texts import MakePair, some_prompts
from tradeoff.kernels import METHODS

TOKENS, BATCH = 8, 2
CHOSEN = ["standard", "joint-race", "one-race-tree"]


@pytest.fixture
def tiny(make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tiny models, short vocabularies, and a suite that is not run: its commands."""
    pair, commands = make_pair(8), []
    monkeypatch.setattr(gpu, "load_pair", lambda *_, **__: pair)
    monkeypatch.setattr(numbers, "TOKENS", 50)
    monkeypatch.setattr(bench_round, "encode_prompts", lambda *_: some_prompts(BATCH))
    monkeypatch.setattr(speed, "prompts_of", lambda pair, count: some_prompts(count))

    def run(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(" ".join(command))
        return SimpleNamespace(returncode=0, stdout="...\n3 passed, 4 skipped, 9 deselected in 2.00s\n")

    monkeypatch.setattr(gpu.subprocess, "run", run)
    return commands


def settings(methods: list[str]) -> gpu.Settings:
    return gpu.Settings("builtin", "builtin", "cpu", None, methods, [BATCH], TOKENS)


def test_a_run_on_a_cpu(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All tables, which say by name that they are of no GPU; a second run measures nothing."""
    assert gpu.measure(settings(CHOSEN), tmp_path) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "no GPU: figures are of cpu, and are not figures of a GPU" in told
    assert f"results: {tmp_path}" in told.replace(" /", "/").replace("results:/", "results: /")
    assert "-k cuda tests/keyed" in tiny[0]
    tables = {name: pd.read_csv(tmp_path / f"gpu_{name}.csv") for name in ("suite", "numbers", "speed")}
    tables |= {name: pd.read_csv(tmp_path / f"gpu_{name}.csv") for name in ("acceptance", "profile")}
    for table in tables.values():
        assert (table["device"] == "cpu").all()
        assert table["error"].isna().all()
        assert list(table.columns[-5:]) == list(measured.ENVIRONMENT)
    assert tables["suite"][["passed", "skipped"]].values.tolist() == [[3, 4]]
    same = tables["numbers"]
    assert (same["equal"] == same["numbers"]).all()
    assert set(same["kind"]) == {"uniform", "race", "bits", "lists", "buckets", "listed"}
    assert set(same.loc[same["prf"] == "blake2b-splitmix-v1", "stream"]) == {
        *("shared", "draft", "target", "acceptance"),
        "all",
    }
    speeds = tables["speed"].set_index("method")
    assert list(speeds.index) == ["basic, no watermark", *CHOSEN]
    assert (speeds["tokens_per_second"] > 0).all()
    assert speeds["outside_models"].between(0, 1, inclusive="neither").all()
    plain = speeds.loc["basic, no watermark", "tokens_per_second"]
    np.testing.assert_allclose(speeds["times_plain"], speeds["tokens_per_second"] / plain)
    accepted = tables["acceptance"].set_index("method")
    # Trees accept more than their first candidate.
    assert list(accepted.index) == ["standard", "joint-race"]
    assert (accepted["z"].abs() < Z).all()
    profile = (tmp_path / str(tables["profile"]["file"][0])).read_text(encoding="utf-8")
    assert "aten::" in profile

    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert gpu.measure(settings(CHOSEN), tmp_path) == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(tiny) == 1
    # What is new is appended.
    assert gpu.measure(settings([*CHOSEN, "single-key"]), tmp_path) == 0
    grown = (tmp_path / "gpu_speed.csv").read_bytes()
    assert grown.startswith(before[tmp_path / "gpu_speed.csv"])
    assert pd.read_csv(tmp_path / "gpu_speed.csv")["method"].tolist()[-1] == "single-key"


def test_what_fails_is_told_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And keeps no other step from being measured; other settings are other rows."""
    answers = iter([RuntimeError("no memory\nlines below"), {"x": 1}])

    def measure() -> dict[str, object]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    first, second = Step("some", {"k": "a"}, measure), Step("some", {"k": "b"}, lambda: {"x": 2})
    results = Results(tmp_path, {"device": "cpu"})
    assert gpu.run([first, second], results) == 1
    assert "some a failed: RuntimeError: no memory" in capsys.readouterr().err
    rows = pd.read_csv(tmp_path / "gpu_some.csv")
    assert rows["error"].fillna("").tolist() == ["RuntimeError: no memory", ""]
    assert gpu.run([first, second], results) == 0
    assert results.value("some", "x", k="a") == 1
    assert results.value("some", "x", k="c") is None
    assert not Results(tmp_path, {"device": "another"}).holds(first)


def test_a_suite_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is an error with pytest's last line."""
    answer = SimpleNamespace(returncode=1, stdout="E\n1 failed, 2 passed in 1.0s\n", stderr="")
    monkeypatch.setattr(gpu.subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(RuntimeError, match="1 failed, 2 passed"):
        gpu.suite("cpu")


def test_a_suite_that_runs_nothing_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every test skipped pytest is content, and nothing has been measured."""
    answer = SimpleNamespace(returncode=0, stdout="36 skipped in 1.0s\n", stderr="")
    monkeypatch.setattr(gpu.subprocess, "run", lambda *_, **__: answer)
    assert gpu.suite("cpu") == {"passed": 0, "skipped": 36}
    with pytest.raises(RuntimeError, match="no test ran on cuda: 36 skipped"):
        gpu.suite("cuda")


def test_numbers_that_differ_are_counted() -> None:
    """One of five, by a tenth."""

    def of(tokens: object) -> object:
        found = np.arange(1.0, 6.0)
        return (
            torch.from_numpy(np.where(found == 3, 3.3, found)) if isinstance(tokens, torch.Tensor) else found
        )

    row = numbers._compared(of, torch.device("cpu"))
    assert (row["numbers"], row["equal"]) == (5, 4)
    assert row["difference"] == pytest.approx(0.1)


def test_acceptance_is_counted(make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: four verified drafts with chances 1/2, of which three were accepted, have z = 1."""
    text = SimpleNamespace(sources="ddrdb", overlap=[0.5, 0.5, 0.5, 0.5, None])
    monkeypatch.setattr(speed, "Engine", lambda *_: SimpleNamespace(generate=lambda prompts: [text]))
    monkeypatch.setattr(speed, "prompts_of", lambda *_: [])
    row = speed.acceptance_of(make_pair(8), speed.method_of("joint-race"), 1, 5)
    assert (row["verified"], row["accepted"], row["expected"]) == (4, 3, 2.0)
    assert row["z"] == pytest.approx(1 / math.sqrt(4 * 0.25))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_watermark_that_it_carries(name: str) -> None:
    method = speed.method_of(name)
    assert method.name == name
    assert method.decoder.marks == (name != "standard")


@pytest.mark.parametrize("batches", ["", "0", "131", "1,,2", "many"])
def test_batches_that_are_none(batches: str) -> None:
    with pytest.raises(ValueError, match=r"1 to 130 with commas, as 1,16,64"):
        gpu.sizes(batches)


def test_methods_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="methods='fast' is unknown; use basic"):
        gpu.measure(settings(["fast"]), tmp_path)
