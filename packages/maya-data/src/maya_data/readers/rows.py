"""Collects the rows of one shard, in order, and makes the table of them."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from maya_data.readers import SCHEMA, BrokenShard, ShardRows
from maya_data.readers.left_out import LeftOut

DEFAULTS: dict[str, Any] = {
    field.name: 0 if pa.types.is_integer(field.type) else 0.0 if pa.types.is_floating(field.type) else ""
    for field in SCHEMA
}


class Rows:
    """Rows of a shard; an id that was met before is counted and left out."""

    def __init__(self, left_out: LeftOut):
        """Start with none; `left_out` counts what does not become a row."""
        self.left_out = left_out
        self._rows: list[dict[str, Any]] = []
        self._extras: list[dict[str, str]] = []
        self._ids: set[str] = set()

    def add(
        self, row: Mapping[str, Any], place: Callable[[], str], extras: Mapping[str, Any] | None = None
    ) -> None:
        """Add a row; columns that it lacks get zero or ''.

        Args:
            row: Columns of `SCHEMA`; `num_samples` and `duration` complete each other.
            place: Names file and line or row, for the count of what is left out.
            extras: Further columns, by the source's names.
        """
        if row["id"] in self._ids:
            self.left_out.add("id met twice", f"{place()}: {row['id']}")
            return
        self._ids.add(row["id"])
        whole = {**DEFAULTS, **row}
        rate = whole["sampling_rate"]
        if not whole["duration"] and rate:
            whole["duration"] = whole["num_samples"] / rate
        if "num_samples" not in row or row.get("duration"):
            length = whole["duration"] * rate
            whole["num_samples"] = round(length) if abs(length) < 2**53 else 0
        self._rows.append(whole)
        if extras is not None:
            self._extras.append({key: value for key, value in extras.items() if key not in DEFAULTS})

    def finish(self, shard: str, whole: bool = True) -> ShardRows:
        """Return the table, with the extras as further columns.

        Args:
            shard: Its name, for the error.
            whole: Whether it is all of a table; of a part of one nothing need be left.

        Raises:
            BrokenShard: There were lines or segments, and not one of them became a row.
        """
        dropped = self.left_out.counter()
        if not self._rows and dropped and whole:
            raise BrokenShard(f"{shard}: nothing of it can be used: {'; '.join(dropped)}")
        table = pa.Table.from_pylist(self._rows, schema=SCHEMA)
        for name in dict.fromkeys(key for extras in self._extras for key in extras):
            table = table.append_column(name, pa.array([extras.get(name) for extras in self._extras]))
        return ShardRows(table, dropped)
