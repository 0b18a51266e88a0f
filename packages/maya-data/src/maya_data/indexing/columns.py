"""Columns that grow on disk: numbers of any count, strings, and names that become numbers."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from maya_data.indexing.strings import ROWS_A_BATCH

Column = npt.NDArray[Any]
CHUNK = 1 << 20
"""Rows that are converted at once."""
MOST_KNOWN = 1 << 20
"""Names remembered; one that comes back after so many others gets a second number."""


class NumberColumn:
    """A column of numbers whose final type is known at the end."""

    def __init__(self, path: Path, dtype: npt.DTypeLike):
        """Collect the numbers in a file `path` of plain `dtype`."""
        self.path, self.dtype = path, np.dtype(dtype)
        self.largest = 0
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 - closed by `close`

    def add(self, values: Column) -> None:
        """Append some rows."""
        values.astype(self.dtype, copy=False).tofile(self._file)
        if len(values) and self.dtype.kind in "iu":
            self.largest = max(self.largest, int(values.max()))

    def write(self, path: Path, dtype: npt.DTypeLike) -> None:
        """Write all rows to `path` as .npy of type `dtype`."""
        self.close()
        rows = self.path.stat().st_size // self.dtype.itemsize
        head = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (rows,)}
        with open(self.path, "rb") as plain, open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, head)
            while len(values := np.fromfile(plain, self.dtype, CHUNK)):
                values.astype(dtype).tofile(file)

    def close(self) -> None:
        """Close the file of plain numbers."""
        self._file.close()


class StringColumns:
    """Columns of strings in one Arrow file; small pieces are joined, large ones split."""

    def __init__(self, path: Path, schema: pa.Schema):
        """Write to the Arrow file `path`."""
        self.schema = schema
        self._writer = pa.ipc.new_file(str(path), schema)
        self._waiting: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Append some rows of the columns of the schema."""
        self._waiting.append(batch.select(self.schema.names))
        if sum(map(len, self._waiting)) >= ROWS_A_BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting).cast(self.schema).combine_chunks()
            self._writer.write_table(table, max_chunksize=2 * ROWS_A_BATCH)
            self._waiting = []

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        self._flush()
        self._writer.close()


class Names:
    """Numbers for names, in the order in which the names are met."""

    def __init__(self, tell: Callable[[list[Any]], None]):
        """Hand each list of new names to `tell`."""
        self.count = 0
        self._tell = tell
        self._known: dict[Any, int] = {}

    def forget(self) -> None:
        """Give every name that comes a new number, also one that was met."""
        self._known.clear()

    def numbers(self, values: pa.Array) -> Column:
        """Return the number of every value."""
        coded = values.dictionary_encode()
        numbers = np.array(self._look_up(coded.dictionary.to_pylist()), np.uint32)
        found: Column = numbers[coded.indices.to_numpy()]
        return found

    def _look_up(self, names: Iterable[Any]) -> list[int]:
        if len(self._known) > MOST_KNOWN:
            self.forget()
        numbers, fresh = [], []
        for name in names:
            if (number := self._known.get(name)) is None:
                number = self._known[name] = self.count
                self.count += 1
                fresh.append(name)
            numbers.append(number)
        self._tell(fresh)
        return numbers
