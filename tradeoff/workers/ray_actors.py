"""Actors of a Ray cluster as workers: the one door to Ray."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from tradeoff.display import hide_announcements
from tradeoff.workers.messages import What, answers, unpacked
from tradeoff.workers.scheduling import Event, WorkersError

__all__ = ["Actors", "ray_actors"]

#: Seconds without a sign of any actor before the cluster is asked whether one is left.
_PATIENCE = 60.0
#: Seconds for a cluster to answer.
_ANSWERS_WITHIN = 10.0
#: As often in a row nobody may be there: nodes that come and go take minutes.
_LOOKS = 10


class _Actor:
    """A worker, in a process of its own on some node.

    Args:
        folder: in which the command runs, for relative paths.
    """

    def __init__(self, folder: str):
        hide_announcements()
        # Where the folder is not shared, absolute paths are needed; what is missing is told by whoever reads.
        with suppress(OSError):
            os.chdir(folder)
        # As `python -m` does, for packages of a checkout.
        sys.path.append(folder)

    def ready(self) -> None:
        """Return as soon as there is an actor."""

    def serve(self, payload: bytes) -> Iterator[bytes]:
        """Do a packed task."""
        yield from answers(payload)


class Actors:
    """Actors, each with one core and a share of a GPU, or several.

    Args:
        size: how many; None for as many as there is room for now.
        gpus: share of a GPU, or whole ones; None for one where there is any.

    Raises:
        ValueError: if there is no room for so many.
    """

    def __init__(self, size: int | None, gpus: float | None):
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if gpus is None:
            gpus = float(any(node.get("GPU", 0) for node in nodes))
        room = sum(_room(node, gpus) for node in nodes)
        if room < (size or 1):
            raise ValueError(
                f"workers=ray:{size or 1} with 1 core and {gpus:g} GPU each do not fit: the cluster has room "
                f"for {room}; use fewer, a smaller --gpus-per-worker, or more nodes"
            )
        self.size = size or room
        self._class: Any = ray.remote(_Actor).options(
            num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self._actors: dict[int, Any] = {}
        #: What is waited for of every actor: that it is there, or the answers to its task.
        self._awaited: dict[int, Any] = {}
        self._started = 0
        for _ in range(self.size):
            self._start()

    def give(self, worker: int, payload: bytes) -> None:
        """As of `Crew`."""
        self._awaited[worker] = self._actors[worker].serve.options(num_returns="streaming").remote(payload)

    def events(self) -> Iterator[Event]:
        """As of `Crew`."""
        awaited = {id(one): (worker, one) for worker, one in self._awaited.items()}
        for one in self._happened():
            worker, _ = awaited[id(one)]
            try:
                event = self._event(worker, one)
            except RayTaskError:
                raise
            except (RayError, StopIteration) as error:
                event = Event(worker, What.LOST, self._replace(worker, error))
            yield event

    def _happened(self) -> list[Any]:
        """Those of what is waited for that there is something of."""
        for _ in range(_LOOKS):
            awaited = list(self._awaited.values())
            happened, _others = ray.wait(awaited, num_returns=1, timeout=_PATIENCE)
            busy = any(not isinstance(one, ray.ObjectRef) for one in awaited)
            if happened:
                return list(happened)
            if busy:
                return []
        raise WorkersError(
            f"the cluster started no worker in {_LOOKS * _PATIENCE:.0f} s; see `ray status`, and run the "
            "same command again when it has room"
        )

    def _event(self, worker: int, one: Any) -> Event:
        if isinstance(one, ray.ObjectRef):
            ray.get(one)
            del self._awaited[worker]
            return Event(worker, What.READY)
        what, value = unpacked(ray.get(next(one)))
        if what is not What.ITEM:
            del self._awaited[worker]
        return Event(worker, what, value)

    def end(self) -> None:
        """End all actors."""
        for actor in self._actors.values():
            with suppress(RayError):
                ray.kill(actor)

    def _start(self) -> None:
        actor: Any = self._class.remote(os.getcwd())
        self._actors[self._started] = actor
        self._awaited[self._started] = actor.ready.remote()
        self._started += 1

    def _replace(self, worker: int, error: Exception) -> str:
        """Ask for another one in place of a lost one; why that is lost."""
        del self._awaited[worker], self._actors[worker]
        self._start()
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextmanager
def ray_actors(size: int | None, gpus: float | None) -> Iterator[Actors]:
    """Actors of the cluster that RAY_ADDRESS names, or that runs on this machine; none is left at the end.

    A program that has called `ray.init` keeps its connection.

    Args, raises: as `Actors`; ValueError too if there is no cluster.
    """
    ours = not ray.is_initialized()
    if ours:
        _connect(os.environ.get("RAY_ADDRESS") or "auto")
    try:
        actors = Actors(size, gpus)
        try:
            yield actors
        finally:
            actors.end()
    finally:
        if ours:
            ray.shutdown()


def _connect(address: str) -> None:
    """Join a cluster; ValueError if there is none."""
    if "://" in address:
        raise ValueError(
            f"RAY_ADDRESS={address} is that of a client, which has not been checked; run the command on a "
            "node of the cluster, with HOST:PORT"
        )
    host, _, port = address.rpartition(":")
    try:
        if host:
            # Ray itself would try for minutes, and then end the process.
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]}); start one with `ray "
            "start --head`, or name it in RAY_ADDRESS"
        ) from None


def _room(node: dict[str, float], gpus: float) -> int:
    """How many actors a node has room for."""
    cores = int(node.get("CPU", 0))
    if not gpus:
        return cores
    cards = int(node.get("GPU", 0))
    # A share is never spread over two cards, and several cards are of one node.
    return min(cores, cards // int(gpus) if gpus > 1 else cards * int(1 / gpus + 1e-9))
