"""A polite end: SIGTERM, SIGUSR1 of batch systems, or Ctrl-C asks for a checkpoint and exit status 75.

While a stage trains, the step is finished and saved first; before that and between stages there is nothing
to save, and the process leaves at once with the same status.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_STATUS = 75  # EX_TEMPFAIL
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
FORWARDED = "PET_SIGNALS_TO_HANDLE"
"""Variable in which torchrun looks for the signals that it passes on to its processes."""


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


def leave_on_signals() -> None:
    """Let SIGTERM and SIGUSR1 end this process with `EXIT_STATUS`, wherever it is."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise Preempted(0)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, leave)


def pass_on_signals() -> None:
    """For the launcher, before it starts a process: SIGUSR1 alone would end it, and leave them running."""
    given = os.environ.get(FORWARDED, "SIGTERM,SIGINT,SIGHUP,SIGQUIT").split(",")
    os.environ[FORWARDED] = ",".join(dict.fromkeys([*given, *(number.name for number in SIGNALS)]))


@contextmanager
def watch_signals() -> Iterator[StopFlag]:
    """A flag that the first of `SIGNALS` sets while the block runs; earlier handlers come back afterwards."""
    flag = StopFlag()
    before = {number: signal.signal(number, flag) for number in SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
