"""The commands call the functions of the front door, so that a user of the library can do what they do."""

from __future__ import annotations

import importlib

import pytest
from typer.testing import CliRunner

from tradeoff.cli import app


@pytest.mark.parametrize(
    ("command", "function", "arguments"),
    [
        ("curve", "curve", ["--paper"]),
        (
            "generate",
            "generate",
            ["--prompts", "builtin:question", "-o", "texts.jsonl", "--method", "standard"],
        ),
        ("detect", "detect_all", ["texts.txt", "--key", "7777777777777777777"]),
        ("plan", "forecast", ["--entropy", "1"]),
    ],
)
def test_a_command_is_the_function(monkeypatch, tmp_path, command, function, arguments):
    def called(*_: object, **__: object) -> None:
        raise ValueError("this is the function")

    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"tradeoff.cli.{command}")
    assert getattr(module, function) is getattr(importlib.import_module("tradeoff.api"), function)
    monkeypatch.setattr(module, function, called)
    result = CliRunner().invoke(app, [command, *arguments])
    assert result.exit_code == 2
    assert "this is the function" in result.stderr
