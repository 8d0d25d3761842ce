"""Worker processes for what takes long and comes in independent parts."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from tradeoff.display import hide_announcements

__all__ = ["one_thread_each", "worker_pool"]


@contextmanager
def worker_pool(processes: int | None) -> Iterator[ProcessPoolExecutor | None]:
    """Worker processes, each with one thread; None instead of a single one.

    Args:
        processes: how many; as many as cores if None.
    """
    count = processes or os.cpu_count() or 1
    if count == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(count, context, initializer=hide_announcements) as executor:
        try:
            yield executor
        except BaseException:
            # An interrupted run must not wait for what is still queued.
            executor.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started meanwhile keep to one BLAS thread each, or they would fight for the cores."""
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    # They inherit the environment.
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
