"""Processes of this machine as workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from tradeoff.display import hide_announcements
from tradeoff.workers.messages import What, answers, packed, unpacked
from tradeoff.workers.pool import one_thread_each
from tradeoff.workers.scheduling import Event

__all__ = ["Processes", "processes"]

#: Seconds until a process that should end is ended.
_PATIENCE = 5.0


class _Running(NamedTuple):
    process: BaseProcess
    connection: Connection


class Processes:
    """Worker processes, each at the other end of a pipe.

    Args:
        size: how many.
    """

    def __init__(self, size: int):
        self.size = size
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[int, _Running] = {}
        self._started = 0
        for _ in range(size):
            self._start()

    def give(self, worker: int, payload: bytes) -> None:
        """As of `Crew`."""
        # Of one that has just died the next events tell.
        with suppress(OSError):
            self._running[worker].connection.send_bytes(payload)

    def events(self) -> Iterator[Event]:
        """As of `Crew`."""
        by_connection = {running.connection: worker for worker, running in self._running.items()}
        for connection in wait(list(by_connection)):
            assert isinstance(connection, Connection)
            worker = by_connection[connection]
            try:
                message = connection.recv_bytes()
            except (EOFError, OSError):
                yield Event(worker, What.LOST, self._replace(worker))
            else:
                yield Event(worker, *unpacked(message))

    def end(self, at_once: bool) -> None:
        """End all processes; those without a task end by themselves, unless it must be at once."""
        for process, connection in self._running.values():
            connection.close()
            if at_once:
                process.terminate()
        for process, _ in self._running.values():
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        self._running.clear()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,))
        process.start()
        # Else the pipe would stay open when the process dies.
        theirs.close()
        self._running[self._started] = _Running(process, ours)
        self._started += 1

    def _replace(self, worker: int) -> str:
        """Start another one in place of a lost one; why that is lost."""
        process, connection = self._running.pop(worker)
        connection.close()
        process.join(_PATIENCE)
        self._start()
        code = process.exitcode
        if code is not None and code < 0:
            return f"process {process.pid} was killed by {signal.Signals(-code).name}"
        return f"process {process.pid} ended with status {code}"


@contextmanager
def processes(size: int) -> Iterator[Processes]:
    """Worker processes, of which none is left when the block ends.

    Args:
        size: how many.
    """
    with one_thread_each():
        crew = Processes(size)
        try:
            yield crew
        except BaseException:
            crew.end(at_once=True)
            raise
        crew.end(at_once=False)


def _serve(connection: Connection) -> None:
    """A worker's life: tasks come, answers go, until the pipe is closed."""
    hide_announcements()
    # Ctrl-C reaches the whole group; who started this process ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A driver that is gone reads no more.
    with suppress(EOFError, OSError):
        connection.send_bytes(packed(What.READY, None))
        while True:
            for message in answers(connection.recv_bytes()):
                connection.send_bytes(message)


def _end_with_parent() -> None:
    """Whoever is killed cannot end its workers, which might go on for hours."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
