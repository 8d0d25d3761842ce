"""Crews without processes: tasks and answers pass as bytes, and workers die when they are told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from tradeoff.workers.messages import What, answers, unpacked
from tradeoff.workers.scheduling import Event

__all__ = ["Loopback"]


@dataclass
class Loopback:
    """Workers that answer one message at a time, in an order of their own.

    Attributes:
        size: how many.
        seed: of the order, and of who dies.
        deaths: how many die at a random moment of a task, and are replaced.
        sent: all payloads that went to workers.
    """

    size: int
    seed: int = 0
    deaths: int = 0
    sent: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._at_work: dict[int, Iterator[bytes]] = {}
        self._new = deque(range(self.size))
        self._started = self.size

    def give(self, worker: int, payload: bytes) -> None:
        """As of `Crew`."""
        self.sent.append(payload)
        self._at_work[worker] = answers(payload)

    def events(self) -> list[Event]:
        """As of `Crew`: what one of them tells."""
        if self._new:
            return [Event(self._new.popleft(), What.READY)]
        worker = self._random.choice(sorted(self._at_work))
        if self.deaths and self._random.random() < 0.2:
            self.deaths -= 1
            del self._at_work[worker]
            self._new.append(self._started)
            self._started += 1
            return [Event(worker, What.LOST, "told to die")]
        what, value = unpacked(next(self._at_work[worker]))
        if what is not What.ITEM:
            del self._at_work[worker]
        return [Event(worker, what, value)]
