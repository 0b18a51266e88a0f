"""The rows of a reader brought to the columns of the index: completed, sound, flagged, digested."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from maya_data.indexing.flags import BAD_DURATION, MEANINGS, UNKNOWN_LANG, flag
from maya_data.readers import SCHEMA, BrokenShard

READ = SCHEMA
"""What a reader gives, in the order of the digest."""
NEEDED = ("id", "shard", "text", "lang")
"""Columns that every reader gives; the others have a default."""
TOLD = 3
"""Rows of a shard, for each thing that is wrong, that are told one by one."""
SHOWN = {BAD_DURATION: "duration", UNKNOWN_LANG: "lang"}
"""Bit -> the column whose value is told."""


@dataclass
class Flagged:
    """What is wrong with the rows of a shard."""

    counts: Counter[str] = field(default_factory=Counter)
    """What is wrong -> number of rows."""
    examples: list[str] = field(default_factory=list)
    """A sentence each for the first few rows."""

    def add(self, rows: pa.Table, flags: Any, first_row: int) -> None:
        """Count the flags of some rows, of which the first is row `first_row` of the shard."""
        for bit, meaning in MEANINGS.items():
            found = np.flatnonzero(flags & bit)
            told = max(TOLD - self.counts[meaning], 0)
            self.examples += [_sentence(rows, int(row), first_row, bit) for row in found[:told]]
            self.counts[meaning] += len(found)


def _sentence(rows: pa.Table, row: int, first_row: int, bit: int) -> str:
    shard, name = rows["shard"][row].as_py(), rows["id"][row].as_py()
    value = f": {rows[SHOWN[bit]][row].as_py()!r}" if bit in SHOWN else ""
    return f"{shard}: segment {name} (row {first_row + row}) {MEANINGS[bit]}{value}"


def complete(rows: pa.Table) -> pa.Table:
    """Return the columns of `READ`, with defaults for those that are absent or null.

    Raises:
        BrokenShard: A needed column is missing, or one holds something else than it should.
    """
    if missing := [name for name in NEEDED if name not in rows.column_names]:
        raise BrokenShard(f"the rows have no column `{missing[0]}`")
    columns = []
    for column in READ:
        empty = pa.scalar("" if _is_text(column) else 0).cast(column.type)
        if column.name in rows.column_names:
            columns.append(_typed(rows[column.name], column).fill_null(empty))
        else:
            columns.append(pa.repeat(empty, len(rows)))
    return pa.table(columns, schema=READ)


def _is_text(column: pa.Field) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _typed(values: pa.ChunkedArray, column: pa.Field) -> pa.Array:
    """Return a column in its type; bytes that are no UTF-8 become U+FFFD."""
    try:
        typed = pa.concat_arrays(values.cast(column.type, safe=False).chunks or [pa.array([], column.type)])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BrokenShard(
            f"the column `{column.name}` holds {values.type}, expected {column.type}"
        ) from error
    if not _is_text(column) or _is_valid(typed):
        return typed
    raw = typed.cast(pa.large_binary()).to_pylist()
    return pa.array([None if text is None else text.decode(errors="replace") for text in raw], column.type)


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def flagged(rows: pa.Table, wrong: Flagged, first_row: int) -> pa.Table:
    """Add the columns that the index computes, and note in `wrong` what is wrong."""
    flags, chars = flag(rows)
    wrong.add(rows, flags, first_row)
    return rows.append_column("flags", pa.array(flags)).append_column("chars", pa.array(chars))


class Digest:
    """SHA-256 over the content of rows, whatever file they came from."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, rows: pa.Table) -> None:
        """Take some rows of the columns of `READ`."""
        for name in READ.names:
            for chunk in rows[name].chunks:
                self._add(chunk)

    def _add(self, column: pa.Array) -> None:
        buffers = column.buffers()
        if len(buffers) == 2:
            self._hash.update(column.to_numpy(zero_copy_only=False).tobytes())
            return
        kind = np.int64 if pa.types.is_large_string(column.type) else np.int32
        ends = np.frombuffer(buffers[1], kind)[column.offset : column.offset + len(column) + 1]
        self._hash.update(np.diff(ends).astype(np.int64).tobytes())
        self._hash.update(memoryview(buffers[2] or b"")[int(ends[0]) : int(ends[-1])])

    def hex(self) -> str:
        """Return the digest."""
        return self._hash.hexdigest()
