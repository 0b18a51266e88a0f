"""Read segments by their byte ranges, wherever they are, and decode them into 16-bit samples."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from maya_data.audio import embedded, files
from maya_data.audio.coalesce import runs
from maya_data.audio.decode import CorruptAudio, Samples, decode, resample
from maya_data.indexing.segments import SegmentIndex
from maya_data.readers.final_export import is_metadata_only

__all__ = ["CorruptAudio", "Samples", "decode", "read_audio", "read_bytes", "read_many", "read_row"]

LENGTH_TOLERANCE = 0.1
"""Seconds by which the decoded length may differ from the declared one."""
LONGEST = 1e6
"""Seconds over which a declared duration is an error of the source."""
PATHS = 10_000
"""Locations kept of an index."""
CONNECTIONS = 16
"""Remote ranges read at the same time."""

_paths: WeakKeyDictionary[SegmentIndex, dict[int, str]] = WeakKeyDictionary()


def read_bytes(index: SegmentIndex, i: int) -> bytes:
    """Return the encoded bytes of the file, tar member or table cell in which segment `i` stands.

    Raises:
        CorruptAudio: The shard ends before the segment does, or holds no audio there.
        FileNotFoundError: The shard is gone.
        UnreadableFile: The shard cannot be read: its disk or server fails.
    """
    columns, i = index.columns, int(i)
    try:
        return _bytes_at(_path(index, i), columns["offset"].item(i), columns["size"].item(i))
    except CorruptAudio as error:
        raise _corrupt(index, i, error) from error
    except OSError as error:
        raise _unread(index, i, error) from error


def read_audio(index: SegmentIndex, i: int, sampling_rate: int | None = None, speed: float = 1.0) -> Samples:
    """Return segment `i` as mono samples (S,).

    Args:
        index: Segments.
        i: Number of the segment.
        sampling_rate: Rate wanted; None keeps the segment's own.
        speed: Over 0; 1.1 makes the segment 1.1 times as fast, and shorter.

    Raises:
        CorruptAudio: The bytes cannot be decoded, or their length is not the declared one.
        FileNotFoundError: The shard is gone.
        UnreadableFile: The shard cannot be read: its disk or server fails.
    """
    i = int(i)
    if "start" not in index.columns:
        return _decoded(index, i, read_bytes(index, i), sampling_rate, speed)
    offset, size, start = (index.columns[name].item(i) for name in ("offset", "size", "start"))
    duration = index.durations.item(i)
    try:
        samples, rate = _part(_path(index, i), (offset, size, start), duration, _rate(index, i))
    except CorruptAudio as error:
        raise _corrupt(index, i, error) from error
    except OSError as error:
        raise _unread(index, i, error) from error
    return _checked(index, i, samples, rate, sampling_rate, speed)


def read_many(
    index: SegmentIndex,
    ids: Iterable[int],
    sampling_rate: int | None = None,
    speeds: Iterable[float] | None = None,
) -> list[Samples | CorruptAudio]:
    """Return the segments `ids` in their order; one that is damaged is answered with its error.

    Neighbours inside a shard are read at once, and remote shards side by side. Arguments and the other errors
    are those of `read_audio`; `speeds` has one factor a segment.
    """
    numbers = np.fromiter(ids, np.int64)
    factors = np.ones(len(numbers)) if speeds is None else np.fromiter(speeds, np.float64)
    if len(factors) != len(numbers):
        raise ValueError(f"`speeds` must have one factor a segment, got {len(factors)} for {len(numbers)}")
    found: list[Any] = [None] * len(numbers)
    together = list(runs(*(index.columns[name][numbers] for name in ("shard", "offset", "size"))))
    encoded = _read_runs(index, [numbers[run].tolist() for run in together])
    for run, blobs in zip(together, encoded, strict=True):
        for k, data in zip(run.tolist(), blobs, strict=True):
            found[k] = _attempt(index, int(numbers[k]), data, sampling_rate, float(factors[k]))
    return found


def read_row(root: str, row: Mapping[str, Any]) -> tuple[Samples, int]:
    """Return `(samples (S,), sampling_rate)` of a row that a reader of the files under `root` gave.

    The row needs `id`, `shard`, `offset` and `size`. With `start` and `duration`, or in a file that is longer
    than `duration`, only that part comes back.

    Raises:
        CorruptAudio: The bytes cannot be decoded, or are shorter than declared.
        FileNotFoundError: The audio file is missing.
        UnreadableFile: Its disk or server fails.
    """
    path, duration = files.join(root, row["shard"]), float(row.get("duration") or 0.0)
    place = int(row["offset"]), int(row["size"] or 0), int(row.get("start") or 0)
    try:
        samples, rate = _part(path, place, duration, int(row.get("sampling_rate") or 0))
        if len(samples) / rate < duration - LENGTH_TOLERANCE:
            raise CorruptAudio(f"lasts {len(samples) / rate:.3f} s, its row says {duration:.3f} s")
    except CorruptAudio as error:
        raise CorruptAudio(f"{path}: segment {row['id']} {error}") from error
    return samples, rate


def _path(index: SegmentIndex, i: int) -> str:
    """Return the location of segment `i`, kept for the other segments of its shard."""
    paths, shard = _paths.setdefault(index, {}), index.columns["shard"].item(i)
    path = paths.get(shard)
    if path is None:
        if len(paths) >= PATHS:
            paths.clear()
        path = paths[shard] = index.location(i)
    return path


def _bytes_at(path: str, offset: int, size: int) -> bytes:
    """Return a table cell, a byte range, or a whole file where the size is unknown."""
    if embedded.MARK in path:
        return embedded.read(path, offset)
    if offset and not size:
        raise CorruptAudio("has no audio in its shard")
    data = files.read_range(path, offset, size) if size else files.read_bytes(path)
    if len(data) < size:
        raise CorruptAudio(_cut_off(len(data), size))
    return data


def _cut_off(there: int, size: int) -> str:
    return f"is cut off: {there} of its {size} bytes are there"


def _part(path: str, place: tuple[int, int, int], duration: float, rate: int) -> tuple[Samples, int]:
    """Decode `duration` seconds at (offset, size, start); a file of its own is read no further than that.

    Durations are rounded: a file that is longer by less than the tolerance comes back whole.
    """
    offset, size, start = place
    num_samples = round(duration * rate) if 0 < duration < LONGEST else 0
    slack = 0 if start else round(LENGTH_TOLERANCE * rate)
    most = num_samples + slack + 1 if num_samples else None
    if offset or embedded.MARK in path:
        samples, found = decode(_bytes_at(path, offset, size), start, most)
    else:
        with files.open_binary(path) as file:
            samples, found = decode(file, start, most)
    return (samples[:num_samples] if len(samples) == most else samples), found


def _decoded(index: SegmentIndex, i: int, data: bytes, sampling_rate: int | None, speed: float) -> Samples:
    try:
        samples, rate = decode(data)
    except CorruptAudio as error:
        raise _corrupt(index, i, error) from error
    return _checked(index, i, samples, rate, sampling_rate, speed)


def _checked(
    index: SegmentIndex, i: int, samples: Samples, rate: int, sampling_rate: int | None, speed: float
) -> Samples:
    """Return the samples as wanted, if they are as long as the index says."""
    duration, declared = len(samples) / rate, index.durations.item(i)
    if not abs(duration - declared) <= LENGTH_TOLERANCE:
        raise _corrupt(index, i, f"lasts {duration:.3f} s, the index says {declared:.3f} s")
    return resample(samples, rate, sampling_rate, speed)


def _rate(index: SegmentIndex, i: int) -> int:
    return int(index.info["names"]["sampling_rate"][index.columns["sampling_rate"][i]])


def _corrupt(index: SegmentIndex, i: int, what: object) -> CorruptAudio:
    """Return the error that says what is wrong with segment `i`, and where it is."""
    shard, offset = index.name("shard", i), int(index.columns["offset"][i])
    unit = "row" if embedded.MARK in shard else "byte"
    return CorruptAudio(f"{shard}: segment {index.string('id', i)} at {unit} {offset} {what}")


def _unread(index: SegmentIndex, i: int, error: OSError) -> OSError:
    """Return the same error with the segment in its sentence."""
    place = f"segment {index.string('id', i)}, row {i} of {index.path}"
    if isinstance(error, FileNotFoundError) and is_metadata_only(index.location(i)):
        return FileNotFoundError(
            f"{index.location(i).rpartition('/')[0]} holds metadata only (maya-data synth --no-audio), "
            f"so segment {index.string('id', i)} has no audio to read"
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(
            f"shard {index.location(i)} is gone ({place}); open the index with the root where it is now"
        )
    return files.UnreadableFile(f"{error} ({place})")


def _attempt(
    index: SegmentIndex, i: int, data: bytes | CorruptAudio | None, sampling_rate: int | None, speed: float
) -> Samples | CorruptAudio:
    """Return the decoded segment or its error; `data` of None has not been read yet."""
    if isinstance(data, CorruptAudio):
        return data
    try:
        if data is None:
            return read_audio(index, i, sampling_rate, speed)
        return _decoded(index, i, data, sampling_rate, speed)
    except CorruptAudio as error:
        return error


def _read_runs(index: SegmentIndex, runs: list[list[int]]) -> Iterator[list[bytes | CorruptAudio | None]]:
    """Yield the encoded segments of every run; remote ones are read side by side."""
    if not any(files.is_uri(root) for root in index.roots):
        yield from (_read_run(index, run) for run in runs)
        return
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        yield from pool.map(lambda run: _read_run(index, run), runs)


def _read_run(index: SegmentIndex, run: list[int]) -> list[bytes | CorruptAudio | None]:
    """Return the encoded segments of a run, None where one is better read alone."""
    path, sizes = _path(index, run[0]), [index.columns["size"].item(i) for i in run]
    if embedded.MARK in path or "start" in index.columns or not all(sizes):
        return [None] * len(run)
    offsets = [index.columns["offset"].item(i) for i in run]
    first, end = offsets[0], max(map(sum, zip(offsets, sizes, strict=True)))
    try:
        data = files.read_range(path, first, end - first)
    except OSError as error:
        raise _unread(index, run[0], error) from error
    pieces = [
        data[offset - first : offset - first + size] for offset, size in zip(offsets, sizes, strict=True)
    ]
    return [
        piece if len(piece) == size else _corrupt(index, i, _cut_off(len(piece), size))
        for i, piece, size in zip(run, pieces, sizes, strict=True)
    ]
