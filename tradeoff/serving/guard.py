"""What stands before every request: who asks, how often, how much at a time, and how long; and what stands
after every answer: headers, counts, and no words of an error that nobody foresaw."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tradeoff.serving.counters import Counters
from tradeoff.serving.limits import Access, Limits, is_loopback
from tradeoff.serving.piped import FAILED, place_of
from tradeoff.serving.rates import Rates, client_of
from tradeoff.serving.refusals import Refusal, busy, too_large

__all__ = ["HEADERS", "Guard"]

#: Of every answer: nothing is loaded from elsewhere, framed, guessed or kept.
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
#: Answers that need no token: whether a server is there may be asked by whoever looks after it.
_OPEN = ("/healthz",)
#: Where people are answered, with pages.
_FOR_PEOPLE = ("/", "/style.css")

Render: TypeAlias = Callable[[Refusal, bool], tuple[bytes, str]]


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Middleware around the application.

    Attributes:
        app: answers what is let through.
        access: who may ask.
        limits: of a request.
        counters: of the server.
        paths: those that there are.
        judged: paths whose POST requests are judged, which takes time.
        render: writes a refusal, for people or for programs: its body, and of what type that is.
        report: called with what goes wrong, in a line without any text.
        log: called with a line for every request; None for none.
    """

    app: ASGIApp
    access: Access
    limits: Limits
    counters: Counters
    paths: tuple[str, ...]
    judged: tuple[str, ...]
    render: Render
    report: Callable[[str], None]
    log: Callable[[str], None] | None = None
    _state: _State = field(default_factory=lambda: _State())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            # Nothing here speaks otherwise; what a server says to itself goes on.
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        started, answer = time.monotonic(), _Answer(send)
        try:
            refusal = await self._answer(scope, receive, answer)
        except Exception as error:
            self.report(f"a request failed: {place_of(error)}")
            refusal = FAILED
        if refusal is not None:
            self.counters.refused(refusal.code)
            if answer.status is None:
                await self._refuse(refusal, scope, answer)
        seconds = time.monotonic() - started
        self.counters.answered(scope["path"], answer.status or 0, seconds)
        if self.log is not None:
            path = scope["path"] if scope["path"] in self.paths else "another path"
            self.log(f"{scope['method'][:16]} {path} {answer.status} {seconds * 1000:.1f} ms")

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> Refusal | None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        refusal = self._stranger(scope, headers)
        if refusal is not None:
            return refusal
        if scope["path"] not in self.judged or scope["method"] != "POST":
            await self.app(scope, receive, answer)
            return None
        if (refusal := self._too_often(scope)) is not None:
            return refusal
        if self._state.running >= self.limits.queue:
            return busy(f"{self.limits.queue:,} requests are at work")
        self._run(1)
        try:
            body = await self._body(headers, receive)
            if isinstance(body, Refusal):
                return body
            self.counters.read(len(body))
            await self.app(scope, _replayed(body, receive), answer)
            return None
        finally:
            self._run(-1)

    def _run(self, more: int) -> None:
        self._state.running += more
        self.counters.running(self._state.running)

    def _stranger(self, scope: Scope, headers: dict[bytes, bytes]) -> Refusal | None:
        """Refuses whoever may not ask."""
        if self.access.loopback and not self._is_known(headers.get(b"host", b"").decode("latin-1")):
            # A page of another site may have its name point to this machine, to read answers with.
            return Refusal(
                status=421,
                code="unknown_host",
                argument="host",
                message="the server is not known by the name in the header host",
                remedy="ask for localhost, or have the server started with --host-name NAME",
            )
        if self.access.token is None or scope["path"] in _OPEN:
            return None
        if not _shows(headers.get(b"authorization", b""), self.access.token):
            people = scope["path"] in _FOR_PEOPLE
            scheme = 'Basic realm="tradeoff", charset="UTF-8"' if people else 'Bearer realm="tradeoff"'
            return Refusal(
                status=401,
                code="unauthorized",
                argument="authorization",
                message="the token of this server is missing or wrong",
                remedy="send it in the header Authorization: Bearer TOKEN; browsers ask for it as a password",
                headers={"www-authenticate": scheme},
            )
        return None

    def _is_known(self, host: str) -> bool:
        name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        return is_loopback(name.lower()) or name.lower() in self.access.names

    def _too_often(self, scope: Scope) -> Refusal | None:
        if self.limits.rate is None:
            return None
        client = scope.get("client")
        rates = self._state.rates_of(self.limits.rate)
        wait = rates.wait(client_of(client[0] if client else ""), time.monotonic())
        if not wait:
            return None
        return Refusal(
            status=429,
            code="rate_limited",
            message=f"more than {self.limits.rate:g} requests a minute came from this address",
            remedy=f"ask again in {wait} seconds",
            headers={"retry-after": str(wait)},
        )

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes | Refusal:
        """The whole body, or why it is not read."""
        most = self.limits.max_bytes
        told = headers.get(b"content-length", b"0")
        if told.isdigit() and (len(told) > 18 or int(told) > most):
            return too_large("body_too_large", "body", told.decode()[:18], most, "bytes")
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await _read(receive, most)
        except TimeoutError:
            return Refusal(
                status=408,
                code="body_too_slow",
                argument="body",
                message=f"the body was not there within {self.limits.timeout:g} seconds",
                remedy="send it faster, or in parts",
                headers={"connection": "close"},
            )

    async def _refuse(self, refusal: Refusal, scope: Scope, answer: _Answer) -> None:
        people = scope["path"] in _FOR_PEOPLE
        body, kind = self.render(refusal, people)
        headers = {"content-type": kind, "content-length": str(len(body)), **refusal.headers}
        if refusal.status in (408, 413):
            # What is still on its way is not waited for.
            headers["connection"] = "close"
        told = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await answer({"type": "http.response.start", "status": refusal.status, "headers": told})
        await answer({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class _State:
    """What changes from request to request."""

    def __init__(self) -> None:
        self.running = 0
        self._rates: Rates | None = None

    def rates_of(self, a_minute: float) -> Rates:
        if self._rates is None:
            self._rates = Rates(a_minute)
        return self._rates


class _Answer:
    """Sends an answer with the headers of every one.

    Attributes:
        status: once it has begun.
    """

    def __init__(self, send: Send):
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name.lower() for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*message["headers"], *(one for one in more if one[0] not in own)]
        await self._send(message)


async def _read(receive: Receive, most: int) -> bytes | Refusal:
    held, size = list[bytes](), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return Refusal(
                status=400,
                code="cut_off",
                argument="body",
                message="the body was cut off",
                remedy="send it again",
            )
        size += len(message.get("body", b""))
        if size > most:
            return too_large("body_too_large", "body", f"more than {most:,}", most, "bytes")
        held.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(held)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that is here, and then what comes."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _shows(header: bytes, token: str) -> bool:
    """Whether a header shows the token: as it is, or as the password that a browser asked for."""
    scheme, _, given = header.partition(b" ")
    found = given.strip()
    if scheme.lower() == b"basic":
        try:
            found = base64.b64decode(found, validate=True).partition(b":")[2]
        except ValueError:
            return False
    elif scheme.lower() != b"bearer":
        return False
    return hmac.compare_digest(found, token.encode())
