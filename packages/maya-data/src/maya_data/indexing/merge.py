"""Parts become an index: columns written in one pass in bounded memory, put in place all at once."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from maya_data.indexing.atomic import disk_errors, sync
from maya_data.indexing.columns import Column, Names, NumberColumn, StringColumns
from maya_data.indexing.parts import Summary, read_part
from maya_data.indexing.segments import COLUMNS, MANY_NAMES, SCHEMA_VERSION, SMALL_NAMES

STRINGS = pa.schema({"id": pa.large_string(), "text": pa.large_string()})
WIDEST = {"offset": np.int64, "size": np.int64, "start": np.int64, "duration": np.float32}
"""Types of the numbers that are collected; names are uint32."""
NARROW = ("offset", "size", "start")
"""Columns written as uint32 where that holds them; then also offset + size fits."""
EXAMPLES = 20
"""Sentences on single rows that index.json keeps."""


class Part(NamedTuple):
    """The rows of one shard on disk."""

    source: int
    """Position of its source in the list of sources."""
    shard: str
    path: Path
    summary: Summary


def merge(parts: Sequence[Part], out: Path, info: dict[str, Any]) -> None:
    """Write the index of `parts`, in their order, into the folder `out`.

    What stood there before stays valid until everything is written; then it is replaced.

    Args:
        parts: At least one; those of one source next to each other.
        out: Folder of the index.
        info: What index.json says besides; `info["sources"]` gets the first shard number of each source.

    Raises:
        DiskFull: There is no room; the index that was there still is.
        ValueError: A part is damaged.
    """
    fresh = out / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        with disk_errors(out):
            said = _write(parts, fresh, info)
            (fresh / "index.json").write_text(json.dumps(said, ensure_ascii=False, indent=1), "utf-8")
            for file in fresh.iterdir():
                sync(file)
            _swap(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write(parts: Sequence[Part], fresh: Path, info: dict[str, Any]) -> dict[str, Any]:
    columns = _Columns(fresh)
    with columns:
        for part in parts:
            columns.add(part)
        columns.begin(len(info["sources"]) - 1)
    columns.write()
    sources = [
        source | {"first_shard": first}
        for source, first in zip(info["sources"], columns.first_shards, strict=True)
    ]
    return info | {"sources": sources} | columns.said() | _summed(parts)


def _summed(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what the parts say together."""
    digest = hashlib.sha256(f"schema {SCHEMA_VERSION}".encode())
    dropped, counts, examples = Counter[str](), Counter[str](), list[str]()
    for part in parts:
        digest.update(bytes.fromhex(part.summary.digest))
        dropped.update(part.summary.dropped)
        counts.update(part.summary.flagged.counts)
        examples += part.summary.flagged.examples[: EXAMPLES - len(examples)]
    return {
        "schema": SCHEMA_VERSION,
        "fingerprint": digest.hexdigest()[:32],
        "dropped": dict(+dropped),
        "flagged": dict(+counts),
        "examples": examples,
    }


class _Columns:
    """All columns of the index while they are being written into a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows, self.seconds, self.source = 0, 0.0, -1
        self.first_shards: list[int] = []
        self.small: dict[str, list[Any]] = {name: [] for name in SMALL_NAMES}
        self.many = {
            name: StringColumns(folder / f"{name}.arrow", pa.schema({name: pa.string()}))
            for name in MANY_NAMES
        }
        self.names = {name: Names(self.small[name].extend) for name in SMALL_NAMES}
        self.names |= {name: Names(self._teller(name)) for name in MANY_NAMES}
        self.strings = StringColumns(folder / "strings.arrow", STRINGS)
        types = {name: WIDEST.get(name, np.uint32) for name in (*COLUMNS, "start")}
        types |= {"flags": np.uint8, "chars": np.uint16}
        self.numbers = {name: NumberColumn(folder / f"{name}.raw", kind) for name, kind in types.items()}

    def _teller(self, name: str) -> Any:
        return lambda names: self.many[name].add(pa.record_batch({name: pa.array(names, pa.string())}))

    def __enter__(self) -> "_Columns":
        return self

    def __exit__(self, *error: object) -> None:
        with ExitStack() as stack:
            for strings in (self.strings, *self.many.values()):
                stack.callback(strings.close)
            for numbers in self.numbers.values():
                stack.callback(numbers.close)

    def begin(self, source: int) -> None:
        """Go on to a source; the name of a shard of another one is another shard."""
        while self.source < source:
            self.source += 1
            self.first_shards.append(self.names["shard"].count)
            self.names["shard"].forget()

    def add(self, part: Part) -> None:
        """Append the rows of a part."""
        self.begin(part.source)
        for batch in read_part(part.path):
            self._add(batch)

    def _add(self, batch: pa.RecordBatch) -> None:
        self.strings.add(batch)
        for name, column in self.numbers.items():
            values = batch.column(name)
            column.add(self.names[name].numbers(values) if name in self.names else _numpy(values))
        durations = batch.column("duration").to_numpy()
        self.rows += len(durations)
        self.seconds += float(durations[np.isfinite(durations) & (durations > 0)].sum())

    @property
    def optional(self) -> list[str]:
        """Columns besides `COLUMNS` that this index has."""
        return ["start"] if self.numbers["start"].largest else []

    def write(self) -> None:
        """Write the columns of numbers in the smallest type that holds them."""
        for name, column in self.numbers.items():
            if name in COLUMNS or name in self.optional:
                column.write(self.folder / f"{name}.npy", self._type(name, column))
            column.path.unlink()

    def _type(self, name: str, column: NumberColumn) -> Any:
        if name in self.names:
            return np.min_scalar_type(max(self.names[name].count - 1, 0))
        largest = column.largest + (self.numbers["size"].largest if name == "offset" else 0)
        return np.dtype(np.uint32) if name in NARROW and largest < 1 << 32 else column.dtype

    def said(self) -> dict[str, Any]:
        """Return what index.json says of the columns."""
        return {
            "segments": self.rows,
            "hours": self.seconds / 3600,
            "optional": self.optional,
            "names": self.small,
        }


def _numpy(values: pa.Array) -> Column:
    column: Column = values.to_numpy(zero_copy_only=False)
    if column.dtype == np.float64:
        return np.where(np.isfinite(column), column, 0.0)
    return np.maximum(column, 0)


def _swap(fresh: Path, out: Path) -> None:
    """Put the new files in place; in between there is no index.json, so that nobody opens a mixture."""
    (out / "index.json").unlink(missing_ok=True)
    (out / "start.npy").unlink(missing_ok=True)
    for file in sorted(fresh.iterdir(), key=lambda file: file.name == "index.json"):
        file.replace(out / file.name)
