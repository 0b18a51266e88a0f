"""Units of work that several processes share through a folder; each one's result is written once, and whole.

A claim is a lock that the kernel frees when its process ends, however it ends, so that what a killed one had
begun is taken up by another at once, and nobody waits for a process that is gone. Where a file system locks
nothing between nodes, a unit may be done twice; its result is still one file.
This file is the same in maya-eval and in maya-bridge, which do not import each other.
"""

import errno
import glob
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PAUSE = 0.5
"""Seconds between looks at what others are doing."""
SUFFIX = ".units"


@dataclass(frozen=True)
class Member:
    """One of the processes that share the work."""

    rank: int = 0
    """Which units it begins with."""
    world: int = 1
    """How many processes there are, as far as is known; others may join."""
    local_rank: int | None = None
    """Which of its machine's processes it is; None where nobody said."""

    def device(self, asked: str) -> str:
        """Return the process's own accelerator where any was asked for: cuda:3 for cuda."""
        if asked != "cuda" or self.local_rank is None:
            return asked
        return f"cuda:{self.local_rank}"


def member() -> Member:
    """Return what torchrun, or whoever sets its variables, says about this process.

    Raises:
        ValueError: variables that are no such numbers.
    """
    told = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    try:
        rank, world = int(told["RANK"] or 0), int(told["WORLD_SIZE"] or 1)
        local = None if told["LOCAL_RANK"] is None else int(told["LOCAL_RANK"])
    except ValueError:
        rank = world = local = -1
    if not 0 <= rank < world or (local is not None and local < 0):
        raise ValueError(f"RANK, WORLD_SIZE and LOCAL_RANK must be as torchrun sets them, got {told}")
    return Member(rank, world, local)


class Units:
    """The units of one piece of work, in a `with` block; for one thread of a process."""

    def __init__(self, folder: Path, items: int, size: int, me: Member | None = None) -> None:
        """Join those who share a folder, which is made.

        Args:
            folder: on a file system that all of them see.
            items: to be done, numbered from 0.
            size: items of a unit.
            me: this process.
        """
        self.folder, self.items, self.size, self.me = folder, items, size, me or Member()
        self.count = -(-items // size)
        folder.mkdir(parents=True, exist_ok=True)
        self._claims = (folder / "claims").open("ab")

    def __enter__(self) -> "Units":
        return self

    def __exit__(self, *_: object) -> None:
        """Give back all claims."""
        self._claims.close()

    @property
    def gone(self) -> bool:
        """Whether another process has merged all results and removed the folder."""
        return not self.folder.is_dir()

    def span(self, number: int) -> range:
        """Return the items of a unit."""
        return range(number * self.size, min((number + 1) * self.size, self.items))

    def path(self, number: int, suffix: str = ".json") -> Path:
        """Return the file of a unit's result, or another one of that unit."""
        return self.folder / f"{number:08d}{suffix}"

    def unfinished(self, numbers: Collection[int]) -> list[int]:
        """Return those of the units whose result is not there; none where all has been merged."""
        try:
            found = set(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        return [number for number in numbers if self.path(number).name not in found]

    def claimed(self, numbers: Collection[int]) -> Iterator[int]:
        """Yield units to do, each this process's own until the next is asked for; end when all are done.

        Units of other processes are yielded too, once they are free; until then this waits.
        """
        while left := self.unfinished(numbers):
            idle = True
            for number in self._own_first(left):
                if self.path(number).exists() or not self._take(number):
                    continue
                try:
                    if not (self.gone or self.path(number).exists()):
                        idle = False
                        yield number
                finally:
                    self._free(number)
            if idle:
                time.sleep(PAUSE)

    def write(self, number: int, result: str) -> None:
        """Write a unit's result, whole or not at all; nothing where all has been merged."""
        unfinished = self.path(number, f".{socket.gethostname()}.{os.getpid()}.part")
        try:
            with unfinished.open("w", encoding="utf-8") as file:
                file.write(result)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path(number))
        except FileNotFoundError:
            if not self.gone:
                raise

    def falls_to_me(self) -> bool:
        """Wait until another process has merged all results (False), or until it falls to this one (True).

        Whoever it falls to calls `remove` when that is done.
        """
        while not self.gone:
            if self._take(self.count):
                return not self.gone
            time.sleep(PAUSE)
        return False

    @contextmanager
    def nobody_merges(self) -> Iterator[None]:
        """Keep others from merging while the block reads what has been merged."""
        mine = self.falls_to_me()
        try:
            yield
        finally:
            if mine:
                self._free(self.count)

    def remove(self) -> None:
        """Remove the folder, by which the others know that all is merged."""
        aside = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        try:
            self.folder.replace(aside)
        except FileNotFoundError:
            return
        self._claims.close()  # over NFS an open file cannot be removed
        shutil.rmtree(aside, ignore_errors=True)

    def _own_first(self, numbers: Collection[int]) -> list[int]:
        """Start in different places, so that processes seldom try for the same unit."""
        return sorted(numbers, key=lambda number: (number % self.me.world != self.me.rank, number))

    def _take(self, number: int) -> bool:
        return _lock(self._claims, number, take=True)

    def _free(self, number: int) -> None:
        if not self._claims.closed:
            _lock(self._claims, number, take=False)


def _lock(file: IO[bytes], number: int, take: bool) -> bool:
    """Lock or free a byte of a file; False where another process has it, True where nothing can be locked."""
    try:
        import fcntl
    except ImportError:  # Windows: units may be done twice
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN, 1, number)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def join(beside: Path, identity: str, items: int, size: int, me: Member | None = None) -> Units:
    """Join those who do the same work, in a folder beside the file that it is for.

    Who comes first decides on the size of units; who takes the work up again may ask for another in vain.

    Args:
        beside: the file.
        identity: equal for equal work.
        items: to be done.
        size: items of a unit.
        me: this process.
    """
    name = f"{beside.name}.{hashlib.sha256(identity.encode()).hexdigest()[:12]}-"
    found = sorted(beside.parent.glob(f"{glob.escape(name)}*{SUFFIX}"))
    folder = found[0] if found else beside.with_name(f"{name}{size}{SUFFIX}")
    return Units(folder, items, int(folder.name.removeprefix(name).removesuffix(SUFFIX)), me)
