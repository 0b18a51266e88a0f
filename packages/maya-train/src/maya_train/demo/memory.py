"""The most memory that this process's children held together, sampled from /proc."""

import os
import threading
from pathlib import Path

PERIOD = 2.0
PAGE = os.sysconf("SC_PAGE_SIZE")
GIB = 2**30


class PeakMemory:
    """Context manager: samples the resident memory of all descendants until it is left."""

    def __init__(self) -> None:
        self.gib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD):
            self.gib = max(self.gib, descendants_resident(os.getpid()) / GIB)


def descendants_resident(pid: int) -> int:
    """Bytes that all descendants of a process hold; 0 where there is no /proc."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents.setdefault(int(fields[1]), []).append(int(folder.name))
    total, pending = 0, list(parents.get(pid, []))
    while pending:
        child = pending.pop()
        pending += parents.get(child, [])
        total += _resident(child)
    return total


def _resident(pid: int) -> int:
    """Resident set size; pages that processes share count for each, so a sum is an upper bound."""
    try:
        return PAGE * int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
