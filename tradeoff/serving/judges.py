"""Processes that judge, a request at a time each: what takes too long is ended, what dies is replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from tradeoff.serving.judging import Job, Judge, Judged
from tradeoff.serving.limits import Setup
from tradeoff.serving.piped import FAILED, Failure, Process, at_work, silent
from tradeoff.serving.refusals import Refusal, busy

__all__ = ["Judges"]

#: Seconds in which a process must be ready.
_READY = 120.0


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
        self._all = [Process(_work, setup, _READY) for _ in range(count)]
        self._free: asyncio.Queue[Process] | None = None
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
        if isinstance(answer, Failure):
            self._report(f"a request failed: {answer.place}")
            return FAILED
        return answer

    async def _mend(self, process: Process) -> None:
        """Start a process again, and give it work once it is ready."""
        assert self._free is not None
        try:
            await asyncio.to_thread(process.restart)
        except (ValueError, EOFError, TimeoutError):
            self.lost += 1
            self._report("a process that judges cannot be started again; restart the server")
            return
        self._free.put_nowait(process)


def _work(pipe: Connection, setup: Setup) -> None:
    """What a process does until its pipe ends."""
    at_work()
    try:
        judge = Judge(setup)
        missing = judge.warm()
    except (ValueError, RuntimeError, OSError) as error:
        pipe.send(str(error))
        return
    silent()
    pipe.send((judge.keys, missing))
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            answer: Any = judge.judge(job)
        except Exception as error:
            answer = Failure(error)
        pipe.send(answer)
