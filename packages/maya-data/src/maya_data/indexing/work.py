"""The work of indexing: one task a shard, done by any executor; what is finished stays finished."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from maya_data.indexing.atomic import DiskFull
from maya_data.indexing.parts import summary, write_part
from maya_data.indexing.segments import SCHEMA_VERSION
from maya_data.indexing.sources import settings_of
from maya_data.readers import BrokenShard

IN_FLIGHT = 1024
"""Tasks that an executor holds at once."""
Progress = Callable[[int, int, str], None]
"""Called with shards done, shards in all (0: unknown) and the shard just done."""


class Task(NamedTuple):
    """One shard of one source, and the folder for its part."""

    place: tuple[int, int]
    """Position of the source, and of the shard in it: the order of the index."""
    source: str
    reader: Any
    shard: str
    folder: Path


class Outcome(NamedTuple):
    """A finished task: a part, or the sentence why there is none."""

    path: Path
    error: str = ""


class IndexingFailed(RuntimeError):
    """An executor could not do the work; finished shards are kept."""


def index_shard(task: Task) -> Outcome:
    """Make the part of a shard, unless there is one already and its reader can tell that it still holds.

    Raises:
        DiskFull: There is no room for it.
    """
    try:
        path = task.folder / _part_name(task)
        if summary(path) is None or not hasattr(task.reader, "signature"):
            write_part(task.reader.read_shard(task.shard), path)
    except DiskFull:
        raise
    except BrokenShard as error:
        return Outcome(task.folder, _about(task.shard, str(error)))
    except FileNotFoundError as error:
        return Outcome(task.folder, _about(task.shard, _missing(error)))
    except (OSError, ValueError, LookupError, EOFError, pa.ArrowException) as error:
        message = f"cannot be read ({type(error).__name__}: {' '.join(str(error).split())})"
        return Outcome(task.folder, _about(task.shard, message))
    return Outcome(path)


def _part_name(task: Task) -> str:
    """Return the file name of a shard's part; it changes with the shard's files and the reader's settings."""
    signature = ""
    if hasattr(task.reader, "signature"):
        try:
            signature = task.reader.signature(task.shard)
        except FileNotFoundError:
            task.reader.read_shard(task.shard)  # says better what is missing
            raise
    settings = repr(sorted(settings_of(task.reader)))
    kind = getattr(task.reader, "name", type(task.reader).__name__)
    what = (SCHEMA_VERSION, task.source, kind, settings, task.shard, signature)
    return hashlib.sha256(repr(what).encode()).hexdigest()[:24] + ".arrow"


def _about(shard: str, message: str) -> str:
    named = message.startswith(shard) or f"/{shard}" in message
    return message if named else f"{shard}: {message}"


def _missing(error: FileNotFoundError) -> str:
    if not error.filename:
        return str(error)
    return f"{Path(error.filename).parent}: {Path(error.filename).name} is missing"


def run(tasks: Iterable[Task], executor: Executor | None) -> Iterator[tuple[Task, Outcome]]:
    """Yield the outcome of every task as it comes; without an executor the tasks are done here.

    Raises:
        IndexingFailed: A worker died or the executor refused the work.
        DiskFull: There is no room for a part.
    """
    if executor is None:
        yield from ((task, index_shard(task)) for task in tasks)
        return
    waiting, running = iter(tasks), dict[Future[Outcome], Task]()
    try:
        while _submit(executor, waiting, running):
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), _result(future)
    finally:
        for future in running:
            future.cancel()


def _submit(executor: Executor, waiting: Iterator[Task], running: dict[Future[Outcome], Task]) -> bool:
    """Keep the executor busy; return whether anything runs."""
    while len(running) < IN_FLIGHT and (task := next(waiting, None)) is not None:
        try:
            running[executor.submit(index_shard, task)] = task
        except BrokenExecutor as error:
            raise _died() from error
    return bool(running)


def _result(future: "Future[Outcome]") -> Outcome:
    try:
        outcome = future.result()
    except DiskFull:
        raise
    except BrokenExecutor as error:
        raise _died() from error
    except Exception as error:
        raise IndexingFailed(
            f"indexing failed in a worker ({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error
    if not outcome.error and not outcome.path.is_file():
        raise IndexingFailed(
            f"a worker wrote {outcome.path}, which is not here; the index must be on a disk that all share"
        )
    return outcome


def _died() -> IndexingFailed:
    return IndexingFailed(
        "a worker process died, perhaps for want of memory; finished shards are kept, "
        "run again with fewer processes"
    )
