"""Remote reads: one ranged request with a timeout, tried again after growing waits.

fsspec opens the URI, or Arrow where fsspec's driver for it is not installed.
"""

import io
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

STAMPS = ("ETag", "etag", "md5Hash", "md5", "checksum", "sha256", "blob_id")
TIMES = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime", "created")
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError, TypeError)
"""Errors that another attempt cannot cure."""

Result = TypeVar("Result")


class UnreadableFile(OSError):
    """A file that is there, or may be, and cannot be read; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How long to insist on a remote read."""

    attempts: int = 5
    """Times that a read is tried; 1 never tries again."""
    first_wait: float = 0.5
    """Seconds between the first two attempts; each later wait is twice as long."""
    longest_wait: float = 30.0
    """Seconds that no wait exceeds."""
    timeout: float = 60.0
    """Seconds after which an attempt that has not answered counts as failed."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if self.attempts < 1:
            raise ValueError(f"`attempts` must be 1 or more, got {self.attempts}")
        if not (self.first_wait >= 0 and self.longest_wait >= 0):
            raise ValueError(f"waits must be 0 s or more, got {self.first_wait} and {self.longest_wait}")
        if not self.timeout > 0:
            raise ValueError(f"`timeout` must be over 0 s, got {self.timeout}")

    def wait(self, attempt: int) -> float:
        """Return the seconds to wait after failed attempt number `attempt`, from 0; up to half is chance."""
        # From the system: training's own generators must not move, and forked workers must not wait alike.
        share = random.SystemRandom().uniform(0.5, 1.0)
        return min(self.longest_wait, self.first_wait * 2.0**attempt) * share


DEFAULT_RETRY = Retry()


def read(uri: str, offset: int, size: int, settings: Retry = DEFAULT_RETRY) -> bytes:
    """Return `size` bytes of a remote file from byte `offset` on; fewer where the file ends before."""
    if size <= 0:
        return b""
    try:
        data = insist(
            uri,
            lambda store, name: cast(bytes, store.cat_file(name, start=offset, end=offset + size)),
            settings,
        )
    except UnreadableFile:
        if _ends_before(uri, offset):
            return b""
        raise
    if len(data) > size:
        raise UnreadableFile(f"the server of {uri} ignores byte ranges; copy the file to one that does not")
    return data


def _ends_before(uri: str, offset: int) -> bool:
    """Return whether a range was refused because the file is too short for it."""
    try:
        size = info(uri, Retry(attempts=1)).get("size")
    except OSError:
        return False
    return size is not None and int(size) <= offset


def info(uri: str, settings: Retry = DEFAULT_RETRY) -> dict[str, Any]:
    """Return what the store tells of a file or folder, with `size` and `type`."""
    return insist(uri, lambda store, name: cast(dict[str, Any], store.info(name)), settings)


def stamp(uri: str) -> str:
    """Return the size with the store's tag of the content, or with the time of the last change."""
    told = info(uri)
    tag = next((told[name] for name in (*STAMPS, *TIMES) if told.get(name)), "")
    return f"{told.get('size')}:{tag}"


def list_files(root: str, pattern: str) -> list[str]:
    """Return the files under a URI that match a glob, relative to it and sorted."""

    def find(store: Any, folder: str) -> list[str]:
        folder = folder.rstrip("/")
        found = store.glob(f"{folder}/{pattern}", detail=True)
        if not found:
            store.info(folder)
        return sorted(name[len(folder) + 1 :] for name, told in found.items() if told["type"] == "file")

    return insist(root, find)


class RemoteFile(io.RawIOBase):
    """A remote file by ranged reads, each with its own retries."""

    def __init__(self, uri: str):
        size = info(uri).get("size")
        if size is None:
            raise UnreadableFile(f"the server of {uri} does not tell its size, so it cannot be read in parts")
        self.uri, self.size, self.position = uri, int(size), 0

    def readable(self) -> bool:  # noqa: D102 - as in io
        return True

    def seekable(self) -> bool:  # noqa: D102 - as in io
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:  # noqa: D102 - as in io
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(0, start + offset)
        return self.position

    def tell(self) -> int:  # noqa: D102 - as in io
        return self.position

    def readinto(self, buffer: Any) -> int:  # noqa: D102 - as in io
        data = read(self.uri, self.position, min(len(buffer), self.size - self.position))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


def insist(uri: str, call: Callable[[Any, str], Result], settings: Retry = DEFAULT_RETRY) -> Result:
    """Return `call(store, path inside it)`, tried again while another attempt may help.

    Raises:
        FileNotFoundError: The store says that there is no such file.
        UnreadableFile: No attempt succeeded, or the error is one that no attempt can cure.
    """
    store, name = _store(uri)
    for attempt in range(settings.attempts):
        if attempt:
            time.sleep(settings.wait(attempt - 1))
        try:
            return _within(settings.timeout, lambda: call(store, name))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{uri} does not exist") from error
        except FINAL as error:
            raise UnreadableFile(f"{uri} cannot be read: {_sentence(error)}") from error
        except Exception as error:
            last = error
    tries = f"{settings.attempts} attempts" if settings.attempts > 1 else "one attempt"
    raise UnreadableFile(f"{uri} cannot be read after {tries}: {_sentence(last)}") from last


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return `call()`; one that takes too long is left behind in a thread that ends with the process."""
    answers: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True, name="maya-data read").start()
    try:
        result, error = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return cast(Result, result)


def _store(uri: str) -> tuple[Any, str]:
    """Return the file system of a URI and the path inside it."""
    scheme, _, rest = uri.partition("://")
    bucket, _, name = rest.partition("/")
    try:
        # A chain (`simplecache::s3://...`) has no bucket that stands for all of its files.
        store = _fsspec_store(uri if "::" in uri else f"{scheme}://{bucket}", os.getpid())
        return store, str(store._strip_protocol(uri))
    except (ImportError, ValueError) as error:
        try:
            store, base = _arrow_store(f"{scheme}://{bucket}/", os.getpid())
        except Exception:  # fsspec's own error is the one that says what to install
            raise UnreadableFile(f"{uri} cannot be opened: {_sentence(error)}") from error
        return store, f"{base}/{name}" if base.strip("/") else base + name


def _fsspec_store(bucket: str, process: int) -> Any:
    """Return fsspec's client: one for all threads if it is made for that, else one a thread."""
    store = _shared_store(bucket, process)
    if getattr(store, "async_impl", False):
        return store
    import fsspec.core

    return fsspec.core.url_to_fs(bucket)[0]


@lru_cache(64)
def _shared_store(bucket: str, process: int) -> Any:
    """Return the client that was made first; one a process, since connections do not survive a fork."""
    import fsspec.core

    return fsspec.core.url_to_fs(bucket)[0]


@lru_cache(64)
def _arrow_store(bucket: str, process: int) -> tuple[Any, str]:
    """Return Arrow's client for a bucket and the path of the bucket in it."""
    import pyarrow.fs
    from fsspec.implementations.arrow import ArrowFSWrapper

    store, base = pyarrow.fs.FileSystem.from_uri(bucket)
    return ArrowFSWrapper(store), base
