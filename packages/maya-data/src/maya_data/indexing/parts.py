"""A part: the rows of one shard on disk, complete and flagged, with a digest of their content."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from maya_data.indexing.atomic import atomic
from maya_data.indexing.rows import READ, Digest, Flagged, complete, flagged
from maya_data.indexing.strings import ROWS_A_BATCH
from maya_data.readers import ShardRows

PART = pa.schema([*READ, pa.field("flags", pa.uint8()), pa.field("chars", pa.uint16())])


class Summary(NamedTuple):
    """What a part says of itself."""

    rows: int
    digest: str
    """Of the content of the rows."""
    dropped: Counter[str]
    """Reason -> segments that the reader left out."""
    flagged: Flagged
    """What is wrong with rows that are there."""


def write_part(read: ShardRows, path: Path) -> None:
    """Write the rows of a shard to `path`, which is there as a whole or not at all.

    Raises:
        BrokenShard: A column is missing or holds something else than it should.
        DiskFull: There is no room.
    """
    digest, wrong, batches = Digest(), Flagged(), []
    for first_row in range(0, len(read.rows), ROWS_A_BATCH):
        rows = complete(read.rows.slice(first_row, ROWS_A_BATCH))
        digest.add(rows)
        batches.append(flagged(rows, wrong, first_row).combine_chunks())
    said: dict[str, Any] = {"rows": len(read.rows), "digest": digest.hex(), "dropped": read.dropped}
    said |= {"counts": wrong.counts, "examples": wrong.examples}
    schema = PART.with_metadata({"part": json.dumps(said)})
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with atomic(path) as temporary, pa.ipc.new_file(str(temporary), schema, options=options) as writer:
        for batch in batches:
            writer.write_table(batch)


def summary(path: Path) -> Summary | None:
    """Return what a part says of itself, or None where it is absent or damaged."""
    try:
        with pa.memory_map(str(path)) as mapped:
            schema = pa.ipc.open_file(mapped).schema
        said: dict[str, Any] = json.loads(schema.metadata[b"part"])
        wrong = Flagged(Counter(said["counts"]), said["examples"])
        found = Summary(said["rows"], said["digest"], Counter(said["dropped"]), wrong)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if schema.equals(PART) else None


def read_part(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a part.

    Raises:
        ValueError: The part is damaged.
    """
    try:
        with pa.OSFile(str(path)) as file:
            part = pa.ipc.open_file(file)
            for number in range(part.num_record_batches):
                yield part.get_batch(number)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and run `maya-data index` again") from error
