"""Check a stretch of rows: flags and sizes at once, then headers and audio one by one."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maya_data.audio import files
from maya_data.audio.embedded import MARK
from maya_data.indexing.flags import BAD_DURATION, MEANINGS
from maya_data.indexing.segments import SegmentIndex
from maya_data.verify.audio import audio_error
from maya_data.verify.findings import Finding, of_row
from maya_data.verify.headers import header_errors
from maya_data.verify.manifest import has_no_audio

Errors = defaultdict[int, list[str]]


class Place(NamedTuple):
    """Where a row's audio is, and what it should be."""

    row: int
    path: str
    """Location; `file.parquet#column` for an embedded recording."""
    offset: int
    size: int
    start: int
    """First sample inside the decoded file."""
    num_samples: int
    sampling_rate: int
    timed: bool
    """Whether the declared duration can be true at all."""
    part: bool
    """Whether it may be a part of a longer recording."""

    @property
    def embedded(self) -> bool:
        """Whether it is in a column of a Parquet file."""
        return MARK in self.path


def check_rows(index: SegmentIndex, start: int, stop: int, level: int) -> list[Finding]:
    """Return what is wrong with rows `start` to `stop` up to `level` (0 to 3)."""
    errors: Errors = defaultdict(list)
    _flags(index, start, stop, errors)
    unreadable = _sizes(index, start, stop, errors)
    if level >= 1:
        for place in _places(index, start, stop):
            if place.row not in unreadable:
                errors[place.row] += _contents(place, level)
    return [of_row(index, row, found) for row, found in sorted(errors.items()) if found]


def _flags(index: SegmentIndex, start: int, stop: int, errors: Errors) -> None:
    flags = np.asarray(index.columns["flags"][start:stop])
    for bit, meaning in MEANINGS.items():
        for row in (np.flatnonzero(flags & bit) + start).tolist():
            detail = f" ({index.name('lang', row)})" if "language that" in meaning else ""
            errors[row].append(
                meaning + (f" ({index.durations[row]:g} s)" if bit == BAD_DURATION else detail)
            )


def _sizes(index: SegmentIndex, start: int, stop: int, errors: Errors) -> set[int]:
    """Note rows beyond the end of their file; return those whose audio need not be looked at."""
    shards, offsets, sizes = (
        np.asarray(index.columns[name][start:stop]).astype(np.int64) for name in ("shard", "offset", "size")
    )
    gone: set[int] = set()
    names, first, owner = np.unique(shards, return_index=True, return_inverse=True)
    for number in range(len(names)):
        rows = np.flatnonzero(owner == number) if len(names) > 1 else np.arange(len(shards))
        for row, error in _outside(
            index.location(start + int(first[number])), rows, offsets[rows], sizes[rows]
        ):
            errors[start + row] += [error] if error else []
            gone.add(start + row)
    return gone


def _outside(path: str, rows: Any, offsets: Any, sizes: Any) -> Iterator[tuple[int, str]]:
    """Yield the rows that their file cannot hold, and why; an empty text where there never was a file."""
    try:
        end = _rows_of(path) if MARK in path else files.size_of(path)
    except FileNotFoundError:
        why = "" if has_no_audio(path) else f"is in a file that is missing: {path}"
        yield from ((row, why) for row in rows.tolist())
        return
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())
        yield from ((row, f"is in a file that cannot be read ({why})") for row in rows.tolist())
        return
    last = offsets + 1 if MARK in path else offsets + sizes
    for k in np.flatnonzero((last > end) | (offsets < 0)).tolist():
        unit = "row" if MARK in path else "byte"
        yield int(rows[k]), f"should end at {unit} {int(last[k])}, beyond the file's end at {end}"
    if MARK not in path:
        for k in np.flatnonzero((offsets == 0) & (sizes > 0) & (sizes < end)).tolist():
            yield int(rows[k]), f"is a file of {end} bytes, the index says {int(sizes[k])}"
        for k in np.flatnonzero((offsets > 0) & (sizes <= 0)).tolist():
            yield int(rows[k]), ""  # its flag says so


def _rows_of(path: str) -> int:
    with files.open_binary(path.rpartition("#")[0]) as file:
        return int(pq.ParquetFile(file).metadata.num_rows)


def _places(index: SegmentIndex, start: int, stop: int) -> Iterator[Place]:
    columns, rates = index.columns, index.names("sampling_rate")
    begins = columns.get("start")
    for row in range(start, stop):
        rate, seconds = int(rates[columns["sampling_rate"][row]]), float(columns["duration"][row])
        timed = not int(columns["flags"][row]) & BAD_DURATION
        path, offset = index.location(row), int(columns["offset"][row])
        yield Place(
            row=row,
            path=path,
            offset=offset,
            size=int(columns["size"][row]),
            start=int(begins[row]) if begins is not None else 0,
            num_samples=round(seconds * rate) if timed else 0,
            sampling_rate=rate,
            timed=timed,
            part=begins is not None and (MARK in path or not offset),
        )


def _contents(place: Place, level: int) -> list[str]:
    """Return what the headers say, and if they say nothing, what decoding does."""
    try:
        errors = header_errors(place)
        if not errors and level >= 3 and (error := audio_error(place)):
            errors = [error]
    except FileNotFoundError:
        return [f"is in a file that is missing: {place.path}"]
    except (OSError, pa.ArrowException) as error:
        return [f"cannot be read ({' '.join(str(error).split())})"]
    return errors
