"""Worker processes, here or on a cluster, for what takes long and comes in independent parts."""

from tradeoff.workers.executors import Executor, WorkersError, executor_of, parse_workers
from tradeoff.workers.pool import one_thread_each, worker_pool
from tradeoff.workers.scheduling import Task, in_order

__all__ = [
    "Executor",
    "Task",
    "WorkersError",
    "executor_of",
    "in_order",
    "one_thread_each",
    "parse_workers",
    "worker_pool",
]
