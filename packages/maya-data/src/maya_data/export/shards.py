"""The rows of an index by the file that holds their audio."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from maya_data.indexing.segments import SegmentIndex

CHUNK = 1 << 22
"""Rows looked at together."""


def rows_by_shard(index: SegmentIndex) -> Iterator[Sequence[int]]:
    """Yield the rows of every shard; no column is copied where the rows of each shard lie together."""
    shards, count = index.columns["shard"], len(index.names("shard"))
    if _is_sorted(shards):
        starts = np.searchsorted(shards, np.arange(count + 1, dtype=shards.dtype if count else None))
        yield from (range(a, b) for a, b in zip(starts.tolist(), starts[1:].tolist(), strict=False) if a < b)
        return
    order = np.argsort(shards, kind="stable")
    ends = np.cumsum(np.bincount(shards, minlength=count))
    yield from (rows.tolist() for rows in np.split(order, ends[:-1]) if len(rows))


def _is_sorted(values: npt.NDArray[np.unsignedinteger]) -> bool:
    starts = range(0, len(values), CHUNK)
    return all(bool((np.diff(values[s : s + CHUNK + 1].astype(np.int64)) >= 0).all()) for s in starts)
