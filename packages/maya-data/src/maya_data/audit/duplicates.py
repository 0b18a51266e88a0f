"""Texts and ids that an index holds more than once."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from maya_data.audit.spoken import Keys
from maya_data.audit.transcripts import Transcripts, string_chunks
from maya_data.indexing.segments import SegmentIndex

MOST = 10
PASS = 1 << 23
"""Hashes that are sorted at a time."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How much of an index says what another segment of it says already; empty texts are left out."""

    texts: int = 0
    """Different texts."""
    repeated_texts: int = 0
    """Texts of two segments or more."""
    segments: int = 0
    """Segments beyond the first of each text."""
    hours: float = 0.0
    """Hours of those."""
    most: list[dict[str, Any]] = field(default_factory=list)
    """The texts that occur most often: `text`, `lang`, `segments`."""
    ids: int = 0
    """Rows whose id an earlier row has already."""
    id_examples: list[str] = field(default_factory=list)
    """Some of those ids."""


def repeats(index: SegmentIndex, read: Transcripts) -> Repeats:
    """Return what `index` holds more than once, from what a pass over its transcripts found."""
    keys, said = read.spoken.keys, read.spoken.words > 0
    found, counts = repeated(keys[said])
    rows = np.flatnonzero(np.isin(keys, found) & said)
    first = np.zeros(len(rows), bool)
    first[np.unique(keys[rows], return_index=True)[1]] = True
    most = np.argsort(-counts, kind="stable")[:MOST]
    twice = [index.string("id", row) for row, _ in repeated_ids(index)]
    return Repeats(
        texts=int(said.sum() - (~first).sum()),
        repeated_texts=len(found),
        segments=int((~first).sum()),
        hours=float(np.asarray(index.durations)[rows[~first]].clip(0).sum(dtype=np.float64) / 3600),
        most=[_sample(index, keys, found[number], counts[number]) for number in most],
        ids=len(twice),
        id_examples=sorted(set(twice))[:MOST],
    )


def repeated_ids(index: SegmentIndex) -> list[tuple[int, int]]:
    """Return the rows whose id stands in an earlier row, in order, and the first such row of each."""
    keys = np.zeros(len(index), np.uint64)
    for start, ids in string_chunks(index, "id"):
        keys[start : start + len(ids)] = hashed(ids)
    suspects = np.flatnonzero(np.isin(keys, repeated(keys)[0]))
    met: dict[str, int] = {}
    named = ((row, index.string("id", row)) for row in suspects.tolist())
    return [(row, met[name]) for row, name in named if met.setdefault(name, row) != row]


def hashed(names: pa.Array) -> Keys:
    """Return a key (N,) of each name; it holds within this process only."""
    return np.fromiter(map(hash, names.to_pylist()), np.int64, len(names)).view(np.uint64)


def repeated(keys: Keys) -> tuple[Keys, npt.NDArray[np.int64]]:
    """Return the keys that occur more than once, and how often each does; few are sorted at a time."""
    found = list(_repeated_in_parts(keys, -(-len(keys) // PASS)))
    if not found:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    names, counts = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return names, counts


def _repeated_in_parts(keys: Keys, parts: int) -> Iterator[tuple[Keys, npt.NDArray[np.int64]]]:
    for part in range(parts):
        mine = keys[keys % np.uint64(parts) == part] if parts > 1 else keys
        values, counts = np.unique(mine, return_counts=True)
        yield values[counts > 1], counts[counts > 1].astype(np.int64)


def _sample(index: SegmentIndex, keys: Keys, key: np.uint64, count: np.int64) -> dict[str, Any]:
    row = int(np.argmax(keys == key))
    return {"text": index.string("text", row), "lang": index.name("lang", row), "segments": int(count)}
