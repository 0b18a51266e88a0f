"""A Dask cluster as the executor of indexing; needs `maya-data[dask]`."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

TIMEOUT = 30
"""Seconds that a scheduler has to answer."""
RETRIES = 2
"""Further tries of a shard whose worker was lost."""


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """Give an executor of the Dask cluster at `address`, for example `tcp://head:8786`.

    Its workers need this package, the audio under the same root, and the folder of the index.

    Raises:
        ImportError: Dask is not installed.
        ConnectionError: No scheduler answers at `address`.
        ValueError: `address` is no address.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise ImportError(f"`--dask` needs distributed ({error}); pip install 'maya-data[dask]'") from error
    try:
        client = distributed.Client(address, timeout=TIMEOUT)
    except OSError as error:
        raise ConnectionError(f"no Dask scheduler answers at {address} within {TIMEOUT} s") from error
    try:
        yield client.get_executor(retries=RETRIES)
    finally:
        client.close()
