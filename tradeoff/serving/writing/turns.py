"""One text after the other: who asks waits for a turn, and who leaves gives it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from tradeoff.serving.limits import Writing
from tradeoff.serving.piped import FAILED, Failure, Process, place_of
from tradeoff.serving.refusals import Refusal, Refused, busy, too_slow
from tradeoff.serving.writing.writer import Piece, Stopped, Wish, Written, work

__all__ = ["Turn", "Turns"]

#: Seconds in which models must be loaded, which may have to be fetched.
_READY = 3600.0

Answer: TypeAlias = "Piece | Written | Refusal"


class Turn:
    """One wish, from when it is taken until its text is written or nobody waits for it.

    Attributes:
        outcome: written, refused, failed or left; "" until it is over.
        tokens: of its texts so far.
        seconds: in which they were written.
    """

    def __init__(self) -> None:
        self.outcome, self.tokens, self.seconds = "", 0, 0.0
        self._answers: asyncio.Queue[Answer] = asyncio.Queue()
        self._leave: Callable[[], None] = lambda: None

    async def next(self) -> Answer:
        """What is told next: pieces, and at the end what was written or why nothing was."""
        return await self._answers.get()

    async def last(self) -> Written | Refusal:
        """What is told at the end."""
        while isinstance(answer := await self.next(), Piece):
            pass
        return answer

    def leave(self) -> None:
        """Say that nobody waits any more; nothing happens to what is over."""
        self._leave()

    def tell(self, answer: Answer) -> None:
        """Put what is told into the order."""
        if isinstance(answer, Piece):
            self.tokens += len(answer.token_ids)
        self._answers.put_nowait(answer)


class Turns:
    """The process that writes, and who waits for it. Use it as a context manager.

    Args:
        setup: of what is written.
        seconds: in which a turn must come, and every round must end.
        report: called with what goes wrong, in a line; no text and no key is in it.
        process: another one than that of the setup.

    Attributes:
        setup: as it was given.
        key: fingerprint of the key that marks.
        notes: what there is to say of models, key and scheme, in a line each.
        waiting: how many wishes wait for their turn.
        writing: how many are written: one or none.

    Raises:
        ValueError: when it is entered, for keys or models that cannot be had or do not fit.
        RuntimeError: if the process dies.
    """

    def __init__(
        self, setup: Writing, seconds: float, report: Callable[[str], None], process: Process | None = None
    ):
        self.setup = setup
        self._seconds, self._report = seconds, report
        self._process = process or Process(work, setup, _READY, alone=True)
        self._thread = ThreadPoolExecutor(1)
        self._slot = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.key, self.notes = "", list[str]()
        self.writing, self._lost = 0, False

    def __enter__(self) -> Turns:
        try:
            self._process.start()
            self.key, self.notes = self._process.wait()
        except (EOFError, TimeoutError) as error:
            self.__exit__()
            raise RuntimeError(
                "the process that generates was not ready in time, or died; see what it said above, and pass "
                "smaller models if memory is short"
            ) from error
        except BaseException:
            self.__exit__()
            raise
        self._process.keys = self.key
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()
        self._thread.shutdown(wait=True, cancel_futures=True)

    @property
    def waiting(self) -> int:
        """How many wishes wait for their turn."""
        return len(self._tasks) - self.writing

    def take(self, wish: Wish, over: Callable[[Turn], None]) -> Turn:
        """Stand in line.

        Args:
            wish: what is to be written.
            over: called once the turn is over, whether or not somebody waits for it.

        Raises:
            Refused: if the line is full, or nothing is left that writes.
        """
        if self._lost:
            raise Refused(busy("the process that generates cannot be started again", "unable"))
        if len(self._tasks) >= self.setup.queue:
            raise Refused(busy(f"{self.setup.queue:,} texts are written or wait to be"))
        turn = Turn()
        task = asyncio.create_task(self._run(turn, wish))
        turn._leave = lambda: _cancel(task)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            turn._leave = lambda: None
            if not task.cancelled() and (error := task.exception()) is not None:
                self._report(f"a text failed: {place_of(error)}")
                turn.outcome = "failed"
                turn.tell(FAILED)
            turn.outcome = turn.outcome or "left"
            over(turn)

        task.add_done_callback(ended)
        return turn

    async def _run(self, turn: Turn, wish: Wish) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._slot.acquire()
        except TimeoutError:
            turn.outcome = "refused"
            turn.tell(busy("texts before this one took too long"))
            return
        self.writing = 1
        try:
            await self._write(turn, wish)
        finally:
            self.writing = 0
            self._slot.release()

    async def _write(self, turn: Turn, wish: Wish) -> None:
        """Written to its end, or until whoever asked leaves: then the process is told, and heard out."""
        started = time.monotonic()
        turn._leave = lambda: self._process.mention(None)
        try:
            self._process.tell(wish)
            while isinstance(answer := await self._heard(), Piece):
                turn.tell(answer)
        except TimeoutError:
            self._report("a text took too long, and its process was ended")
            answer = too_slow(self._seconds)
        except EOFError:
            self._report("a process that generated a text died")
            answer = FAILED
        if isinstance(answer, Failure):
            self._report(f"a text failed: {answer.place}")
            answer = FAILED
        turn.seconds = time.monotonic() - started
        turn.outcome = _outcome(answer)
        turn._leave = lambda: None
        if not isinstance(answer, Stopped):
            turn.tell(answer)
        if not self._process.alive:
            await self._mend()

    async def _heard(self) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._process.receive, self._seconds)

    async def _mend(self) -> None:
        # By the thread that hears it: the end of the server kills the process, and so ends the wait for it.
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._process.restart)
            self._lost = False
        except (ValueError, EOFError, OSError):
            self._lost = True
            self._report("the process that generates cannot be started again; restart the server")


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _outcome(answer: Any) -> str:
    if isinstance(answer, Written):
        return "written"
    if isinstance(answer, Stopped):
        return "left"
    return "failed" if answer.status >= 500 else "refused"
