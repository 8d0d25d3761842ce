"""One process that works for the server, and the pipe to it: what takes too long is ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tradeoff.display import hide_announcements
from tradeoff.serving.refusals import Refusal
from tradeoff.workers import one_thread_each

__all__ = ["FAILED", "Failure", "Process", "at_work", "place_of", "silent"]

#: What is said where a process fails; why stands in the log.
FAILED = Refusal(
    status=500,
    code="internal_error",
    message="the server failed at this request",
    remedy="ask again; if it fails again, tell whoever runs the server",
)


class Failure:
    """Stands for an answer where there is an error that should not be.

    Attributes:
        place: its kind, and where it was raised; nothing of what it says, which may quote a text.
    """

    def __init__(self, error: BaseException):
        self.place = place_of(error)


class Process:
    """One process, and the pipe to it.

    Args:
        work: what it does: it sends a tuple, with what it knows of the keys first, or why it cannot work, and
            then answers what it is sent.
        setup: handed to `work`.
        seconds: in which it must be ready.
        alone: whether it has the cores to itself; else it keeps to one thread.

    Attributes:
        keys: what it must know of the keys when it is started again; None for anything.
    """

    def __init__(
        self, work: Callable[[Connection, Any], None], setup: Any, seconds: float, alone: bool = False
    ):
        self._work, self._setup = work, setup
        self._seconds, self._alone = seconds, alone
        self._pipe: Connection | None = None
        self._process: Any = None
        self.keys: Any = None

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._pipe is not None

    def start(self) -> None:
        """Start it."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=self._work, args=(theirs, self._setup), daemon=True)
        try:
            with nullcontext() if self._alone else one_thread_each():
                self._process.start()
        except BaseException:
            self.end()
            raise
        finally:
            theirs.close()

    def wait(self) -> Any:
        """Until it is ready: what it tells, the keys first.

        Raises:
            ValueError: if it cannot be, with why, or has other keys than before.
        """
        told = self.receive(self._seconds)
        if isinstance(told, str):
            self.end()
            raise ValueError(told)
        if self.keys is not None and told[0] != self.keys:
            self.end()
            raise ValueError("the key files have changed; restart the server")
        return told

    def restart(self) -> None:
        """Start it again, until it is ready (raises as `wait`)."""
        self.start()
        self.wait()

    def ask(self, job: Any, seconds: float) -> Any:
        """The answer to a job.

        Raises:
            TimeoutError: if there is none in time; the process is ended.
            EOFError: if the process has died.
        """
        self.tell(job)
        return self.receive(seconds)

    def tell(self, job: Any) -> None:
        """Send it something.

        Raises:
            EOFError: if the process has died.
        """
        if self._pipe is None:
            raise EOFError
        try:
            self._pipe.send(job)
        except OSError as error:
            self.end()
            raise EOFError from error

    def mention(self, job: Any) -> None:
        """Send it something while another thread waits for what it sends: if it has died, that one hears."""
        pipe = self._pipe
        if pipe is not None:
            with suppress(OSError):
                pipe.send(job)

    def receive(self, seconds: float) -> Any:
        """What it sends next (raises as `ask`)."""
        if self._pipe is None:
            raise EOFError
        try:
            if not self._pipe.poll(max(0.0, seconds)):
                self.end()
                raise TimeoutError
            return self._pipe.recv()
        except TimeoutError:
            raise
        except (EOFError, OSError):
            self.end()
            raise EOFError from None

    def end(self) -> None:
        """End it at once."""
        # Taken first: another thread may end it as well.
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if process is not None and process.pid is not None:
            process.kill()
            process.join()
        if pipe is not None:
            pipe.close()


def at_work() -> None:
    """In a process, before anything else: what signals say to a whole group is the server's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hide_announcements()


def silent() -> None:
    """In a process, once it is ready: whatever a library prints from here on may quote a text."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def place_of(error: BaseException) -> str:
    """Of an error its kind, and where it was raised: not its message, which may quote a text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
