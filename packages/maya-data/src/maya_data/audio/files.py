"""One small door to local paths and to URIs (`s3://`, `gs://`, `hf://`, `https://`, `memory://`, `file://`).

A local read is one `os.pread` on a descriptor that is kept open; `maya_data.audio.remote` does the rest.
"""

import errno
import glob
import io
import os
from functools import lru_cache
from typing import BinaryIO, cast

from maya_data.audio import remote
from maya_data.audio.remote import DEFAULT_RETRY, Retry, UnreadableFile

__all__ = [
    "DEFAULT_RETRY",
    "Retry",
    "UnreadableFile",
    "exists",
    "is_uri",
    "join",
    "list_files",
    "local",
    "open_binary",
    "read_bytes",
    "read_range",
    "size_of",
    "stamp",
]

OPEN_FILES = 256
"""Local descriptors kept open; the one that was used longest ago is closed first."""
READ_AHEAD = 1 << 16
"""Bytes that a remote file opened with `open_binary` reads at least."""

Path = str | os.PathLike[str]


def is_uri(path: Path) -> bool:
    """Return whether `path` is a URI of something that is no local file."""
    path = os.fspath(path)
    return "://" in path and not path.startswith("file://")


def local(path: Path) -> str:
    """Return a local path without the `file://` that may stand before it."""
    return os.fspath(path).removeprefix("file://")


def join(root: Path, name: str) -> str:
    """Return `name` under `root`; a name that is a URI or an absolute path comes back as it is."""
    root = os.fspath(root)
    if not name or "://" in name or os.path.isabs(name):
        return name or root
    return f"{root.rstrip('/')}/{name}" if "://" in root else os.path.join(root, name)


def exists(path: Path) -> bool:
    """Return whether a file or folder is there; an unreachable server is an error, not a no.

    Raises:
        UnreadableFile: The server does not answer.
    """
    if not is_uri(path):
        return os.path.exists(local(path))
    try:
        remote.info(os.fspath(path))
    except FileNotFoundError:
        return False
    return True


def list_files(root: Path, pattern: str) -> list[str]:
    """Return the files under `root` that match, as sorted posix paths relative to it.

    Args:
        root: Folder or URI.
        pattern: Relative glob; `**` stands for any number of folders, also none.

    Raises:
        FileNotFoundError: There is no such folder.
        UnreadableFile: The server does not answer.
    """
    if is_uri(root):
        return remote.list_files(os.fspath(root), pattern)
    folder = local(root)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"the folder {folder} does not exist")
    found = glob.iglob(pattern, root_dir=folder, recursive=True)
    return sorted({name.replace(os.sep, "/") for name in found if os.path.isfile(os.path.join(folder, name))})


def open_binary(path: Path) -> BinaryIO:
    """Return a seekable file opened for reading; reads of a remote one are retried.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadableFile: The server does not answer.
    """
    if is_uri(path):
        return cast(BinaryIO, io.BufferedReader(remote.RemoteFile(os.fspath(path)), READ_AHEAD))
    try:
        return open(local(path), "rb")
    except FileNotFoundError as error:
        raise _missing(path) from error


def read_bytes(path: Path) -> bytes:
    """Return all bytes of a file.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadableFile: The server does not answer.
    """
    if is_uri(path):
        return remote.insist(os.fspath(path), lambda store, name: cast(bytes, store.cat_file(name)))
    with open_binary(path) as file:
        return file.read()


def read_range(path: str, offset: int, size: int, *, settings: Retry = DEFAULT_RETRY) -> bytes:
    """Return `size` bytes of a file from byte `offset` on; fewer where the file ends before.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadableFile: The disk or the server fails, or the server answers without regard to ranges.
    """
    if "://" in path:
        if is_uri(path):
            return remote.read(path, offset, size, settings)
        path = local(path)
    try:
        return os.pread(_open(path).descriptor, size, offset)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise UnreadableFile(f"{path} cannot be read at byte {offset}: {error.strerror}") from error
    _open.cache_clear()  # A network disk has replaced the file under its descriptor.
    return os.pread(_open(path).descriptor, size, offset)


def size_of(path: Path) -> int:
    """Return the bytes of a file.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadableFile: The server does not answer, or does not tell the size.
    """
    return remote.RemoteFile(os.fspath(path)).size if is_uri(path) else _stat(path).st_size


def stamp(path: Path) -> str:
    """Return a short text that changes when the file does: size and time, or the store's own tag.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadableFile: The server does not answer.
    """
    if is_uri(path):
        return remote.stamp(os.fspath(path))
    found = _stat(path)
    return f"{found.st_size}:{found.st_mtime_ns}"


class _Descriptor:
    """A file descriptor that closes itself when the cache lets it go."""

    def __init__(self, path: str):
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


_open = lru_cache(OPEN_FILES)(_Descriptor)


def _missing(path: Path) -> FileNotFoundError:
    return FileNotFoundError(f"{os.fspath(path)} does not exist")


def _stat(path: Path) -> os.stat_result:
    try:
        return os.stat(local(path))
    except FileNotFoundError as error:
        raise _missing(path) from error
