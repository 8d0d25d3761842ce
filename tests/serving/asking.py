"""Ways to ask a server: its application without a network, and a real `tradeoff serve` over one."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.detecting import KEY
from tests.versions.lock import ROOT
from tradeoff.keyed import KeyFile, Keyring
from tradeoff.serving import Access, Limits, Setup
from tradeoff.serving.app import make_app
from tradeoff.serving.judging import Job, Judge, Judged
from tradeoff.serving.refusals import Refusal
from tradeoff.serving.writing.turns import Turns
from tradeoff.verdicts import Options

__all__ = ["JSON", "Answer", "App", "Served", "form", "keyring"]

JSON = {"content-type": "application/json"}


def keyring() -> Keyring:
    return Keyring.of(KeyFile(KEY, name="letters"))


@dataclass
class Answer:
    """An answer: names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, str]:
        return self.json()["error"]


class _Here:
    """Judges in this process."""

    def __init__(self, setup: Setup):
        self._judge = Judge(setup)
        self.keys = self._judge.keys
        self.able = True
        self.failing: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def judge(self, job: Job, seconds: float) -> Judged | Refusal:
        if self.gate is not None:
            await self.gate.wait()
        if self.failing is not None:
            raise self.failing
        return self._judge.judge(job)


@dataclass
class App:
    """The application, asked without a network. The clients of 127.0.0.1 are on this machine."""

    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)
    options: Options = field(default_factory=Options)
    turns: Turns | None = None

    def __post_init__(self) -> None:
        self.reports: list[str] = []
        self.lines: list[str] = []
        setup = Setup(options=self.options, read_keys=keyring, limits=self.limits)
        self.judges: Any = _Here(setup)
        self.app = make_app(
            setup, self.access, self.judges, self.reports.append, self.lines.append, self.turns
        )

    def ask(self, *args: Any, **how: Any) -> Answer:
        return asyncio.run(self.asked(*args, **how))

    def post(self, told: Any, **how: Any) -> Answer:
        """JSON to /v1/detect."""
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        return self.ask("POST", "/v1/detect", JSON, body, **how)

    async def asked(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        client: str = "127.0.0.1",
        query: str = "",
        gone: asyncio.Event | None = None,
        heard: Callable[[bytes], None] = lambda _: None,
    ) -> Answer:
        """One request.

        Args:
            method, path, headers, body, client, query: of it.
            gone: set when whoever asks leaves; None to stay until the end.
            heard: called with every part of the answer's body.
        """
        left = gone or asyncio.Event()
        told = {"host": "localhost", **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in told.items()],
            "client": (client, 5000),
            "server": ("127.0.0.1", 8000),
        }
        sent: list[dict[str, Any]] = []
        pieces, whole = _pieces(body), False

        async def receive() -> dict[str, Any]:
            nonlocal whole
            if whole:
                await left.wait()
                return {"type": "http.disconnect"}
            piece = await anext(pieces, None)
            if piece is None:
                whole = True
                return {"type": "http.request", "body": b"", "more_body": False}
            return {"type": "http.request", "body": piece, "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)
            heard(message.get("body", b""))

        await self.app(scope, receive, send)
        start = sent[0]
        found = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], found, b"".join(one.get("body", b"") for one in sent[1:]))


async def _pieces(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    async for piece in body:
        yield piece


def form(*parts: tuple[str, str | None, bytes]) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form: (name, name of a file or None, content) each."""
    limit = "a-limit-that-no-text-has"
    lines = []
    for name, file, content in parts:
        named = f'; filename="{file}"' if file is not None else ""
        head = f'--{limit}\r\ncontent-disposition: form-data; name="{name}"{named}\r\n\r\n'
        lines.append(head.encode("utf-8") + content + b"\r\n")
    lines.append(f"--{limit}--\r\n".encode())
    return {"content-type": f"multipart/form-data; boundary={limit}"}, b"".join(lines)


class Served:
    """A real `tradeoff serve` as a process; use it as a context manager.

    Args:
        folder: for the key.
        options: of the command.
    """

    def __init__(self, folder: Path, options: Sequence[str]):
        self.key = folder / "served.key"
        if not self.key.exists():
            KeyFile(KEY, name="letters").write(self.key)
        command = [sys.executable, "-m", "tradeoff.cli", "serve", "--key-file", str(self.key), "--port", "0"]
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [*command, *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._up = threading.Event()
        self._reader.start()
        self._up.wait(120)
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", "".join(self.said))
        assert found, "".join(self.said)
        self.port = int(found[1])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if "listening on" in line:
                self._up.set()
        self._up.set()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def end(self) -> tuple[int, str]:
        """Ask it to end: its status, and all that it printed."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stdout is not None
        return status, self.process.stdout.read() + "".join(self.said)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def post(self, told: Any) -> Answer:
        return self.ask("POST", "/v1/detect", JSON, json.dumps(told).encode())
