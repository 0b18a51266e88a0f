"""A column of strings in a memory-mapped Arrow file: any number of them, and none of them in memory."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

ROWS_A_BATCH = 16_384
"""Strings that are made into Python objects at once."""


class Strings(Sequence[str]):
    """Strings by number; opening reads nothing but the file's table of contents."""

    def __init__(self, path: Path, column: str):
        self.path, self.column = path, column

    def __reduce__(self) -> tuple[Any, ...]:
        return Strings, (self.path, self.column)

    @cached_property
    def chunks(self) -> list[pa.Array]:
        """The Arrow arrays, one after the other."""
        file = pa.ipc.open_file(pa.memory_map(str(self.path)))
        place = file.schema.get_field_index(self.column)
        return [file.get_batch(number).column(place) for number in range(file.num_record_batches)]

    def open(self) -> None:
        """Open the file now; it stays what it is when another takes its name."""
        assert self.chunks is not None

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Number of the first string of every chunk, and behind them the number of strings."""
        return np.cumsum([0, *map(len, self.chunks)])

    @cached_property
    def _starts(self) -> list[int]:
        """The same as `starts`; bisecting a list is faster than an array."""
        return [int(start) for start in self.starts]

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return self._slice(*i.indices(len(self)))
        number = int(i) + len(self) if i < 0 else int(i)
        if not 0 <= number < len(self):
            raise IndexError(f"{self.column} {i} is outside the {len(self)} of {self.path}")
        chunk = bisect_right(self._starts, number) - 1
        return str(self.chunks[chunk][number - self._starts[chunk]].as_py())

    def _slice(self, start: int, stop: int, step: int) -> list[str]:
        if step != 1:
            return [self[number] for number in range(start, stop, step)]
        found: list[str] = []
        while start < stop:
            chunk = bisect_right(self._starts, start) - 1
            end = min(stop, self._starts[chunk + 1])
            first = start - self._starts[chunk]
            found += self.chunks[chunk].slice(first, end - start).to_pylist()
            start = end
        return found

    def __iter__(self) -> Iterator[str]:
        for chunk in self.chunks:
            for start in range(0, len(chunk), ROWS_A_BATCH):
                yield from chunk.slice(start, ROWS_A_BATCH).to_pylist()

    def find(self, value: str) -> int:
        """Return the number of the first string that equals `value`, or -1."""
        for start, chunk in zip(self._starts, self.chunks, strict=False):
            place = pc.index(chunk, pa.scalar(value, chunk.type)).as_py()
            if place >= 0:
                return start + int(place)
        return -1
