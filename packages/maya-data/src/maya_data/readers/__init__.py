"""Readers turn a source into rows of the segment index; each is a plugin of the group `maya.readers`.

A reader has `build()`, an iterator of rows (dicts with the columns of `SCHEMA`, and further ones of the
source where it has them). One that also has `shards()`, `signature(shard)` and `read_shard(shard)` is indexed
shard by shard and can be taken up again after an interruption. `read_audio(row)` returns the sound of a row.
"""

from collections import Counter
from typing import NamedTuple

import pyarrow as pa

SCHEMA = pa.schema(
    {
        "id": pa.large_string(),
        "shard": pa.string(),
        "offset": pa.int64(),
        "size": pa.int64(),
        "duration": pa.float64(),
        "num_samples": pa.int64(),
        "sampling_rate": pa.int64(),
        "text": pa.large_string(),
        "lang": pa.string(),
        "corpus": pa.string(),
        "speaker": pa.string(),
        "domain": pa.string(),
        "start": pa.int64(),
    }
)
"""The columns of a row.

`shard` is the audio file, tar or `file.parquet#column` relative to the root; `text` is as the source wrote
it; `start` is the first sample of the segment inside the decoded file, 0 where it is all of it.
"""


class BrokenShard(ValueError):
    """A shard that cannot be read at all; the message names it and what is wrong."""


class ShardRows(NamedTuple):
    """What one shard holds."""

    rows: pa.Table
    """Table of `SCHEMA`, in the order of the bytes or of the lines."""
    dropped: Counter[str]
    """Why, with the first places by name -> number of segments left out."""
