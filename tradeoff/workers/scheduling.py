"""Tasks for workers that may die: who does what, what is begun again, and when to give up."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from tradeoff.workers.messages import What, packed

__all__ = [
    "ATTEMPTS",
    "Alone",
    "Crew",
    "Crewed",
    "Event",
    "Executor",
    "Task",
    "Work",
    "WorkersError",
    "in_order",
]

#: A function of a module that everybody can import; what it yields reaches the caller one by one.
Work: TypeAlias = Callable[..., Iterable[Any]]
#: How many workers a task may lose.
ATTEMPTS = 3
#: Tasks that are out at a time, for each worker, where answers are put in order: one at work, one waiting.
_AHEAD = 2


class WorkersError(RuntimeError):
    """A task lost all the workers it may lose, or no worker can be started; names the task and the remedy."""


@dataclass(frozen=True)
class Task:
    """A part of the work.

    Attributes:
        name: for people.
        arguments: of the work; they are pickled, so that no key may be among them.
    """

    name: str
    arguments: tuple[Any, ...]


class Executor(Protocol):
    """Whoever does tasks.

    Attributes:
        size: how many tasks are done at a time.
    """

    @property
    def size(self) -> int: ...

    def run(self, work: Work, tasks: Iterable[Task], ahead: int | None = None) -> Iterator[tuple[int, Any]]:
        """Do all tasks, and hand on what the work yields as it comes.

        A task whose worker is lost is begun again by another one, and tells again what it has told.

        Args:
            work: called as `work(*task.arguments)`.
            tasks: asked for one by one, when somebody is free.
            ahead: begin no task before all but so many of the tasks before it are done.

        Yields:
            The number of a task, from 0, and one of the things that it yields.

        Raises:
            WorkersError: if a task loses `ATTEMPTS` workers in a row.
            Exception: what the work raises.
        """
        ...


def in_order(executor: Executor, work: Work, tasks: Iterable[Task]) -> Iterator[Any]:
    """The one thing that each task yields, in the order of the tasks; few are held meanwhile."""
    answers: dict[int, Any] = {}
    following = 0
    for number, answer in executor.run(work, tasks, _AHEAD * executor.size):
        if number >= following:
            answers[number] = answer
        while following in answers:
            yield answers.pop(following)
            following += 1


class Alone:
    """This process does the tasks itself, one after the other."""

    size = 1

    def run(self, work: Work, tasks: Iterable[Task], ahead: int | None = None) -> Iterator[tuple[int, Any]]:
        """As `Executor.run`; nothing is pickled."""
        for number, task in enumerate(tasks):
            for item in work(*task.arguments):
                yield number, item


@dataclass(frozen=True)
class Event:
    """What a worker tells, or what is told of it.

    Attributes:
        worker: its number; one that takes the place of a lost one has a new number.
        what: READY once, ITEM and DONE of its task, FAILED if that raised, LOST if the worker is gone.
        value: the item, the exception, or why it is gone.
    """

    worker: int
    what: What
    value: Any = None


class Crew(Protocol):
    """Workers that are ready, have a task, or are lost; lost ones are replaced."""

    @property
    def size(self) -> int: ...

    def give(self, worker: int, payload: bytes) -> None:
        """Hand a packed task to a worker without one."""
        ...

    def events(self) -> Iterable[Event]:
        """What has happened; waits until something has."""
        ...


@dataclass(frozen=True)
class _Numbered:
    number: int
    task: Task


class _Queue:
    """Tasks in order, those first that have to be begun again.

    Args:
        tasks: all of them.
        ahead: as of `Executor.run`.
    """

    def __init__(self, tasks: Iterable[Task], ahead: int | None):
        self._source = map(lambda pair: _Numbered(*pair), enumerate(tasks))
        self._ahead = ahead
        self._again: deque[_Numbered] = deque()
        self._peeked: _Numbered | None = None
        self._open: set[int] = set()
        self._lost: Counter[int] = Counter()

    def is_over(self) -> bool:
        """Whether no task is left to be begun."""
        return self._first() is None

    def begin(self) -> _Numbered | None:
        """The next task that may be begun; None if there is none now."""
        first = self._first()
        if first is None or (
            self._ahead and first.number >= min(self._open, default=first.number) + self._ahead
        ):
            return None
        if self._again:
            self._again.popleft()
        else:
            self._peeked = None
        self._open.add(first.number)
        return first

    def finish(self, one: _Numbered) -> None:
        self._open.remove(one.number)

    def begin_again(self, one: _Numbered, why: str) -> None:
        """Put a task back whose worker is lost; raises WorkersError if it was not the first."""
        self._lost[one.number] += 1
        if self._lost[one.number] >= ATTEMPTS:
            raise WorkersError(
                f"{one.task.name} lost {ATTEMPTS} workers one after the other (the last: {why}); what was "
                "finished is kept: mend the cause, such as too little memory for so many workers or so large "
                "a batch, and run the same command again"
            )
        self._again.append(one)

    def _first(self) -> _Numbered | None:
        if self._again:
            return self._again[0]
        if self._peeked is None:
            self._peeked = next(self._source, None)
        return self._peeked


class Crewed:
    """An executor of a crew.

    Args:
        crew: the workers; whoever made them ends them.
        report: called with a line for the user when a task is begun again.
    """

    def __init__(self, crew: Crew, report: Callable[[str], None] = lambda _: None):
        self._crew, self._report = crew, report
        self._idle: list[int] = []
        self._never_ready = 0

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self._crew.size

    def run(self, work: Work, tasks: Iterable[Task], ahead: int | None = None) -> Iterator[tuple[int, Any]]:
        """As `Executor.run`."""
        queue = _Queue(tasks, ahead)
        given: dict[int, _Numbered] = {}
        while True:
            self._hand_out(queue, given, work)
            if not given and queue.is_over():
                return
            for event in self._crew.events():
                match event.what:
                    case What.READY:
                        self._never_ready = 0
                        self._idle.append(event.worker)
                    case What.ITEM:
                        yield given[event.worker].number, event.value
                    case What.DONE:
                        queue.finish(given.pop(event.worker))
                        self._idle.append(event.worker)
                    case What.FAILED:
                        raise event.value
                    case What.LOST if event.worker in given:
                        one = given.pop(event.worker)
                        queue.begin_again(one, event.value)
                        self._report(f"{one.task.name} begins again: {event.value}")
                    case What.LOST:
                        self._lost_without_task(event)

    def _hand_out(self, queue: _Queue, given: dict[int, _Numbered], work: Work) -> None:
        while self._idle and (one := queue.begin()) is not None:
            worker = self._idle.pop(0)
            given[worker] = one
            self._crew.give(worker, packed(work, one.task.arguments))

    def _lost_without_task(self, event: Event) -> None:
        """A worker that waits for a task may be lost; many that never begin are not replaced for ever."""
        if event.worker in self._idle:
            self._idle.remove(event.worker)
            return
        self._never_ready += 1
        if self._never_ready >= ATTEMPTS * self.size:
            raise WorkersError(
                f"workers cannot be started ({event.value}); run with fewer workers, or with none"
            )
