"""`tradeoff demo` on a tiny model: what it shows, and that its commands are those that made it."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tradeoff.cli import app
from tradeoff.cli.demo import _documents
from tradeoff.keyed import Key
from tradeoff.texts import human_paragraphs

runner = CliRunner()


@pytest.fixture
def options(tiny_folder: Path, make_tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tiny model with a chat format, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    # Of other keys this model writes control characters, which no text file has.
    monkeypatch.setattr(Key, "new", lambda: Key(bytes(range(32))))
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copytree(tiny_folder, "model")
    template = "{% for message in messages %}the {{ message['content'] }} {% endfor %}"
    make_tokenizer(chat_template=template).save_pretrained("model")
    return ["--target", "model", "--draft", "skip:1", "--prompt", "the man", "--max-tokens", "120"]


def _commands(output: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in output.splitlines() if line.startswith("tradeoff ")]


def test_its_commands_make_what_it_shows(options: list[str]) -> None:
    result = runner.invoke(app, ["demo", *options])
    assert result.exit_code == 0, result.output + result.stderr
    commands = _commands(result.output)
    assert [command[0] for command in commands] == ["key", "generate", "generate", "detect"]
    assert Path("tradeoff-demo/evidence.html").is_file()
    assert "without a watermark" in result.output
    assert result.output.count(" a step ") == 2

    # As typed by a reader, in another folder: the same key writes the same text.
    made = {name: Path(f"tradeoff-demo/{name}.jsonl").read_text() for name in ("marked", "unmarked")}
    Path("tradeoff-demo/my.key").rename("kept.key")
    shutil.rmtree("tradeoff-demo")
    Path("tradeoff-demo/texts").mkdir(parents=True)
    Path("kept.key").rename("tradeoff-demo/my.key")
    for command in commands[1:3]:
        assert runner.invoke(app, command).exit_code == 0
    for name, before in made.items():
        again = json.loads(Path(f"tradeoff-demo/{name}.jsonl").read_text())
        assert again["token_ids"] == json.loads(before)["token_ids"]


def test_a_tenth_of_the_words_is_replaced() -> None:
    marked = " ".join(f"word{i}" for i in range(100))
    documents = _documents("unmarked words", marked)
    assert set(documents) == {"edited", "human", "marked", "unmarked"}
    assert documents["human"] in human_paragraphs()
    edited = np.array(documents["edited"].split(" "))
    assert (edited != np.array(marked.split(" "))).sum() == 10


def test_what_is_there_stays(options: list[str]) -> None:
    Path("tradeoff-demo").mkdir()
    Path("tradeoff-demo/notes.txt").write_text("mine")
    result = runner.invoke(app, ["demo", *options])
    assert result.exit_code == 2
    assert "holds something already" in result.output
    assert [path.name for path in Path("tradeoff-demo").iterdir()] == ["notes.txt"]


def test_a_command_that_fails_ends_it(options: list[str]) -> None:
    # The draft that is named last counts.
    result = runner.invoke(app, ["demo", *options, "--draft", "./no-such-model"])
    assert result.exit_code == 2
    assert "no-such-model" in result.output
    assert "3." not in result.output
