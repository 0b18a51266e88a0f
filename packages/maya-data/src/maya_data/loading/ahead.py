"""Takes the next batch out of the loader processes while the present one is being learnt from.

A batch comes as handles of shared memory, which its sender must hand over; a sender that is just decoding
lets the receiver wait for some milliseconds. torch has a thread for that where batches are pinned, and none
elsewhere.
"""

import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Any, TypeAlias

CLOSING_SECONDS = 5.0
"""How long `close` waits for the batch that is on its way."""
LOOK_SECONDS = 0.1
"""How often a thread whose batch nobody has taken looks whether anybody still wants it."""
Taken: TypeAlias = "queue.Queue[tuple[Any, BaseException | None]]"


class Ahead(Iterator[Any]):
    """The items of an iterator, in order, one of them taken ahead in a thread."""

    def __init__(self, items: Iterator[Any]):
        """Begin to take at once."""
        self._taken: Taken = queue.Queue(maxsize=1)
        self._closed = threading.Event()
        thread = threading.Thread(
            target=_take, args=(items, self._taken, self._closed), daemon=True, name="loader ahead"
        )
        thread.start()
        self._end = weakref.finalize(self, _end, thread, self._closed)

    def __next__(self) -> Any:
        if self._closed.is_set():
            raise StopIteration
        item, error = self._taken.get()
        if error is not None:
            self._closed.set()
            raise error
        return item

    def close(self) -> None:
        """Take no more."""
        self._end()


def _end(thread: threading.Thread, closed: threading.Event) -> None:
    """Stop a thread, at the latest when Python ends: in the middle of torch's code it would abort then."""
    closed.set()
    if thread is not threading.current_thread():
        thread.join(CLOSING_SECONDS)


def _take(items: Iterator[Any], taken: Taken, closed: threading.Event) -> None:
    """Take until the end, an error, or the order to stop; an error is passed on in its place."""
    while not closed.is_set():
        try:
            item, error = next(items), None
        except BaseException as raised:
            item, error = None, raised
        _put((item, error), taken, closed)
        if error is not None:
            return


def _put(found: tuple[Any, BaseException | None], taken: Taken, closed: threading.Event) -> None:
    while not closed.is_set():
        try:
            return taken.put(found, timeout=LOOK_SECONDS)
        except queue.Full:
            continue
