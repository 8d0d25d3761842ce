"""The server: a socket, processes that judge, and an end that leaves nothing half done."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import uvicorn

from tradeoff.serving.app import make_app
from tradeoff.serving.judges import Judges
from tradeoff.serving.limits import Access, Setup, Writing
from tradeoff.serving.writing.turns import Turns

__all__ = ["Reports", "serve"]

#: Connections that wait to be taken.
_BACKLOG = 2048
#: Seconds that an idle connection is kept.
_IDLE = 15


@dataclass(frozen=True)
class Reports:
    """Whom the server tells what, in a line each; no text, key or address is in any.

    Attributes:
        started: called with the address, once requests are answered.
        wrong: called with what goes wrong.
        missing: called with what words need and is not there.
        log: called for every request; None for none.
        noted: called with what there is to say of the models that generate; None for nobody.
    """

    started: Callable[[str], None]
    wrong: Callable[[str], None]
    missing: Callable[[str], None]
    log: Callable[[str], None] | None = None
    noted: Callable[[str], None] | None = None


def serve(
    setup: Setup,
    access: Access,
    reports: Reports,
    *,
    port: int = 8000,
    workers: int = 1,
    proxies: tuple[str, ...] = (),
    writing: Writing | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT comes; what runs then is finished first.

    Args:
        setup: what is looked for, and how much one may ask for.
        access: who may ask, and where.
        reports: whom to tell.
        port: to listen at; 0 is any that is free.
        workers: processes that judge.
        proxies: addresses of proxies, whose word on a client's address is taken.
        writing: what is generated, in one more process; None for nothing.

    Raises:
        ValueError: for keys or models that cannot be had, an address where nothing can listen, or more texts
            in line than requests.
        RuntimeError: for the same of models.
    """
    limits = setup.limits
    if writing is not None and writing.queue >= limits.queue:
        raise ValueError(
            f"generate_queue={writing.queue} leaves nothing of queue={limits.queue} for texts to be judged; "
            f"pass less than {limits.queue}"
        )
    generation = nullcontext() if writing is None else Turns(writing, limits.timeout, reports.wrong)
    with (
        _listening(access.host, port) as listener,
        Judges(setup, workers, reports.wrong) as judges,
        generation as turns,
    ):
        for message in judges.missing:
            reports.missing(message)
        if turns is not None and reports.noted is not None:
            for message in turns.notes:
                reports.noted(message)
        app = make_app(setup, access, judges, reports.wrong, reports.log, turns)
        server = _Server(_config(app, setup, proxies), lambda: reports.started(_url(access.host, listener)))
        with _left_alone():
            server.run(sockets=[listener])


def _config(app: object, setup: Setup, proxies: tuple[str, ...]) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        # Lines of uvicorn's own name addresses, and quote errors.
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_keep_alive=_IDLE,
        # Its body, and its answer.
        timeout_graceful_shutdown=round(2 * setup.limits.timeout) + 1,
        backlog=_BACKLOG,
    )


class _Server(uvicorn.Server):
    """uvicorn, which tells when it has started."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]):
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        self._tell()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    if not 0 <= port <= 65535:
        raise ValueError(f"port={port} must be 0 to 65535; 0 is any that is free")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ValueError(
            f"nothing can listen at host={host!r}, port={port} ({error.strerror or error}); end what does "
            "already, or pass another port or host"
        ) from None
    with listener:
        yield listener


def _url(host: str, listener: socket.socket) -> str:
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{listener.getsockname()[1]}"


@contextmanager
def _left_alone() -> Iterator[None]:
    """uvicorn ends at a signal and then raises it again, for whoever had it before: who had it is asked for
    nothing more here."""
    before = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
