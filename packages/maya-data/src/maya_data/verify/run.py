"""Verify an index: tasks of rows and of shards, on any executor."""

import re
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from functools import partial
from itertools import chain, starmap
from typing import Any

import numpy as np
import pyarrow.compute as pc

from maya_data.audio import files
from maya_data.audit import repeated_ids
from maya_data.indexing.processes import fitting, pool
from maya_data.indexing.segments import SegmentIndex
from maya_data.verify.findings import Finding, Verified, of_row, of_shard, settle
from maya_data.verify.manifest import SHARD_FILE
from maya_data.verify.rows import check_rows
from maya_data.verify.shards import check_shard
from maya_data.verify.tasks import Progress, Task, run_tasks

LEVELS = ("rows", "headers", "checksums", "full decode")
ROWS_A_TASK = (1 << 16, 1 << 13, 1 << 13, 1 << 9)
"""Rows of one task, by level."""
SCANNED = 1 << 20
LINE = re.compile(r" line \d+$")
TABLED = "lang="
"""Beginning of a place in a shard with tables: those are read again."""
MEANT = "marked"
"""Beginning of the reason of a line that its author wants left out."""
REST = re.compile(r" and [\d,]+ more$")


def verify_index(
    index: SegmentIndex,
    *,
    level: int = 3,
    executor: Executor | None = None,
    processes: int = 0,
    progress: Progress | None = None,
) -> Verified:
    """Return what is wrong with the rows of `index` and with the audio that they promise.

    Args:
        index: What to verify.
        level: 0 rows, sizes and counts; 1 tar and audio headers too; 2 checksums too; 3 full decode too.
        executor: Does the work; None takes processes of its own.
        processes: How many; 0 takes what suits the machine, 1 works in this process.
        progress: Called with rows done, rows in all, and the shard just done.

    Raises:
        ValueError: There is no such level, or a root is not there.
        RuntimeError: A worker process died.
    """
    if level not in range(len(LEVELS)):
        raise ValueError(f"`level` must be 0 to {len(LEVELS) - 1}, got {level}")
    _check_roots(index)
    tasks = chain(_row_tasks(index, level), _shard_tasks(index, level))
    count = processes or fitting(-(-len(index) // ROWS_A_TASK[level]))
    with nullcontext(executor) if executor else pool(count) as workers:
        found = list(chain.from_iterable(run_tasks(tasks, workers, len(index), progress)))
    return Verified(segments=len(index), level=level, bad=settle(chain(_own_findings(index), found)))


def _check_roots(index: SegmentIndex) -> None:
    for source, root in zip(index.sources, index.roots, strict=True):
        if not files.is_uri(root) and not files.exists(root):
            raise ValueError(
                f"the root {root} of source {source['name']} is not there; say with --root where the audio is"
            )


def _own_findings(index: SegmentIndex) -> Iterator[Finding]:
    """Yield what the index itself knows: shards that could not be read, rows left out, ids met twice."""
    for shard, error in index.info["broken"].items():
        yield of_shard(shard, error.removeprefix(f"{shard}: "))
    yield from chain.from_iterable(starmap(_left_out, index.info["dropped"].items()))
    for row, first in repeated_ids(index):
        yield of_row(index, row, [f"has the same id as row {first}, in {index.name('shard', first)}"])


def _left_out(reason: str, number: int) -> Iterator[Finding]:
    """Yield what a reader left out: a finding for each place that `reason` names, and one for the rest."""
    why, _, named = reason.removesuffix(")").rpartition(" (") if reason.endswith(")") else (reason, "", "")
    if named.startswith(TABLED) or why.startswith(MEANT):
        return
    places = REST.sub("", named).split(", ") if named else []
    for place in places:
        file, colon, name = place.rpartition(": ")
        shard, name = (LINE.sub("", file), name) if colon else (LINE.sub("", name), "")
        yield Finding(None, name, shard, f"{place} was left out when indexing: {why}")
    if rest := number - len(places):
        yield Finding(None, "", "", f"{rest:,} {'more ' if places else ''}left out when indexing: {why}")


def _row_tasks(index: SegmentIndex, level: int) -> Iterator[Task]:
    rows = ROWS_A_TASK[level]
    for start in range(0, len(index), rows):
        stop = min(start + rows, len(index))
        yield Task(stop - start, index.name("shard", start), partial(check_rows, index, start, stop, level))


def _shard_tasks(index: SegmentIndex, level: int) -> Iterator[Task]:
    """Yield a task for each shard that has tables and a manifest beside its tar."""
    wanted = _with_tables(index)
    for start, stop in _stretches(index, wanted):
        yield Task(0, index.name("shard", start), partial(check_shard, index, start, stop, level))


def _with_tables(index: SegmentIndex) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return by the number of each shard whether it is a tar of the layout with tables."""
    names: Any = index.names("shard")
    found = [pc.ends_with(chunk, pattern=SHARD_FILE).to_numpy(zero_copy_only=False) for chunk in names.chunks]
    return np.concatenate([*found, np.zeros(0, np.bool_)]).astype(np.bool_)


def _stretches(index: SegmentIndex, wanted: np.ndarray[Any, np.dtype[np.bool_]]) -> Iterator[tuple[int, int]]:
    """Yield the first row, and the one behind the last, of each wanted shard."""
    column, start = index.columns["shard"], 0
    for first in range(0, len(index), SCANNED):
        part = np.asarray(column[first : first + SCANNED + 1])
        for end in (np.flatnonzero(part[1:] != part[:-1]) + first + 1).tolist():
            if wanted[int(column[start])]:
                yield start, end
            start = end
    if len(index) and wanted[int(column[start])]:
        yield start, len(index)


def root_mapping(given: list[str]) -> Any:
    """Return `root` for `open_index` from the texts of `--root`: a folder, or `source=folder` for several."""
    if not given:
        return None
    pairs = dict(text.split("=", 1) for text in given if "=" in text)
    if not pairs and len(given) == 1:
        return given[0]
    if len(pairs) < len(given):
        raise ValueError(f"`--root` must be one folder, or source=folder for each, got {' '.join(given)}")
    return pairs
