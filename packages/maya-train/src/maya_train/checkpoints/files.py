"""One file of a training state: written to the disk itself, read back once, and known by its checksum."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, NamedTuple
from zlib import crc32

import torch

from maya_train.checkpoints import BrokenCheckpoint
from maya_train.errors import NO_ROOM

CHUNK = 2**23  # bytes


class Stamp(NamedTuple):
    """By which a file is known again."""

    size: int
    """Bytes."""
    crc: int
    """CRC-32 of its content."""


class _Counted:
    """A file that sums up what passes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.size, self.crc = file, 0, 0

    def write(self, data: Any) -> int:
        self.crc = crc32(data, self.crc)
        self.size += memoryview(data).nbytes
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def write(path: Path, state: Mapping[str, Any]) -> Stamp:
    """Write `state`, wait until the disk has it, and see that it can be read again.

    Raises:
        OSError: the disk is full or broken; one sentence.
        BrokenCheckpoint: it holds something that would not be read again.
    """
    try:
        with path.open("wb") as file:
            counted = _Counted(file)
            torch.save(dict(state), counted)  # type: ignore[arg-type]  # all it needs is `write`
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        raise no_room(path.parent, error) or error from error
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)  # the tensors stay on the disk
    except (RuntimeError, UnpicklingError) as error:
        odd = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds a {odd[1]}" if odd else str(error).strip().splitlines()[0]
        raise BrokenCheckpoint(f"{path.name} was written but cannot be read back: {reason}") from error
    return Stamp(counted.size, counted.crc)


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote, on the CPU; tensors and plain values, nothing that could run."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def no_room(folder: Path, error: BaseException) -> OSError | None:
    """The error of a full disk as one sentence, or None where it is something else."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__  # torch hides what stopped it
    if not isinstance(cause, OSError) or cause.errno not in NO_ROOM:
        return None
    free = shutil.disk_usage(folder).free / 2**30
    return OSError(
        cause.errno,
        f"the training state {folder} could not be written ({os.strerror(cause.errno)},"
        f" {free:.2f} GiB free); earlier ones are whole",
    )


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file as it is on the disk."""
    size = crc = 0
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            size, crc = size + len(data), crc32(data, crc)
    return Stamp(size, crc)
