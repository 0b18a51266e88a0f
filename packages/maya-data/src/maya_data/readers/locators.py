"""Where the segments of a final-export shard lie in its tar: as its index says, checked on a sample."""

import os
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from maya_data.readers import BrokenShard
from maya_data.readers.tar import AUDIO_MAGICS, Member, member_at, walk

SAMPLE = 16
"""Locators that are compared with the tar's headers, evenly spread."""
LONGEST_NAME = 100
"""Characters of a name that a tar header holds at least."""


def locate(table: pa.Table, tar: Any, shard: str) -> pa.Table:
    """Return id, offset and size of the segments; the tar is walked when the table has no true ones.

    What lies beyond the end of the tar has size 0.

    Args:
        table: `audio_index.parquet` under our names: `id` or `member`, perhaps `offset` and `size`.
        tar: The tar, opened; None for metadata without audio, whose locators are taken as they are.
        shard: Name of the shard, for errors.

    Raises:
        BrokenShard: The table names neither ids nor members.
    """
    if not {"id", "member"} & set(table.column_names):
        raise BrokenShard(
            f"{shard}: audio_index.parquet has no column for `id` or `member`; set reader.columns"
        )
    if "id" not in table.column_names:
        table = table.append_column("id", _stems(table["member"].to_pylist()))
    table = table.set_column(table.column_names.index("id"), "id", table["id"].cast(pa.large_string()))
    if tar is None:
        return _stated(table, shard)
    if not {"offset", "size"} <= set(table.column_names) or not _hold(table, tar):
        table = _walked(table, tar)
    table = table.select(["id", "offset", "size"])
    return _within(table, tar.seek(0, os.SEEK_END))


def _stated(table: pa.Table, shard: str) -> pa.Table:
    """Take the locators as they are."""
    if not {"offset", "size"} <= set(table.column_names):
        raise BrokenShard(f"{shard}: audio_index.parquet has no offsets, and there is no audio.tar")
    return table.select(["id", "offset", "size"])


def _within(table: pa.Table, end: int) -> pa.Table:
    """Give size 0 to what does not lie within the tar."""
    starts, sizes = (table[name].cast(pa.int64()) for name in ("offset", "size"))
    inside = pc.and_(pc.less_equal(pc.add(starts, sizes), end), pc.greater_equal(starts, 0))
    sizes = pc.if_else(inside, pc.max_element_wise(sizes, 0), 0)
    starts = pc.if_else(pc.greater(starts, 0), starts, end)
    return pa.table({"id": table["id"], "offset": starts, "size": sizes})


def _stems(members: list[str]) -> pa.Array:
    return pa.array([PurePosixPath(member).name.split(".", 1)[0] for member in members], pa.large_string())


def _hold(table: pa.Table, tar: Any) -> bool:
    """Look at segments from first to last: does audio of that name and size start where the table says?

    A tar that was cut off still tells of those before its end.
    """
    if not len(table) or table["offset"].null_count or table["size"].null_count:
        return False
    ends = pc.add(table["offset"].cast(pa.int64()), table["size"].cast(pa.int64()))
    inside = table.filter(pc.less_equal(ends, tar.seek(0, os.SEEK_END)))
    table = inside if len(inside) else table
    rows = np.unique(np.linspace(0, len(table) - 1, SAMPLE).astype(int)).tolist()
    return all(_holds(row, table, tar) for row in table.take(rows).to_pylist())


def _holds(row: dict[str, Any], table: pa.Table, tar: Any) -> bool:
    member = member_at(tar, row["offset"])
    if member is None:  # No plain tar header before it: the audio itself has to do.
        tar.seek(max(row["offset"], 0))
        return bool(tar.read(4) in AUDIO_MAGICS)
    return member.size == row["size"] and _named(row, member, table)


def _named(row: dict[str, Any], member: Member, table: pa.Table) -> bool:
    """Return whether a header is that of the row; one that carries the id of another row is not."""
    if "member" in row:
        name = row["member"]
        same = PurePosixPath(name).name == PurePosixPath(member.name).name
        return same or (len(name) > LONGEST_NAME and name.startswith(member.name))
    stem = _stems([member.name])[0]
    return bool(stem.as_py() == row["id"] or pc.index(table["id"], stem).as_py() < 0)


def _walked(table: pa.Table, tar: Any) -> pa.Table:
    """Give each id its place by the tar's own headers, by member name where there is one."""
    members = list(walk(tar))
    key = "member" if "member" in table.column_names else "id"
    names = (
        pa.array([member.name for member in members], pa.large_string())
        if key == "member"
        else _stems([member.name for member in members])
    )
    place = pc.index_in(table[key].cast(pa.large_string()), value_set=names)
    table, place = table.filter(place.is_valid()), place.drop_null()
    places = pa.table(
        {
            "offset": pa.array([member.offset for member in members], pa.int64()),
            "size": pa.array([member.size for member in members], pa.int64()),
        }
    ).take(place)
    return pa.table({"id": table["id"], "offset": places["offset"], "size": places["size"]})
