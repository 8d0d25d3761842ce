"""The front of the command line: functions that commands call, help that is light, examples that run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from tests.helpers.detecting import KEY, lines, marked, other
from tradeoff.cli import app, help
from tradeoff.curves import CLASSES, DEFAULT_SEEDS
from tradeoff.decoders import watermarks
from tradeoff.kernels import METHODS, WIDEST, Standard
from tradeoff.keyed import PRF_NAMES
from tradeoff.texts import IN_FOLDERS
from tradeoff.verdicts import Correction

#: What takes long to import, or is of an extra; Typer itself may import pydantic.
HEAVY = {"numpy", "pandas", "scipy", "torch", "transformers", "pyarrow", "matplotlib", "tokenizers"}
COMMANDS = (
    "",
    "curve",
    "decoys",
    "detect",
    "generate",
    "plan",
    "serve",
    "key",
    "key new",
    "key fingerprint",
    "key list",
)


@pytest.mark.parametrize(
    ("command", "place", "arguments"),
    [
        ("curve", "tradeoff.api.curve", ["--paper"]),
        (
            "generate",
            "tradeoff.api.generate",
            ["--prompts", "builtin:question", "-o", "texts.jsonl", "--method", "standard"],
        ),
        ("detect", "tradeoff.cli.detect.detect_all", ["texts.txt", "--key", "7777777777777777777"]),
        ("decoys", "tradeoff.api.decoys", ["texts.txt"]),
        ("plan", "tradeoff.api.forecast", ["--entropy", "1"]),
    ],
)
def test_a_command_is_the_function(monkeypatch, tmp_path, command, place, arguments):
    def called(*_: object, **__: object) -> None:
        raise ValueError("this is the function")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place, called)
    result = CliRunner().invoke(app, [command, *arguments])
    assert result.exit_code == 2
    assert "this is the function" in result.stderr


def test_names_in_help_are_those_of_the_library() -> None:
    assert watermarks().startswith(help.WATERMARKS)
    assert tuple(METHODS)[: len(help.METHODS)] == help.METHODS
    assert Standard.name in help.METHODS
    assert (WIDEST, PRF_NAMES, tuple(CLASSES)) == (help.WIDEST, help.PRF_NAMES, help.CLASSES)
    assert (help.SEEDS, help.IN_FOLDERS) == (DEFAULT_SEEDS, IN_FOLDERS)
    assert get_args(help.CorrectionName) == tuple(str(one) for one in Correction)


def test_help_imports_nothing_heavy() -> None:
    """Of every command, and completion: what it takes is Typer's own."""
    code = (
        "import json, sys\n"
        "from tradeoff.cli import app\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        app([*command.split(), '--help'])\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0, command\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(COMMANDS)], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_short_help_and_examples(command: str) -> None:
    short, long = (CliRunner().invoke(app, [*command.split(), how]) for how in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0
    assert short.stdout == long.stdout
    assert "Usage: " in short.stdout
    if command != "key":
        assert "Examples:" in short.stdout
        assert f"tradeoff {command}".strip() in short.stdout.partition("Examples:")[2]


def test_version() -> None:
    told = CliRunner().invoke(app, ["--version"])
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert told.exit_code == 0
    written = re.search(r'^version = "(.*)"', pyproject, re.MULTILINE)
    assert written is not None
    assert told.stdout == f"tradeoff {written[1]}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_a_shell(shell: str) -> None:
    """As `tradeoff --show-completion` prints it in that shell, which is told here and not looked for."""
    code = "import sys; from tradeoff.cli import app; app(sys.argv[1:], prog_name='tradeoff')"
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, "--show-completion", shell],
        capture_output=True,
        text=True,
        check=True,
        env=path | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert "_TRADEOFF_COMPLETE" in done.stdout
    words = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=path | {"_TRADEOFF_COMPLETE": "complete_bash", "COMP_WORDS": "tradeoff de", "COMP_CWORD": "1"},
    )
    assert words.stdout.split() == ["decoys", "demo", "detect"]


def examples_of(command: str) -> list[str]:
    """What the help of a command shows, a line each."""
    found = get_command(app)
    for word in command.split():
        found = found.commands[word]
    return [line.strip() for line in (found.epilog or "").split("\n\n")[1:]]


EXAMPLES = [line for command in COMMANDS for line in examples_of(command)]


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_are_commands(line: str) -> None:
    """Words, options and values that the command takes."""
    assert len(line) < 78
    words = shlex.split(line.rpartition("|")[2])
    assert words[0] == "tradeoff"
    found, rest = get_command(app), words[1:]
    while isinstance(found, TyperGroup):
        found, rest = found.commands[rest[0]], rest[1:]
    # Parses and checks, and runs nothing.
    assert found.make_context("tradeoff", rest).params


def test_examples_without_a_model_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").mkdir()
    KEY.write(tmp_path / "keys" / "a.key")
    for name in "PQ":
        (tmp_path / f"{name}.json").write_text("[0.5, 0.3, 0.2]")
    ids = other(60)
    lines(tmp_path / "texts.jsonl", {"token_ids": ids, "log_p": [-1.0] * 60, "entropy": [1.0] * 60})
    # The first makes my.key.
    tried = [line for line in EXAMPLES if line.split()[1] in ("key", "curve", "plan")]
    assert len(tried) > 8
    for line in dict.fromkeys(tried):
        done = CliRunner().invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, (line, done.output)


def test_quiet_leaves_results_alone(tmp_path: Path) -> None:
    """Of texts those that are watermarked; nothing where none is."""
    KEY.write(tmp_path / "key")
    both = lines(
        tmp_path / "x.jsonl", {"id": "a", "token_ids": other(60)}, {"id": "b", "token_ids": marked(60)}
    )
    none = lines(tmp_path / "y.jsonl", {"id": "a", "token_ids": other(60)})
    how = ["--key-file", str(tmp_path / "key"), "-q"]
    shown = CliRunner().invoke(app, ["detect", str(both), *how])
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "watermarked" in shown.stdout
    assert "not detected" not in shown.stdout
    assert "false-positive rate" not in shown.stdout
    silent = CliRunner().invoke(app, ["detect", str(none), *how])
    assert (silent.exit_code, silent.output) == (0, "")
    broken = CliRunner().invoke(app, ["detect", str(tmp_path / "gone.txt"), *how])
    assert broken.exit_code == 2
    assert "gone.txt does not exist" in broken.stderr
    made = CliRunner().invoke(app, ["key", "new", "-q", "-o", str(tmp_path / "new.key")])
    assert (made.exit_code, made.output) == (0, "")
    curve = CliRunner().invoke(app, ["curve", "--paper", "--points", "2", "--quiet"])
    assert "exact: no random numbers" not in curve.output
    assert "linear" in curve.stdout
    plan = CliRunner().invoke(app, ["plan", "--entropy", "1", "--quiet"])
    assert "never count" not in plan.output
    assert "95%" in plan.stdout
