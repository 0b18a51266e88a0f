"""One writer a folder, and no process that outlives the one which started it."""

import ctypes
import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from maya_train.errors import LaunchError

LOCK = ".lock"
NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
PR_SET_PDEATHSIG = 1


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other runs out of `folder` while the block runs; the kernel lets go when this process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LaunchError(
                f"{folder} is being written by another run; wait for it, or give another folder"
            ) from None
        except OSError as error:  # a file system without locks
            if error.errno not in NO_LOCKS_HERE:
                raise
        yield


def dies_with(parent: int) -> Callable[[], None]:
    """A function that ties the process which calls it to its parent, where the system can (Linux)."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def tie() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it died before it could be watched
                os._exit(128 + signal.SIGKILL)

    return tie
