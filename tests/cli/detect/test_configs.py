"""Configurations of other software, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.helpers.detecting import VOCABULARY, marked, other
from tradeoff.cli import app
from tradeoff.keyed import VllmPhilox

runner = CliRunner()
SECRET = 0xFEDCBA9876543210
VLLM = {"key": SECRET, "algorithm": "gumbel", "context_width": 2}


def written(path: Path, told: object, mode: int = 0o600) -> Path:
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    path.chmod(mode)
    return path


def detect(*arguments: object, env: dict[str, str] | None = None):
    return runner.invoke(app, ["detect", *map(str, arguments)], env=env)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    ids = marked(60, VllmPhilox(SECRET, 2))
    return written(tmp_path / "x.jsonl", json.dumps({"token_ids": ids}))


def test_a_text_is_found_by_the_configuration_of_its_server(text: Path) -> None:
    """With or without another configuration beside it, in one process or two; no output shows a key."""
    config = written(text.parent / "watermark.json", VLLM)
    synthid = written(text.parent / "synthid.json", {"keys": [3**39, 5**25], "ngram_len": 5})
    for more in ([], ["--config", synthid], ["--workers", 2]):
        result = detect(text, "--config", config, "--json", *more)
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert told["verdict"] == "watermarked"
        assert told["prf"] == "vllm-philox-v1"
        assert told["key"] == VllmPhilox(SECRET).fingerprint
        assert len(told["tests"]) == (2 if more[:1] == ["--config"] else 1)
        assert str(SECRET) not in result.output
    # Another's key finds nothing.
    config.write_text(json.dumps(VLLM | {"key": SECRET - 1}))
    assert json.loads(detect(text, "--config", config, "--json").stdout)["verdict"] == "not detected"


def test_weights_of_two_keys_are_those_of_the_configuration(text: Path) -> None:
    config = written(text.parent / "dual.json", VLLM | {"algorithm": "dual_key_gumbel", "alpha": 0.25})
    result = detect(text, "--config", config, "--json")
    assert json.loads(result.stdout)["method"] == "two-keys"
    table = detect(text, "--config", config)
    assert "alpha 0.25" in table.output
    assert str(SECRET) not in table.output


@pytest.mark.parametrize(
    "options",
    [
        ["--key", "5"],
        ["--key-file", "key"],
        ["--method", "basic"],
        ["--watermark", "gumbel"],
        ["--prf", "vllm-philox-v1"],
        ["--context-width", "4"],
        ["--alpha", "0.2"],
    ],
    ids=lambda options: options[0],
)
def test_configurations_stand_alone(text: Path, options: list[str]) -> None:
    config = written(text.parent / "watermark.json", VLLM)
    result = detect(text, "--config", config, *options)
    assert result.exit_code == 2
    assert f"--config says what {options[0]} does" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (VLLM | {"sbw_gamma": 0.5}, "has the field 'sbw_gamma', unknown to this version"),
        ({"keys": [3**39, 5**25], "ngram_len": 5, "debug_mode": True}, "debug_mode=true"),
        ({"hashing_key": SECRET, "bias": 2.0}, "vocabulary is missing"),
        (f'{{"key": {SECRET}', "is no JSON, or is damaged"),
        (f"[{SECRET}]", "the configuration is list, not an object of JSON"),
        ("", "is no JSON, or is damaged"),
    ],
    ids=["unknown field", "debug", "no vocabulary", "cut off", "list", "empty"],
)
def test_odd_configurations_are_refused_without_a_secret(text: Path, told: object, message: str) -> None:
    config = written(text.parent / "watermark.json", told)
    result = detect(text, "--config", config)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert str(SECRET) not in result.output
    gone = detect(text, "--config", text.parent / "gone.json")
    assert (gone.exit_code, "does not exist" in gone.output) == (2, True)


def test_green_lists_need_the_vocabulary(tmp_path: Path) -> None:
    """Of the option, or of config.json beside the file or in the folder of the tokenizer."""
    config = written(tmp_path / "generation_config.json", {"watermarking_config": {"hashing_key": SECRET}})
    text = written(tmp_path / "x.jsonl", json.dumps({"token_ids": other(50)}))
    assert detect(text, "--config", config, "--vocabulary", VOCABULARY).exit_code == 0
    (model := tmp_path / "model").mkdir()
    written(model / "config.json", {"vocab_size": VOCABULARY})
    assert detect(text, "--config", config, "--tokenizer", model).exit_code == 0
    written(tmp_path / "config.json", {"vocab_size": VOCABULARY})
    told = json.loads(detect(text, "--config", config, "--json").stdout)
    assert told["prf"] == f"hf-kgw:{VOCABULARY}"
    assert detect(text, "--vocabulary", VOCABULARY, env={"TRADEOFF_KEY": "ab" * 32}).exit_code == 2


def test_a_file_that_others_can_read_is_told(text: Path) -> None:
    config = written(text.parent / "watermark.json", VLLM, mode=0o644)
    assert "is open to other users" in detect(text, "--config", config).output


@pytest.mark.parametrize(
    ("told", "method"),
    [
        ({}, "joint-race"),
        ({"deduplicate_contexts": "all"}, "joint-race"),
        ({"deduplicate_contexts": "none", "allow_target_only_watermarking": True}, "target-only"),
        ({"algorithm": "dual_key_gumbel", "alpha": 0.25}, "two-keys"),
    ],
    ids=["gumbel", "all", "target only", "dual key"],
)
def test_text_is_generated_by_a_configuration(
    tiny_folder: Path, tmp_path: Path, told: dict, method: str
) -> None:
    config, output = written(tmp_path / "watermark.json", VLLM | told), tmp_path / "out.jsonl"
    command = ["generate", "the man", "--config", str(config), "-o", str(output), "--max-tokens", "80"]
    command += ["--ignore-eos", "--target", str(tiny_folder), "--draft", "skip:1", "--temperature", "2"]
    made = runner.invoke(app, command)
    assert made.exit_code == 0, made.output
    assert f"--config {config}" in made.output.replace("\n", " ")
    record = json.loads(output.read_text())
    run = record["run"]
    assert (run["method"], run["context_width"], run.get("alpha")) == (method, 2, told.get("alpha"))
    settings = {"all": ":all,history=8192", "none": ":none"}.get(
        told.get("deduplicate_contexts"), ":history=8192"
    )
    assert run["prf"] == f"vllm-philox-v1{settings}"
    assert str(SECRET) not in made.output + output.read_text()
    found = json.loads(detect(output, "--config", config, "--json").stdout)
    # The record names nothing that is not looked for.
    assert len(found["tests"]) == 1
    if method != "target-only":
        assert found["log10_p"] < -6
    beside = runner.invoke(app, [*command, "--prf", "vllm-philox-v1"])
    assert beside.exit_code == 2
    assert "--config says what --prf does" in " ".join(beside.output.split())
    if method == "two-keys":
        # Of the same keys with the same weights: what vLLM does without speculation.
        path = tmp_path / "alone.jsonl"
        alone = runner.invoke(app, [*command[:5], str(path), *command[6:], "--method", "dual-key"])
        assert alone.exit_code == 0, alone.output
        routed = json.loads(path.read_text())["run"]
        assert (routed["method"], routed["alpha"]) == ("dual-key", told["alpha"])
    other_method = runner.invoke(app, [*command, "--method", "keep-efficiency"])
    assert "draws under other streams of the key" in " ".join(other_method.output.split())
    assert np.all(np.array(record["token_ids"]) >= 0)
