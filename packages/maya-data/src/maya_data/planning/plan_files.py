"""Where layouts of large indexes are kept: files beside the index, written once and memory-mapped."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maya_data.planning.layout import Allocate, Layout
from maya_data.planning.usable import IN_MEMORY

FOLDER = "plans"
SMALL = ("counts", "sizes", "ratios")
NEEDED = "4 to 6 bytes a segment"
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


def layout_of(index: Any, name: str, build: Callable[[Allocate], Layout]) -> Layout:
    """Return a layout: made in memory for a small index, else read from files, which are made if missing.

    Args:
        index: A SegmentIndex.
        name: Changes with everything that the layout depends on.
        build: Makes the layout in arrays that it is given.

    Raises:
        OSError: There is no room for the files.
    """
    if len(index.durations) <= IN_MEMORY:
        return build(lambda _, length, kind: np.empty(length, kind))
    beside = Path(index.path) / FOLDER / index.fingerprint[:16]
    elsewhere = Path(tempfile.gettempdir()) / f"maya-data-{os.getuid()}" / index.fingerprint[:16]
    for folder in (beside, elsewhere):
        if (folder / name / "small.npz").is_file():
            return _read(folder / name)
    try:
        layout = _write(beside / name, build)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return _write(elsewhere / name, build)
    for other in set(beside.parent.iterdir()) - {beside}:  # plans of what the index was before it grew
        shutil.rmtree(other, ignore_errors=True)
    return layout


def _read(folder: Path) -> Layout:
    with np.load(folder / "small.npz") as small:
        arrays: dict[str, Any] = {name: small[name] for name in SMALL}
    arrays["order"] = np.load(folder / "order.npy", mmap_mode="r")
    if (folder / "buckets.npy").is_file():
        arrays["buckets"] = np.load(folder / "buckets.npy", mmap_mode="r")
    return Layout(**arrays)


def _write(folder: Path, build: Callable[[Allocate], Layout]) -> Layout:
    """Make the files in a folder of their own, which then gets its name: they are there as a whole or not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        layout = build(lambda name, length, kind: _mapped(temporary / f"{name}.npy", length, kind))
        np.savez(temporary / "small.npz", **{name: getattr(layout, name) for name in SMALL})
        _publish(temporary, folder)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(error.errno, f"no room for the plan, which needs {NEEDED}", str(folder)) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _read(folder)


def _mapped(path: Path, length: int, kind: Any) -> npt.NDArray[Any]:
    """Return an array in a new file, whose room is taken at once: a full disk is an error, not a crash."""
    array: npt.NDArray[Any] = np.lib.format.open_memmap(path, "w+", dtype=kind, shape=(length,))
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _publish(temporary: Path, folder: Path) -> None:
    """Give the folder its name, unless another process was faster."""
    temporary.chmod(0o755)
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
