"""Units of work on a Dask cluster: what a lost worker had begun, the scheduler gives to another.

Results come back to this process, which alone writes, so that each is taken once.
This file is the same in maya-eval and in maya-bridge, which do not import each other.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

TIMEOUT = 30
"""Seconds that a scheduler has to answer."""
LOCAL = re.compile(r"local:([1-9]\d*)")


@contextmanager
def fleet(address: str) -> Iterator[Any]:
    """Give the client of a cluster.

    Args:
        address: of a scheduler, as `tcp://head:8786`; or `local:4` for four processes on this machine.

    Raises:
        ImportError: Dask is not installed.
        ConnectionError: no scheduler answers.
        ValueError: no address.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise ImportError(f"`--dask` needs distributed ({error}); pip install distributed") from error
    if (local := LOCAL.fullmatch(address)) is not None:
        with (
            distributed.LocalCluster(
                n_workers=int(local[1]), threads_per_worker=1, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    if "://" not in address:
        raise ValueError(f"`--dask` must be an address like tcp://head:8786, or local:4, got {address!r}")
    try:
        client = distributed.Client(address, timeout=TIMEOUT)
    except OSError as error:
        raise ConnectionError(f"no Dask scheduler answers at {address} within {TIMEOUT} s") from error
    with client:
        yield client


def results(
    client: Any, work: Callable[[Any, Any], Any], orders: Any, units: Mapping[int, Any]
) -> Iterator[tuple[int, Any]]:
    """Yield `(number, work(orders, unit))` of each unit as it is done.

    Args:
        client: of `fleet`.
        work: a function that the workers can import.
        orders: its first argument, the same for all.
        units: its second argument, of each unit.

    Raises:
        ConnectionError: units that no worker survived; after all others are done.
        Exception: whatever `work` raises, at once.
    """
    distributed: Any = import_module("distributed")
    futures = {client.submit(work, orders, unit, pure=False): number for number, unit in units.items()}
    lost = 0
    for future in distributed.as_completed(list(futures)):
        number = futures.pop(future)
        try:
            found = future.result()
        except distributed.scheduler.KilledWorker:
            lost += 1
            continue
        yield number, found
    if lost:
        what = "unit was" if lost == 1 else "units were"
        raise ConnectionError(f"{lost} {what} given up: it killed each worker that had it, perhaps by memory")
