"""Recordings inside a column of a Parquet file, as Hugging Face data sets hold them."""

from collections import OrderedDict
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maya_data.audio import files
from maya_data.audio.decode import CorruptAudio

OPEN_FILES = 16
"""Files whose footers are kept."""
CACHED_BYTES = 128 << 20
"""Bytes of row groups kept; the one that was read last is kept whatever its size."""
MARK = ".parquet#"
"""What the location of an embedded recording holds: `file.parquet#column`."""


def read(location: str, row: int) -> bytes:
    """Return the encoded bytes in a row of `file.parquet#column`; other columns are not read.

    Raises:
        CorruptAudio: The file is damaged, has no such column or row, or no audio there.
        FileNotFoundError: There is no such file.
        UnreadableFile: The server does not answer.
    """
    path, _, column = location.rpartition("#")
    try:
        file = _open(path)
        group = int(np.searchsorted(file.starts, row, side="right")) - 1
        if not 0 <= row < file.starts[-1]:
            raise CorruptAudio(f"is not there: the file has {file.starts[-1]} rows")
        value = _groups.read(path, column, group)[row - int(file.starts[group])].as_py()
    except (FileNotFoundError, files.UnreadableFile):
        raise
    except (pa.ArrowException, OSError) as error:
        raise CorruptAudio(f"is in a damaged file ({' '.join(str(error).split())})") from error
    value = value["bytes"] if isinstance(value, dict) else value
    if not isinstance(value, bytes) or not value:
        raise CorruptAudio(f"has no audio in column {column}")
    return value


class _File:
    """A Parquet file with the first row of every row group, and the number of all rows."""

    def __init__(self, path: str):
        self.path = path
        # Arrow reads a local file faster by itself than through Python.
        self.parquet = pq.ParquetFile(files.open_binary(path) if files.is_uri(path) else files.local(path))
        metadata = self.parquet.metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self.starts = np.cumsum([0, *rows])

    def column(self, name: str, group: int) -> Any:
        """Return the bytes of a row group: the column, or its child `bytes` where it is a struct."""
        leaves = [self.parquet.schema.column(i).path for i in range(len(self.parquet.schema))]
        leaf = next((leaf for leaf in (name, f"{name}.bytes") if leaf in leaves), None)
        if leaf is None:
            raise CorruptAudio(f"needs column {name}; the file has {', '.join(leaves)}")
        return self.parquet.read_row_group(group, columns=[leaf], use_threads=False).column(0)


_open = lru_cache(OPEN_FILES)(_File)


class _Groups:
    """The row groups that were read last."""

    def __init__(self) -> None:
        self.kept: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        self.bytes = 0

    def read(self, path: str, column: str, group: int) -> Any:
        key = (path, column, group)
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        values = _open(path).column(column, group)
        self.kept[key] = values
        self.bytes += values.nbytes
        while self.bytes > CACHED_BYTES and len(self.kept) > 1:
            self.bytes -= self.kept.popitem(last=False)[1].nbytes
        return values


_groups = _Groups()
