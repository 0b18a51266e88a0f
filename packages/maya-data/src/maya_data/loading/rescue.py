"""Wakes a process that waits for the rest of a message whose sender was killed in the middle of it.

torch looks for dead processes whenever its queue stays empty. A message that has begun makes it wait without
end: the pipe never closes, as this process holds a writing end of it too.
"""

import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

PATIENCE = 10.0
"""Seconds that a process may have been waited for before it counts as dead in the middle of a message."""
LOOK_SECONDS = 0.5
"""How often that is looked at."""


def rescued(results: Iterator[Any]) -> Iterator[Any]:
    """Yield the results of a loader with processes, looked after while they are waited for."""
    rescue = Rescue(results)
    rescue.start()
    while True:
        with rescue:
            try:
                found = next(results)
            except StopIteration:
                return
        yield found


class Rescue(threading.Thread):
    """Looks after one of torch's loaders with processes, while its next batch is awaited."""

    def __init__(self, results: Any):
        super().__init__(daemon=True, name="loader rescue")
        self._results = weakref.ref(results)
        self._waiting: tuple[float, int] | None = None

    def __enter__(self) -> None:
        self._waiting = time.monotonic(), threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._waiting = None

    def run(self) -> None:
        """Look until the loader is gone or was woken."""
        while (results := self._results()) is not None:
            waiting = self._waiting
            if waiting is not None and time.monotonic() - waiting[0] > PATIENCE and _broken(results):
                self._wake(results, waiting[1])
                return
            del results
            time.sleep(LOOK_SECONDS)

    def _wake(self, results: Any, thread: int) -> None:
        """End the message: what is read from now on is the end of the file, which torch takes for a death."""
        for process in results._workers:
            process.kill()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, results._worker_result_queue._reader.fileno())
        os.close(nothing)
        # The read that is under way still looks into the old pipe, until a signal makes it begin anew.
        signal.pthread_kill(thread, signal.SIGCHLD)


def _broken(results: Any) -> bool:
    return any(process.exitcode not in (None, 0) for process in results._workers)
