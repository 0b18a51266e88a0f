"""Worker processes for indexing that end with the process that started them."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait

TASKS_A_PROCESS = 4
"""With fewer shards than this, starting another process takes longer than it saves."""


def fitting(tasks: int) -> int:
    """Return how many processes suit so many shards on this machine."""
    return max(min(len(os.sched_getaffinity(0)), tasks // TASKS_A_PROCESS), 1)


@contextmanager
def pool(processes: int) -> Iterator[Executor | None]:
    """Give an executor of so many processes, or None for one."""
    if processes < 2:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    made = ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent)
    try:
        yield made
    finally:
        made.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Leave when the parent is gone: a killed one cannot tell its workers to."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)
