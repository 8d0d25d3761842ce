"""Which executor: this process, processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tradeoff.display import INSTALL_LLM
from tradeoff.workers.processes import processes
from tradeoff.workers.scheduling import Alone, Crewed, Executor, WorkersError

__all__ = ["Executor", "Workers", "WorkersError", "executor_of", "parse_workers"]

#: The package of the extra of that name.
_RAY = "ray"
_WORDS = re.compile(r"(?P<ray>ray)(:(?P<actors>[0-9]+))?|(?P<count>[0-9]+)")


@dataclass(frozen=True)
class Workers:
    """Who works.

    Attributes:
        count: how many; None for as many as a cluster has room for.
        ray: whether they are actors of a Ray cluster.
    """

    count: int | None
    ray: bool = False

    @property
    def alone(self) -> bool:
        """Whether this process works itself."""
        return self.count == 1 and not self.ray


def parse_workers(words: int | str) -> Workers:
    """What `--workers` says: 4 for processes of this machine, ray or ray:8 for actors of a cluster.

    Raises:
        ValueError: for anything else, or no worker.
    """
    found = _WORDS.fullmatch(str(words))
    if isinstance(words, bool) or found is None:
        raise ValueError(
            f"workers={words!r} must be at least 1 process, such as 4; or ray, or with a number ray:8"
        )
    number = found["actors"] or found["count"]
    count = None if number is None else int(number)
    if count == 0:
        raise ValueError(f"workers={words} must be at least 1; as many as there are cores is good")
    return Workers(count, bool(found["ray"]))


@contextmanager
def executor_of(
    workers: int | str,
    gpus_per_worker: float | None = 0.0,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Executor]:
    """Somebody to do tasks, for as long as the block lasts.

    Args:
        workers: as `parse_workers` takes it; 1 is this process itself.
        gpus_per_worker: of a Ray cluster, the share of a GPU that each takes, up to 1, or a whole number of
            GPUs of one node; None for one each where the cluster has any, and none elsewhere.
        report: called with a line for the user when a worker is lost.

    Raises:
        ValueError: for workers that are none, a share out of range or without Ray, or if Ray is not
            installed, does not run, or has no room for so many.
    """
    who = parse_workers(workers)
    if not who.ray:
        if gpus_per_worker:
            raise ValueError(
                f"gpus_per_worker={gpus_per_worker} is for workers='ray', not workers={workers}; leave it out"
            )
        if who.alone:
            yield Alone()
            return
        with processes(who.count or 1) as crew:
            yield Crewed(crew, report)
        return
    _check_share(gpus_per_worker)
    try:
        from tradeoff.workers.ray_actors import ray_actors
    except ModuleNotFoundError as error:
        if error.name != _RAY:
            raise
        install = INSTALL_LLM.replace("llm", _RAY)
        raise ValueError(f"workers={workers!r} needs the package {_RAY}; {install}") from None
    with ray_actors(who.count, gpus_per_worker) as actors:
        yield Crewed(actors, report)


def _check_share(gpus: float | None) -> None:
    if gpus is None or 0 <= gpus <= 1:
        return
    if not gpus >= 0 or gpus == math.inf:
        raise ValueError(
            f"gpus_per_worker={gpus} must be a share in 0 .. 1, or a whole number of GPUs such as 2"
        )
    if gpus != int(gpus):
        raise ValueError(
            f"gpus_per_worker={gpus} is a fraction above 1, and a model is spread over whole GPUs; use "
            f"{math.floor(gpus)} or {math.ceil(gpus)}, or a share up to 1"
        )
