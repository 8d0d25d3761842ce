"""A real `tradeoff serve --generate`: it writes what `tradeoff generate` does, and what it cannot do is
refused before anything is loaded."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.helpers.detecting import KEY, runner
from tests.serving.asking import JSON, Answer, Served
from tests.serving.test_generate import events, timeless
from tradeoff.cli import app
from tradeoff.keyed import Key, KeyFile

PROMPT = "the sea at night"
YESTERDAY, TOMORROW = (date.today() + timedelta(days=days) for days in (-1, 1))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Served]:
    models = ["--target", str(tiny_folder), "--draft", str(tiny_folder), "--lookahead", "2"]
    options = ["--workers", "1", "--generate", *models, "--max-new-tokens", "100", "--log"]
    with Served(tmp_path_factory.mktemp("served"), options) as server:
        yield server


def ask(served: Served, **told: object) -> Answer:
    body = json.dumps({"prompt": PROMPT, "max_tokens": 60, **told}).encode()
    return served.ask("POST", "/v1/generate", JSON, body)


@pytest.mark.slow
def test_it_writes_what_generate_writes(served: Served, tiny_folder: Path) -> None:
    """And `/v1/detect` finds it. Of a folder the name alone is told."""
    models = ["--target", str(tiny_folder), "--draft", str(tiny_folder), "--lookahead", "2"]
    done = runner.invoke(
        app,
        [
            "generate",
            PROMPT,
            *models,
            "--key-file",
            str(served.key),
            "--max-tokens",
            "60",
            "--json",
            "--quiet",
        ],
    )
    (wanted,) = timeless([json.loads(line) for line in done.stdout.splitlines()])
    wanted["run"] |= dict.fromkeys(("target", "draft"), tiny_folder.name)
    (record,) = ask(served).json()["results"]
    assert timeless([record]) == [wanted]
    *pieces, (name, last) = events(ask(served, stream=True))
    assert (name, timeless(last["results"])) == ("end", [wanted])
    assert "".join(piece["text"] for _, piece in pieces) == wanted["text"]
    (found,) = served.post({name: record[name] for name in ("text", "token_ids", "run")}).json()["results"]
    assert found["verdict"] == "watermarked"


@pytest.mark.slow
def test_a_connection_that_is_closed_ends_the_text(served: Served) -> None:
    """With the first event read, and none after it."""
    body = json.dumps({"prompt": PROMPT, "max_tokens": 100, "min_tokens": 100, "stream": True}).encode()
    lines = ("POST /v1/generate HTTP/1.1", "host: localhost", "content-type: application/json")
    head = "\r\n".join((*lines, f"content-length: {len(body)}", "", ""))
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200 ")
    until = time.monotonic() + 60
    while 'tradeoff_generations_total{outcome="left"} 1.0' not in (told := counts(served)):
        assert time.monotonic() < until, told
        time.sleep(0.01)
    assert "tradeoff_generations_running 0.0" in told
    assert ask(served, max_tokens=5).status == 200


def counts(served: Served) -> list[str]:
    return served.ask("GET", "/metrics").body.decode().splitlines()


@pytest.mark.slow
def test_nothing_of_prompts_texts_and_keys_is_printed(served: Served) -> None:
    record = ask(served, prompt="a prompt that nobody else has").json()["results"][0]
    ask(served, prompt="a prompt that nobody else has", nonsense=1)
    said = "".join(served.said)
    assert "POST /v1/generate 200" in said
    for secret in ("a prompt that", record["text"], KEY.secret.hex()):
        assert secret not in said


def keys(folder: Path, **days: dict) -> list[str]:
    """A key file each, by names."""
    for name, more in days.items():
        KeyFile(Key.new(), name=name, **more).write(folder / f"{name}.key")
    return ["--key-file", str(folder)]


@pytest.mark.parametrize(
    ("days", "options", "why"),
    [
        ({"one": {}}, ["--target", "builtin"], "--target builtin is for --generate"),
        ({"one": {}}, ["--max-samples", "2"], "--max-samples 2 is for --generate"),
        ({"one": {}}, ["--generate-key", "one"], "--generate-key one is for --generate"),
        ({"one": {}}, ["--generate", "--lookahead", "auto"], "--lookahead auto is no number"),
        ({"one": {}}, ["--generate", "--method", "standard"], "standard"),
        (
            {"one": {}},
            ["--generate", "--watermark", "gumbel", "--watermark", "synthid:30"],
            "writes by one --watermark, and 2 are given",
        ),
        ({"one": {}}, ["--generate", "--generate-key", "two"], "--generate-key two: no key has"),
        ({"one": {}}, ["--generate", "--generate-queue", "64"], "generate_queue=64"),
        ({"one": {}}, ["--generate", "--max-new-tokens", "0"], "max_new_tokens=0"),
        ({"one": {}, "two": {}}, ["--generate"], "2 keys are valid today: one, two; name one"),
        ({"one": {"valid_until": YESTERDAY}}, ["--generate"], "key one is valid from ever until"),
        (
            {"one": {"valid_from": TOMORROW}, "two": {}},
            ["--generate", "--generate-key", "one"],
            "key one is valid from",
        ),
        (
            {"one": {"valid_from": TOMORROW}, "two": {"valid_until": YESTERDAY}},
            ["--generate"],
            "no key is valid on",
        ),
    ],
)
def test_what_cannot_generate_is_refused_by_name(tmp_path: Path, days: dict, options: list, why: str) -> None:
    done = runner.invoke(app, ["serve", *keys(tmp_path, **days), *options], env={"COLUMNS": "1000"})
    assert done.exit_code == 2
    assert why in done.stderr


def test_of_several_keys_the_valid_or_the_named_one_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is handed to no process: what reads it is."""
    import tradeoff.serving

    given = []
    monkeypatch.setattr(tradeoff.serving, "serve", lambda *_, writing, **__: given.append(writing))
    files = keys(tmp_path, old={"valid_until": YESTERDAY}, one={"valid_from": TOMORROW}, two={})
    assert runner.invoke(app, ["serve", *files, "--generate"]).exit_code == 0
    KeyFile(Key.new(), name="three").write(tmp_path / "three.key")
    for named in ("three", KeyFile.read(tmp_path / "three.key").fingerprint):
        done = runner.invoke(app, ["serve", *files, "--generate", "--generate-key", named])
        assert done.exit_code == 0
    assert [writing.read_key().name for writing in given] == ["two", "three", "three"]
    assert given[0].scheme.label == tradeoff.Scheme.of().label
    assert runner.invoke(app, ["serve", *files]).exit_code == 0
    assert given[3] is None
