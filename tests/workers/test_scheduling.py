"""Who does what: every task to its end, in order where that is asked for, whoever dies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.workers.crews import Loopback
from tests.workers.works import counting, failing
from tradeoff.workers import Task, WorkersError, in_order
from tradeoff.workers.messages import What, unpacked
from tradeoff.workers.scheduling import ATTEMPTS, Alone, Crewed, Event


def tasks(count: int, items: int = 3) -> Iterator[Task]:
    return (Task(f"part {number}", (number, items)) for number in range(count))


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_every_item_arrives_whoever_dies(size: int, seed: int) -> None:
    told: list[str] = []
    crew = Loopback(size, seed, deaths=2)
    found = list(Crewed(crew, told.append).run(counting, tasks(9)))
    assert set(found) == {(n, (n, item)) for n in range(9) for item in range(3)}
    assert len(told) == 2 - crew.deaths
    assert all(words.startswith("part ") and "begins again: told to die" in words for words in told)


@pytest.mark.parametrize("seed", range(4))
def test_answers_come_in_the_order_of_the_tasks(seed: int) -> None:
    """Of a few that are out at a time, so that few have to be held."""
    asked = 0

    def lazily() -> Iterator[Task]:
        nonlocal asked
        for task in tasks(40, 1):
            asked += 1
            yield task

    executor = Crewed(Loopback(3, seed, deaths=2))
    for done, answer in enumerate(in_order(executor, counting, lazily())):
        assert answer == (done, 0)
        # Two for each of three workers, one that is looked at, and the one that has just come.
        assert asked <= done + 2 * 3 + 2
    assert asked == 40


def test_one_process_does_the_same_alone() -> None:
    alone = list(Alone().run(counting, tasks(4)))
    assert alone == [(n, (n, item)) for n in range(4) for item in range(3)]
    assert sorted(Crewed(Loopback(3)).run(counting, tasks(4))) == alone
    assert list(Crewed(Loopback(2)).run(counting, tasks(0))) == []


def test_an_executor_goes_on_to_other_work() -> None:
    executor = Crewed(Loopback(2))
    assert len(list(executor.run(counting, tasks(3)))) == len(list(executor.run(counting, tasks(3)))) == 9


def test_errors_of_the_work_are_not_tried_again() -> None:
    crew = Loopback(1)
    with pytest.raises(ValueError, match="number=-1 must be at least 0"):
        list(Crewed(crew).run(failing, [Task("part 0", ("plain",))]))
    assert len(crew.sent) == 1
    # What cannot be sent as it is comes as words.
    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):
        list(Crewed(crew := Loopback(1)).run(failing, [Task("part 0", ("odd",))]))


def test_a_task_that_loses_its_workers_is_named() -> None:
    class Deadly(Loopback):
        def events(self) -> list[Event]:
            if self._at_work and unpacked_number(self.sent[-1]) == 1:
                self.deaths = ATTEMPTS
                self._random.random = lambda: 0.0  # type: ignore[method-assign]
            return super().events()

    def unpacked_number(payload: bytes) -> int:
        return unpacked(payload)[1][0]

    found: list = []
    with pytest.raises(
        WorkersError, match=rf"part 1 lost {ATTEMPTS} workers .*told to die.*what was finished"
    ):
        found.extend(Crewed(crew := Deadly(1)).run(counting, tasks(3)))
    assert len(crew.sent) == 1 + ATTEMPTS


def test_workers_that_never_begin_are_given_up() -> None:
    class Stillborn:
        size = 2

        def give(self, worker: int, payload: bytes) -> None:
            raise AssertionError("nobody is ready")

        def events(self) -> list[Event]:
            return [Event(0, What.LOST, "no module named that")]

    with pytest.raises(WorkersError, match="workers cannot be started"):
        list(Crewed(Stillborn()).run(counting, tasks(1)))


def test_an_idle_worker_may_die() -> None:
    class Fainting(Loopback):
        fainted = False

        def events(self) -> list[Event]:
            if not self.fainted and not self._new and len(self._at_work) == 1:
                self.fainted = True
                self._new.append(7)
                return [Event(1 - min(self._at_work), What.LOST, "idle")]
            return super().events()

    assert len(list(Crewed(Fainting(2)).run(counting, tasks(1)))) == 3
