"""A polite end: SIGTERM, or SIGUSR1 of batch systems, asks for a checkpoint and exit status 75."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_STATUS = 75  # EX_TEMPFAIL


class Preempted(SystemExit):
    """The run was asked to stop and has saved its state."""

    def __init__(self, step: int) -> None:
        super().__init__(EXIT_STATUS)
        self.step = step


class StopFlag:
    """Set by the first signal; the second one ends the process at once."""

    def __init__(self) -> None:
        self.is_set = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.is_set:
            raise SystemExit(128 + number)
        self.is_set = True


@contextmanager
def watch_signals() -> Iterator[StopFlag]:
    """A flag that SIGTERM and SIGUSR1 set while the block runs; earlier handlers come back afterwards."""
    flag = StopFlag()
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, flag) for number in numbers}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
