"""Nothing runs from data: Python files in model and tokenizer folders stay files, whoever says yes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.versions.lock import ROOT
from tradeoff.llm.models.huggingface import code_in
from tradeoff.llm.models.loading import load_tokenizer
from tradeoff.llm.models.pair import load_pair

MARK = "this-file-has-run"


@pytest.fixture
def hostile(tiny_folder: Path, tmp_path: Path) -> Path:
    """A model folder of a family that nobody knows; its configuration, model and tokenizer are Python."""
    folder = tmp_path / "hostile"
    shutil.copytree(tiny_folder, folder)
    code = f"open({str(tmp_path / MARK)!r}, 'w').close()\nraise SystemExit('run')\n"
    for name in ("settings_of_it", "model_of_it", "words_of_it"):
        (folder / f"{name}.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "never-heard-of", "architectures": ["Model"]}
    config["auto_map"] = {"AutoConfig": "settings_of_it.Config", "AutoModelForCausalLM": "model_of_it.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    words = json.loads((folder / "tokenizer_config.json").read_text())
    words |= {"tokenizer_class": "Words", "auto_map": {"AutoTokenizer": ["words_of_it.Words", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    return folder


@pytest.mark.parametrize("load", ["load_tokenizer({!r})", "load_pair({!r}, 'skip:1')"])
def test_code_is_never_run(hostile: Path, tmp_path: Path, load: str) -> None:
    """Not by a yes on standard input either; the error names the file."""
    code = "from tradeoff.llm import load_pair, load_tokenizer\n"
    command = [sys.executable, "-c", code + load.format(str(hostile))]
    result = subprocess.run(command, input="y\ny\ny\n", capture_output=True, text=True, cwd=ROOT, check=False)
    assert not (tmp_path / MARK).exists()
    assert result.returncode == 1
    assert "Do you wish to run" not in result.stdout + result.stderr
    said = result.stderr.splitlines()[-1]
    assert (
        "comes with code of its own (model_of_it.py, settings_of_it.py, words_of_it.py), which is never run"
        in said
    )


def test_files_that_are_named_and_not_needed(tiny_folder: Path, tmp_path: Path) -> None:
    """A family that Transformers knows is loaded with its own classes, whatever else the folder names."""
    folder = tmp_path / "known"
    shutil.copytree(tiny_folder, folder)
    (folder / "model_of_it.py").write_text("raise SystemExit('run')\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "somebody/elses--model_of_it.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    assert code_in(folder) == ["model_of_it.py"]
    assert (
        type(load_pair(folder, "skip:1", device="cpu", progress=False).target).__name__ == "LlamaForCausalLM"
    )
    assert len(load_tokenizer(folder, progress=False)) == len(load_tokenizer(tiny_folder, progress=False))


def test_settings_that_cannot_be_read_name_nothing(tmp_path: Path) -> None:
    assert code_in(tmp_path) == []
    (tmp_path / "config.json").write_text("[1, 2")
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": [7, null]}}')
    assert code_in(tmp_path) == []
