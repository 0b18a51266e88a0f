"""One pass over the transcripts of an index: their characters, and a key of what each says."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from maya_data.audit.characters import characters
from maya_data.audit.charset import CharsetCounter, CharsetRow
from maya_data.audit.spoken import Spoken, spoken
from maya_data.indexing.segments import SegmentIndex
from maya_data.indexing.strings import Strings

CHUNK = 1 << 14
"""Rows that are held in memory at a time."""


class Transcripts(NamedTuple):
    """What one pass over N transcripts found."""

    charset: list[CharsetRow]
    spoken: Spoken
    """What each text says (N,)."""


def read_transcripts(
    index: SegmentIndex, progress: Callable[[int, int, str], None] | None = None
) -> Transcripts:
    """Audit and hash all transcripts of `index`; `progress` gets rows done, rows in all, and what is done."""
    counter = CharsetCounter(index.langs)
    said = _nothing(len(index))
    for start, texts in string_chunks(index, "text"):
        rows = slice(start, start + len(texts))
        composed = pc.utf8_normalize(texts, "NFC")
        changed = pc.not_equal(texts, composed).to_numpy(zero_copy_only=False).astype(bool)
        chars = characters(texts)
        langs, flags = np.asarray(index.lang_ids[rows], np.int64), np.asarray(index.columns["flags"][rows])
        counter.add(start, chars, langs, flags, changed)
        said.keys[rows], said.words[rows] = spoken(characters(composed) if changed.any() else chars)
        if progress:
            progress(rows.stop, len(index), "transcripts")
    ids = {row: index.string("id", row) for row in counter.example_rows()}
    return Transcripts(counter.rows(ids), said)


def read_spoken(index: SegmentIndex) -> Spoken:
    """Return only what each transcript of `index` says (N,)."""
    said = _nothing(len(index))
    for start, texts in string_chunks(index, "text"):
        rows = slice(start, start + len(texts))
        said.keys[rows], said.words[rows] = spoken(characters(pc.utf8_normalize(texts, "NFC")))
    return said


def _nothing(segments: int) -> Spoken:
    return Spoken(np.zeros(segments, np.uint64), np.zeros(segments, np.uint8))


def string_chunks(index: SegmentIndex, column: str) -> Iterator[tuple[int, pa.Array]]:
    """Yield (first row, strings) of the column `id` or `text`, in order and never many at a time."""
    strings = Strings(index.path / "strings.arrow", column)
    for start, chunk in zip(strings.starts.tolist(), strings.chunks, strict=False):
        for first in range(0, len(chunk), CHUNK):
            yield start + first, chunk.slice(first, CHUNK)
