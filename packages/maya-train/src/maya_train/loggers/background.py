"""Loggers in a thread of their own: a slow or failing one costs training nothing."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from maya_train.loggers import Logger

WAITING = 1000
"""Calls that may wait; more are dropped, and their number is said at the end."""
LAST_WAIT = 20.0
"""Seconds that the end of a stage waits for slow loggers."""

Call = Callable[[Logger], None]
Say = Callable[[str], None]


class Background:
    """Passes calls on, in order."""

    def __init__(
        self, loggers: Sequence[tuple[str, Logger]], say: Say, after: Callable[[], None] | None = None
    ):
        self._loggers, self._say, self._after = dict(loggers), say, after
        self._calls: queue.Queue[Any] = queue.Queue(WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._work, name="loggers", daemon=True)
        self._thread.start()

    def call(self, call: Call) -> None:
        """Let every logger do this, soon."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._dropped += 1

    def draw(self) -> None:
        """Let the plots be drawn, soon."""
        self.call(_draw)

    def close(self) -> None:
        """Wait for what was asked, but not for ever."""
        self.draw()
        self.call(_close)
        try:
            self._calls.put(None, timeout=LAST_WAIT)
            self._thread.join(LAST_WAIT)
        except queue.Full:
            self._dropped += 1
        if self._dropped or self._thread.is_alive():
            self._say("loggers: too slow, some of their lines are missing; metrics.jsonl has all")

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if call is _draw:
                self._try("plots", self._after)
                continue
            for name, logger in list(self._loggers.items()):
                if not self._try(name, call, logger):
                    self._loggers.pop(name)

    def _try(self, name: str, do: Callable[..., None] | None, *arguments: Any) -> bool:
        try:
            if do is not None:
                do(*arguments)
        except Exception as error:  # whatever it is, training matters more
            self._say(f"{name}: left out from here on: {type(error).__name__}: {error}")
            return False
        return True


def _draw(logger: Logger) -> None:
    """Stands for the drawing of the plots."""


def _close(logger: Logger) -> None:
    logger.close()
