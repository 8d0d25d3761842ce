"""A real `tradeoff serve`: it says what `tradeoff detect --json` says, tells no key, and ends well."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.detecting import KEY, findings, marked, other, runner
from tests.serving.asking import JSON, Served, form
from tradeoff.cli import app
from tradeoff.keyed import KeyFile

OPTIONS = ("--workers", "2", "--timeout", "20", "--log")
WORDS = (
    "The harbour was quiet when we arrived, and nobody came to meet us. We walked to the church, where the "
    "door was open, and waited. Later somebody brought a lamp and a key, and asked what we wanted there."
)
RECORDS: list[dict[str, Any]] = [
    {"token_ids": marked(200)},
    {"token_ids": [*other(300), *marked(60), *other(250, seed=2)], "id": "mixed"},
    {"token_ids": [7], "id": 5},
    {"token_ids": []},
    {"text": ""},
    {"text": WORDS},
    {"text": "A\u00a0few words \u0000 and more.\n", "id": "odd"},
    {"text": WORDS, "token_ids": marked(80), "id": "both"},
    {"token_ids": marked(80), "run": {"method": "joint-race", "watermark": "gumbel", "key": KEY.fingerprint}},
    {"token_ids": marked(80), "run": {"method": "basic", "watermark": "kgw:2", "context_width": 1}},
    {"token_ids": marked(80), "run": {"method": 5}},
    {"text": WORDS, "run": {"method": "algorithm-1", "watermark": "synthid:30"}},
]
FILES: dict[str, bytes] = {
    "letter.txt": WORDS.encode(),
    "letter.md": f"# Letter\r\n\r\n{WORDS}\r\n".encode(),
    "page.html": f"<p>{WORDS}</p>".encode(),
    "lines.jsonl": "".join(json.dumps(one) + "\n" for one in RECORDS).encode(),
    "list.json": json.dumps(RECORDS[:3]).encode(),
    "table.csv": f'id,text\na,"{WORDS}"\nb,short\n'.encode(),
    "table.tsv": f"id\ttext\na\t{WORDS}\n".encode(),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), OPTIONS) as server:
        yield server


def detected(served: Served, *arguments: object, **how: Any) -> list[dict]:
    """What `tradeoff detect --json` prints with the server's key."""
    return findings(
        runner.invoke(app, ["detect", *map(str, arguments), "--json", "--key-file", str(served.key)], **how)
    )


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_it_says_what_detect_says_of_a_record(served: Served, record: dict) -> None:
    answer = served.post(record)
    assert answer.status == 200, answer.body
    assert answer.json()["results"] == detected(served, "-", input=json.dumps(record) + "\n")


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ({"fpr": 1e-6}, ["--fpr", "1e-6"]),
        ({"segments": False}, ["--whole"]),
        ({"retokenize": True}, ["--retokenize"]),
        ({"fpr": 0.05, "segments": True}, ["--fpr", "0.05", "--segments"]),
    ],
)
def test_it_says_what_detect_says_with_its_options(served: Served, said: dict, options: list) -> None:
    record = {"text": WORDS, "token_ids": marked(80)}
    answer = served.post(record | said).json()
    assert answer["results"] == detected(served, "-", *options, input=json.dumps(record) + "\n")


@pytest.mark.parametrize("name", FILES)
def test_it_says_what_detect_says_of_a_file(
    served: Served, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    monkeypatch.chdir(tmp_path)
    answer = served.ask("POST", "/v1/detect", *form(("file", name, FILES[name])))
    assert answer.status == 200, answer.body
    assert answer.json()["results"] == detected(served, name)


def test_it_reads_documents(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import docx

    document = docx.Document()
    document.add_paragraph(WORDS)
    document.save(str(tmp_path / "letter.docx"))
    monkeypatch.chdir(tmp_path)
    content = (tmp_path / "letter.docx").read_bytes()
    answer = served.ask("POST", "/v1/detect", *form(("file", "letter.docx", content)))
    assert answer.json()["results"] == detected(served, "letter.docx")


def test_many_at_once_get_the_answers_of_each_alone(served: Served) -> None:
    """Sixteen at a time, on two processes, whatever they finish first."""
    records = [{"token_ids": (marked if number % 2 else other)(60 + number)} for number in range(16)]
    alone = [served.post(record).body for record in records]
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda record: served.post(record).body, records * 3))
    assert together == alone * 3


def test_it_answers_others_while_a_long_text_is_judged(served: Served) -> None:
    long = threading.Thread(target=served.post, args=({"token_ids": other(100_000)},))
    long.start()
    assert served.ask("GET", "/healthz").status == 200
    long.join()


def test_a_body_that_is_cut_off_leaves_the_server_as_it_was(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(
            b"POST /v1/detect HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        )
        connection.sendall(b"content-length: 1000\r\n\r\n{")
    assert served.post({"token_ids": [1]}).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"POST /v1/detect HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(served: Served, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(sent)
        assert connection.recv(100).startswith(b"HTTP/1.1 4")


def test_no_key_is_in_anything_that_it_says(tmp_path: Path) -> None:
    """Of the key file, of one that a request names, and of a token: none in answers, lines or errors; and
    what runs when it is asked to end is finished."""
    (tmp_path / "token").write_text("a-token-of-this-server\n")
    sent = "fedcba9876543210" * 4
    with Served(tmp_path, ["--workers", "1", "--log", "--token-file", str(tmp_path / "token")]) as server:
        shows = {"authorization": "Bearer a-token-of-this-server"}
        answers = [
            server.ask("GET", path, shows)
            for path in ("/", "/v1/keys", "/metrics", "/openapi.json", "/nothing")
        ]
        for told in (
            {"text": "a", "key": sent},
            {"token_ids": marked(40)},
            {"text": sent, "run": {"key": sent}},
        ):
            answers.append(server.ask("POST", "/v1/detect", shows | JSON, json.dumps(told).encode()))
        answers.append(server.ask("GET", f"/{sent}?key={sent}", {"authorization": f"Bearer {sent}"}))
        # Long enough for the signal to come while it is judged.
        last: list[Any] = []
        body = json.dumps({"token_ids": other(100_000)}).encode()
        long = threading.Thread(
            target=lambda: last.append(server.ask("POST", "/v1/detect", shows | JSON, body))
        )
        long.start()
        while b"tradeoff_requests_running 1.0" not in server.ask("GET", "/metrics", shows).body and not last:
            time.sleep(0.001)
        status, said = server.end()
        long.join()
    assert status == 0
    assert last[0].status == 200
    assert last[0].json()["results"][0]["tokens"] == 100_000
    everything = said + "".join(answer.body.decode() for answer in answers)
    assert KEY.secret.hex() not in everything
    assert "a-token-of-this-server" not in everything
    # A record's claims are repeated to whoever sent them alone.
    assert sent not in said
    assert sent not in "".join(answer.body.decode() for answer in answers if answer.status != 200)
    assert "listening on http://127.0.0.1:" in said


@pytest.mark.slow
def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    options = ["--workers", "1", "--timeout", "0.2", "--max-tokens", "2000000", "--max-bytes", "20000000"]
    with Served(tmp_path, options) as server:
        answer = server.post({"token_ids": other(2_000_000)})
        assert (answer.status, answer.error["code"]) == (503, "timeout")
        assert answer.headers["retry-after"] == "1"
        # The process is replaced, which takes it a few seconds.
        until = time.monotonic() + 60
        while (again := server.post({"token_ids": [1]})).status == 503 and time.monotonic() < until:
            assert again.error["code"] in ("busy", "timeout")
        assert again.status == 200
        _, said = server.end()
    assert "a request took too long, and its process was ended" in said


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--host", "0.0.0.0"], "host='0.0.0.0' can be reached by others"),
        (["--key-file", "nothing.key"], "nothing.key"),
        (["--fpr", "2"], "fpr=2"),
        (["--workers", "0"], "workers=0"),
        (["--port", "70000"], "port=70000"),
        (["--rate", "0"], "rate=0"),
        (["--token-file", "nothing"], "token file nothing cannot be read"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(tmp_path: Path, options: list, why: str) -> None:
    KeyFile(KEY).write(tmp_path / "key")
    named = [] if "--key-file" in options else ["--key-file", str(tmp_path / "key")]
    done = runner.invoke(app, ["serve", *named, *options], env={"COLUMNS": "1000"})
    assert done.exit_code == 2
    assert why in done.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    KeyFile(KEY).write(tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = runner.invoke(app, ["serve", "--key-file", str(tmp_path / "key"), "--port", str(port)])
    assert done.exit_code == 2
    assert f"port={port}" in done.stderr


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("tradeoff.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = runner.invoke(app, ["serve"])
    assert done.exit_code == 2
    assert "serving needs uvicorn; install it with pip install 'tradeoff[serve]'" in done.stderr
