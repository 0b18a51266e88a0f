"""Files that are there as a whole or not at all, also after a kill or a full disk."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFull(OSError):
    """There is no room for the index; what was finished before is kept."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes its place when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(path.parent):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes from building in `folder`; the system ends this with the process.

    Raises:
        ValueError: Another process is at it.
    """
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process is indexing into {folder}; wait for it to end") from error
        except OSError:  # a network disk without locks
            pass
        yield


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into one sentence.

    Raises:
        DiskFull: The block met a full disk, a quota or a limit on the size of files.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or isinstance(error, DiskFull):
            raise
        raise DiskFull(
            f"no room to write in {folder} ({os.strerror(error.errno)}); finished shards are kept, "
            "make room and run again"
        ) from error
