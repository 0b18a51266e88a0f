"""Transcripts sampled evenly over the languages of an index, the same ones every time."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from maya_data.indexing.flags import WRONG_SCRIPT, trainable
from maya_data.indexing.segments import SegmentIndex
from maya_data.planning.permutation import hash64, key

CHUNK = 1 << 20
SPARE = 1.05
"""So many more candidates are taken than wanted, since their number varies with chance."""

Rows = npt.NDArray[np.int64]


def sample_texts(
    index: SegmentIndex, per_lang: int, *, seed: int = 0, max_repeats: float = 1.0
) -> Iterator[tuple[str, str]]:
    """Yield `(text, lang)` of at most `per_lang` segments a language, in the order of the index.

    Segments that cannot be trained on or are in a wrong script are left out.

    Args:
        index: Where the transcripts are.
        per_lang: Most texts of a language, 1 or more.
        seed: Chooses which.
        max_repeats: Over 1, a language with fewer texts than the others is repeated up to so often.

    Raises:
        ValueError: A number is out of range.
    """
    if per_lang < 1 or max_repeats < 1:
        raise ValueError(f"`per_lang` and `max_repeats` must be 1 or more, got {per_lang} and {max_repeats}")
    chosen = _choose(index, per_lang, seed)
    yield from index.texts(np.sort(np.concatenate([np.zeros(0, np.int64), *chosen])))
    most = max((len(rows) for rows in chosen), default=0)
    for rows in chosen:
        missing = min(most, int(len(rows) * max_repeats)) - len(rows)
        if missing > 0:
            yield from index.texts(np.resize(rows, missing))


def _choose(index: SegmentIndex, per_lang: int, seed: int) -> list[Rows]:
    """Return the rows of each language whose hashes are smallest, in the order of the hashes."""
    counts = np.zeros(len(index.langs), np.int64)
    for _, _, langs in _usable(index):
        counts += np.bincount(langs, minlength=len(counts))
    limit = np.minimum((per_lang * SPARE + 100) / np.maximum(counts, 1), 1.0)
    found: list[list[tuple[Rows, npt.NDArray[np.uint64]]]] = [[] for _ in index.langs]
    for start, rows, langs in _usable(index):
        hashes = hash64(key(seed) ^ (rows + start).astype(np.uint64))
        near = hashes.astype(np.float64) / 2.0**64 <= limit[langs]
        for lang in np.unique(langs[near]).tolist():
            mine = near & (langs == lang)
            found[lang].append((rows[mine] + start, hashes[mine]))
    return [_smallest(each, per_lang) for each in found]


def _smallest(found: list[tuple[Rows, npt.NDArray[np.uint64]]], number: int) -> Rows:
    if not found:
        return np.zeros(0, np.int64)
    rows, hashes = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return rows[np.argsort(hashes, kind="stable")[:number]]


def _usable(index: SegmentIndex) -> Iterator[tuple[int, Rows, Rows]]:
    """Yield the first row of each chunk, which of its rows are usable, and their languages."""
    for start in range(0, len(index), CHUNK):
        flags = np.asarray(index.columns["flags"][start : start + CHUNK])
        rows = np.flatnonzero(trainable(flags) & ((flags & WRONG_SCRIPT) == 0))
        yield start, rows, np.asarray(index.lang_ids[start : start + CHUNK])[rows].astype(np.int64)
