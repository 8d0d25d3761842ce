"""Processes that judge, a request at a time each: what takes too long is ended, what dies is replaced."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tradeoff.display import hide_announcements
from tradeoff.serving.judging import Job, Judge, Judged
from tradeoff.serving.limits import Setup
from tradeoff.serving.refusals import Refusal, busy
from tradeoff.workers import one_thread_each

__all__ = ["FAILED", "Judges", "place_of"]

#: Seconds in which a process must be ready.
_READY = 120.0
#: What is said where a process fails; why stands in the log.
FAILED = Refusal(
    status=500,
    code="internal_error",
    message="the server failed at this request",
    remedy="ask again; if it fails again, tell whoever runs the server",
)


class Judges:
    """A fixed number of processes. Use it as a context manager.

    Args:
        setup: of the server.
        count: of processes, 1 or more.
        report: called with what goes wrong, in a line; no text and no key is in it.

    Attributes:
        keys: what is told of the keys.
        missing: what words need and is not there, in a line each.
        lost: how many processes could not be started again.

    Raises:
        ValueError: when it is entered, for keys that cannot be read or do not fit the options.
    """

    def __init__(self, setup: Setup, count: int, report: Callable[[str], None]):
        if count < 1:
            raise ValueError(f"workers={count} must be at least 1; as many as there are cores is good")
        self._report = report
        self._all = [_Process(setup) for _ in range(count)]
        self._free: asyncio.Queue[_Process] | None = None
        self._threads = ThreadPoolExecutor(count)
        self._mending: set[asyncio.Task[None]] = set()
        self.keys: list[dict[str, Any]] = []
        self.missing: list[str] = []
        self.lost = 0

    def __enter__(self) -> Judges:
        try:
            for process in self._all:
                process.start()
            for process in self._all:
                self.keys, self.missing = process.wait()
        except (EOFError, TimeoutError) as error:
            self.__exit__()
            raise RuntimeError(
                "a process that judges was not ready in time, or died; see what it said above, and pass "
                "fewer --workers if memory is short"
            ) from error
        except BaseException:
            self.__exit__()
            raise
        for process in self._all:
            process.keys = self.keys
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            process.end()
        self._threads.shutdown(wait=True, cancel_futures=True)

    @property
    def able(self) -> bool:
        """Whether there is a process left."""
        return self.lost < len(self._all)

    async def judge(self, job: Job, seconds: float) -> Judged | Refusal:
        """What is found, or why nothing is, in so many seconds, waiting among them."""
        if self._free is None:
            self._free = asyncio.Queue()
            for process in self._all:
                self._free.put_nowait(process)
        until = time.monotonic() + seconds
        try:
            process = await asyncio.wait_for(self._free.get(), seconds)
        except TimeoutError:
            return busy("all processes that judge were busy for too long")
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._threads, process.ask, job, until - time.monotonic())
        except TimeoutError:
            self._report("a request took too long, and its process was ended")
            answer = busy(f"the request was not judged within {seconds:g} seconds", "timeout")
        except EOFError:
            self._report("a process that judged a request died")
            answer = FAILED
        if process.alive:
            self._free.put_nowait(process)
        else:
            mending = asyncio.create_task(self._mend(process))
            self._mending.add(mending)
            mending.add_done_callback(self._mending.discard)
        if isinstance(answer, _Failure):
            self._report(f"a request failed: {answer.place}")
            return FAILED
        return answer

    async def _mend(self, process: _Process) -> None:
        """Start a process again, and give it work once it is ready."""
        assert self._free is not None
        try:
            await asyncio.to_thread(process.restart)
        except (ValueError, EOFError, TimeoutError):
            self.lost += 1
            self._report("a process that judges cannot be started again; restart the server")
            return
        self._free.put_nowait(process)


class _Failure:
    """Stands for an answer where there is an error that should not be.

    Attributes:
        place: its kind, and where it was raised; nothing of what it says, which may quote a text.
    """

    def __init__(self, error: BaseException):
        self.place = place_of(error)


class _Process:
    """One process, and the pipe to it."""

    def __init__(self, setup: Setup):
        self._setup = setup
        self._pipe: Connection | None = None
        self._process: Any = None
        self.keys: list[dict[str, Any]] | None = None

    @property
    def alive(self) -> bool:
        return self._pipe is not None

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._setup), daemon=True)
        with one_thread_each():
            self._process.start()
        theirs.close()

    def wait(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Until it is ready: what it tells of the keys, and what is missing.

        Raises:
            ValueError: if it cannot be, with why, or has other keys than before.
        """
        told = self._receive(_READY)
        if isinstance(told, str):
            self.end()
            raise ValueError(told)
        if self.keys is not None and told[0] != self.keys:
            self.end()
            raise ValueError("the key files have changed; restart the server")
        return told

    def restart(self) -> None:
        self.start()
        self.wait()

    def ask(self, job: Job, seconds: float) -> Any:
        """The answer to a job.

        Raises:
            TimeoutError: if there is none in time; the process is ended.
            EOFError: if the process has died.
        """
        assert self._pipe is not None
        try:
            self._pipe.send(job)
        except OSError as error:
            self.end()
            raise EOFError from error
        return self._receive(seconds)

    def _receive(self, seconds: float) -> Any:
        assert self._pipe is not None
        try:
            if not self._pipe.poll(max(0.0, seconds)):
                self.end()
                raise TimeoutError
            return self._pipe.recv()
        except (EOFError, ConnectionError):
            self.end()
            raise EOFError from None

    def end(self) -> None:
        if self._process is not None and self._process.pid is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._pipe = self._process = None


def place_of(error: BaseException) -> str:
    """Of an error its kind, and where it was raised: not its message, which may quote a text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def _work(pipe: Connection, setup: Setup) -> None:
    """What a process does until its pipe ends: what signals say to a whole group is the server's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hide_announcements()
    try:
        judge = Judge(setup)
        missing = judge.warm()
    except (ValueError, RuntimeError, OSError) as error:
        pipe.send(str(error))
        return
    # Whatever a library prints from here on may quote a text.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    pipe.send((judge.keys, missing))
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            answer: Any = judge.judge(job)
        except Exception as error:
            answer = _Failure(error)
        pipe.send(answer)
