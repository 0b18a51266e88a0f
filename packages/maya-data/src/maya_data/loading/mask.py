"""The quarantine of an index: numbered lists of segments that plans leave out.

Each version is one file, `INDEX/quarantine/0001.parquet` and so on, and holds all that the versions before it
hold. A file never changes once it is there, so a run that names a version finds the same segments in it.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maya_data.indexing.segments import SegmentIndex
from maya_data.loading.quarantine import read_ledger

FOLDER = "quarantine"
SCHEMA = pa.schema([("id", pa.string()), ("shard", pa.string()), ("error", pa.string()), ("row", pa.int64())])
FINGERPRINT = b"fingerprint"

Ints = npt.NDArray[np.int64]


class Merge(NamedTuple):
    """What a merge has made."""

    version: int
    """The newest version now; 0 where nothing was ever quarantined."""
    segments: int
    """Segments in it."""
    added: int
    """Segments that the version before it lacks; where there are none, no new version is written."""
    unknown: list[str]
    """Ids in the ledgers that the index does not hold."""


def latest_version(index_path: str | Path) -> int:
    """Return the newest version of the quarantine of the index in `index_path`, 0 where there is none."""
    found = (Path(index_path) / FOLDER).glob("*.parquet")
    return max((int(path.stem) for path in found if path.stem.isdigit()), default=0)


def quarantined_rows(index: SegmentIndex, version: int) -> Ints:
    """Return the segment numbers (M,), rising, that `version` of the quarantine leaves out; 0 is no version.

    Raises:
        ValueError: There is no such version, or its file cannot be read.
    """
    if version == 0:
        return np.empty(0, np.int64)
    table = _read(index.path, version)
    if (table.schema.metadata or {}).get(FINGERPRINT, b"").decode() == index.fingerprint:
        return np.sort(table["row"].to_numpy())
    return np.sort(np.array([row for row, _ in _find(index, _pairs(table))], np.int64))


def merge_ledgers(ledgers: Iterable[str | Path], index_path: str | Path) -> Merge:
    """Add the segments of ledgers to the quarantine, as its next version.

    Args:
        ledgers: Ledgers of loaders, or what `maya-data verify --json` wrote.
        index_path: Folder of the index.

    Raises:
        FileNotFoundError: A ledger is not there.
        ValueError: A file is no ledger, or `index_path` is no index.
    """
    index = SegmentIndex.open(index_path)
    errors = {
        (str(line["id"]), str(line["shard"])): str(line["error"])
        for ledger in ledgers
        for line in read_ledger(ledger)
    }
    while True:
        merge, table = _merged(index, errors)
        if not merge.added or _publish(table, index.path, merge.version):
            return merge


def _merged(index: SegmentIndex, errors: dict[tuple[str, str], str]) -> tuple[Merge, pa.Table]:
    """Return the next version as a table: what the newest holds, and what is new in `errors`."""
    version = latest_version(index.path)
    before = _read(index.path, version) if version else SCHEMA.empty_table()
    known = dict(zip(_pairs(before), before["error"].to_pylist(), strict=True))
    found = list(_find(index, {*known, *errors}))
    rows = [
        {"id": pair[0], "shard": pair[1], "error": known.get(pair, errors.get(pair)), "row": row}
        for row, pair in found
    ]
    there = {pair for _, pair in found}
    gone = sorted(identity for identity, shard in errors if (identity, shard) not in there)
    added = len(there - {*known})
    table = pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata({FINGERPRINT: index.fingerprint})
    return Merge(version + bool(added), len(rows) if added else len(before), added, gone), table


def _publish(table: pa.Table, index_path: Path, version: int) -> bool:
    """Write a version as a whole or not at all; False where another process was faster."""
    folder = index_path / FOLDER
    folder.mkdir(exist_ok=True)
    temporary = folder / f".{uuid4().hex}.tmp"
    try:
        pq.write_table(table, temporary)
        os.link(temporary, folder / f"{version:04d}.parquet")  # unlike a rename, it replaces nothing
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _read(index_path: Path, version: int) -> pa.Table:
    path = index_path / FOLDER / f"{version:04d}.parquet"
    if not path.is_file():
        newest = latest_version(index_path)
        there = f"the newest is {newest}" if newest else "there is none yet"
        raise ValueError(f"{index_path} has no version {version} of its quarantine; {there}")
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=SCHEMA.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} cannot be read; remove it and merge the ledgers again: {error}") from error


def _pairs(table: pa.Table) -> Sequence[tuple[str, str]]:
    return list(zip(table["id"].to_pylist(), table["shard"].to_pylist(), strict=True))


def _find(index: SegmentIndex, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield the rows of (id, shard) pairs, rising, going through the ids in chunks."""
    wanted = set(pairs)
    if not wanted:
        return
    ids = pa.array(sorted({identity for identity, _ in wanted}), pa.string())
    start = 0
    with pa.memory_map(str(index.path / "strings.arrow")) as file:
        strings = pa.ipc.open_file(file)
        for number in range(strings.num_record_batches):
            chunk = strings.get_batch(number)["id"]
            for place in np.flatnonzero(pc.is_in(chunk, ids.cast(chunk.type)).to_numpy(zero_copy_only=False)):
                row = start + int(place)
                if (pair := (chunk[int(place)].as_py(), index.name("shard", row))) in wanted:
                    yield row, pair
            start += len(chunk)
