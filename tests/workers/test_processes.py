"""Processes of this machine: they die, and nothing is lost; nothing is left of them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.helpers.processes import at_work
from tests.workers.works import counting, dying_once, environment, failing, pid
from tradeoff.workers import Executor, Task, WorkersError, executor_of, in_order


@pytest.fixture(scope="module")
def two() -> Iterator[Executor]:
    with executor_of(2) as executor:
        yield executor


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    # A zombie has ended; whoever adopts it will wait for it.
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_killed_workers_are_replaced(two: Executor, tmp_path: Path) -> None:
    killed = tuple(Random(0).sample(range(8), 2))
    tasks = [Task(f"part {n}", (n, tmp_path, killed)) for n in range(8)]
    found = [number for number, item in two.run(dying_once, tasks) if number == item]
    # What had been told before the kill is told again.
    assert sorted(found) == sorted([*range(8), *range(8), *killed])


def test_a_kill_is_told_with_its_signal(tmp_path: Path) -> None:
    told: list[str] = []
    with executor_of(2, report=told.append) as executor:
        list(executor.run(dying_once, [Task("part 0", (0, tmp_path, (0,)))]))
        (words,) = told
        assert words.startswith("part 0 begins again: process ")
        assert words.endswith(" was killed by SIGKILL")
        with pytest.raises(WorkersError, match="part 1 lost 3 workers one after the other"):
            list(executor.run(dying_once, [Task("part 1", (1, tmp_path, (1,), 3))]))


def test_answers_in_order_and_errors(two: Executor) -> None:
    found = in_order(two, counting, (Task(f"part {n}", (n, 1)) for n in range(20)))
    assert list(found) == [(n, 0) for n in range(20)]
    assert list(two.run(environment, [Task("threads", ("OMP_NUM_THREADS",))])) == [(0, "1")]


def test_an_error_ends_them_all() -> None:
    pids: set[int] = set()

    def run() -> None:
        with executor_of(2) as executor:
            pids.update(found for _, found in executor.run(pid, [Task(f"part {n}", (n,)) for n in range(40)]))
            list(executor.run(failing, [Task("part 0", ("plain",))]))

    with pytest.raises(ValueError, match="number=-1"):
        run()
    assert pids
    assert all(map(gone, pids))


def test_workers_do_not_outlive_whoever_started_them() -> None:
    script = (
        "import time\nfrom tests.workers.works import pid\nfrom tradeoff.workers import Task, executor_of\n"
        "if __name__ == '__main__':\n"
        "    with executor_of(2) as executor:\n"
        "        print(*{p for _, p in executor.run(pid, [Task('', (n,)) for n in range(9)])}, flush=True)\n"
        "        time.sleep(600)\n"
    )
    with at_work(script) as line:
        pids = list(map(int, line.split()))
        assert pids
        assert not any(map(gone, pids))
    deadline = time.monotonic() + 60
    while not all(map(gone, pids)):
        assert time.monotonic() < deadline, "workers of a killed process go on"
        time.sleep(0.05)


@pytest.mark.parametrize("words", [0, "0", "-1", "ray:0", "rays", "", 2.5, True])
def test_workers_that_are_none(words) -> None:
    with pytest.raises(ValueError, match=r"workers=.*at least 1"), executor_of(words):
        pass


def test_shares_of_gpus_are_of_ray() -> None:
    with pytest.raises(ValueError, match=r"gpus_per_worker=0.5 is for workers='ray'"), executor_of(2, 0.5):
        pass
    for share in (-0.5, float("nan"), float("inf")):
        with (
            pytest.raises(ValueError, match=r"a share in 0 \.\. 1, or a whole number"),
            executor_of("ray", share),
        ):
            pass
    with pytest.raises(ValueError, match=r"a fraction above 1, .* use 1 or 2"), executor_of("ray", 1.5):
        pass


def test_ray_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the error says how to install it; nothing else needs it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "tradeoff.workers.ray_actors", raising=False)
    with pytest.raises(ValueError, match=r"workers='ray:2' needs the package ray; .*\[ray\]"):
        executor_of("ray:2").__enter__()
