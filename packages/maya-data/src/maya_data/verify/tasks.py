"""Run the tasks of a verification, here or on any executor."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from itertools import islice
from typing import NamedTuple

from maya_data.verify.findings import Finding

IN_FLIGHT = 64
"""Tasks that an executor holds at once."""

Progress = Callable[[int, int, str], None]
"""Called with rows done, rows in all, and the shard just done."""


class Task(NamedTuple):
    """A piece of work."""

    rows: int
    """Rows that it does."""
    shard: str
    work: Callable[[], list[Finding]]
    """Can be sent to another process."""


def run_tasks(
    tasks: Iterator[Task], executor: Executor | None, total: int, progress: Progress | None
) -> Iterator[list[Finding]]:
    """Yield what each task finds, as it comes; `total` is the rows of all.

    Raises:
        RuntimeError: A worker process died.
    """
    done = 0
    for task, found in _here(tasks) if executor is None else _on(executor, tasks):
        done += task.rows
        if progress:
            progress(done, total, task.shard)
        yield found


def _here(tasks: Iterator[Task]) -> Iterator[tuple[Task, list[Finding]]]:
    for task in tasks:
        yield task, task.work()


def _on(executor: Executor, tasks: Iterator[Task]) -> Iterator[tuple[Task, list[Finding]]]:
    running: dict[Future[list[Finding]], Task] = {}
    try:
        while True:
            for task in islice(tasks, IN_FLIGHT - len(running)):
                running[executor.submit(task.work)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenExecutor as error:
        raise RuntimeError(
            "a worker process died, perhaps for want of memory; run again with fewer processes"
        ) from error
    finally:
        for future in running:
            future.cancel()
