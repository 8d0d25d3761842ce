"""A browser without a window, told what to do over two pipes (the Chrome DevTools protocol)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Chromium", "chromium"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
#: The browser reads commands from one file descriptor and writes answers to another.
_COMMANDS, _ANSWERS = 3, 4
#: Screenshots of longer pages are cut.
_HIGHEST = 8_000


class Chromium:
    """One page in one browser.

    Args:
        commands, answers: file descriptors of its pipes.
    """

    def __init__(self, commands: int, answers: int):
        self._commands, self._answers = commands, os.fdopen(answers, "rb")
        self._number, self._held = 0, b""
        self._session: str | None = None
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = session["sessionId"]
        self.call("Page.enable")

    def close(self) -> None:
        """Read no more answers."""
        self._answers.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and what it answers.

        Raises:
            RuntimeError: if the browser refuses it, or has gone.
        """
        return self._call(method, parameters)

    def open(self, path: Path, width: int, scheme: str = "light", media: str = "screen") -> None:
        """A page in a window so wide, in CSS pixels, for readers who prefer light or dark, on screen or "
        "paper."""
        self.visit(path.resolve().as_uri(), width, scheme, media)

    def visit(self, address: str, width: int, scheme: str = "light", media: str = "screen") -> None:
        """As `open`, of an address."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call("Page.navigate", url=address)
        self._loaded()

    def leaving(self, expression: str) -> None:
        """What a script does that leads to another page, until that is there."""
        self.value("window.isBefore = true")
        self.value(expression)
        while self.value("window.isBefore === true"):
            pass
        self._loaded()

    def _loaded(self) -> None:
        while self.value("document.readyState") != "complete":
            pass

    def value(self, expression: str) -> Any:
        """What a script says, which may take its time.

        Raises:
            RuntimeError: if it fails.
        """
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["text"])
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The page from its top to its end."""
        width, height = self.value("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, _HIGHEST), "scale": 1}
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(taken["data"]))

    def printed(self, path: Path) -> None:
        """The page on paper, as PDF."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"]))

    def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._answer()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _write(self, message: bytes) -> None:
        while message:
            message = message[os.write(self._commands, message) :]

    def _answer(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            part = self._answers.read1(1 << 16)
            if not part:
                raise RuntimeError("the browser has gone")
            self._held += part
        answer, _, self._held = self._held.partition(b"\0")
        return json.loads(answer)


@contextmanager
def chromium(executable: str) -> Iterator[Chromium]:
    """A browser, which is gone when the block ends.

    Args:
        executable: of Chromium.
    """
    to_browser, from_browser = os.pipe(), os.pipe()

    def place() -> None:
        # First out of the way of each other: the pipes may have these numbers themselves.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser[0], from_browser[1])]
        os.dup2(ends[0], _COMMANDS)
        os.dup2(ends[1], _ANSWERS)

    with tempfile.TemporaryDirectory() as profile:
        process = subprocess.Popen(
            [executable, *_FLAGS, f"--user-data-dir={profile}"],
            close_fds=False,
            preexec_fn=place,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        browser = None
        try:
            browser = Chromium(to_browser[1], from_browser[0])
            yield browser
        finally:
            if browser is not None:
                browser.close()
            process.kill()
            process.wait()
            os.close(to_browser[1])
