"""Transcripts that another index holds too: an evaluation set whose sentences stand in the training data."""

from dataclasses import dataclass, field

import numpy as np

from maya_data.audit.spoken import Keys
from maya_data.audit.transcripts import Transcripts, read_spoken
from maya_data.indexing.segments import SegmentIndex

LONG = 4
"""Words from which on the same text in two sets is hardly chance."""
EXAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What an index shares with another one; case, punctuation and white space do not count."""

    index: str
    """Folder of the other index."""
    fingerprint: str
    texts: int
    """Different texts that both have."""
    segments: int
    """Segments of this index with such a text."""
    hours: float
    """Hours of those."""
    long_segments: int
    """Those of four words or more: shorter texts meet by chance."""
    other_segments: int
    """Segments of the other index whose text this one has."""
    other_share: float
    """Part of the other index's segments that these are."""
    langs: dict[str, int] = field(default_factory=dict)
    """Language -> segments of this index."""
    examples: list[dict[str, str]] = field(default_factory=list)
    """Some of the shared texts, the longest of the first ones: `id` and `text` of this index."""


def overlap(index: SegmentIndex, read: Transcripts, other: SegmentIndex) -> Overlap:
    """Return what `index` shares with `other`, from what a pass over its transcripts found."""
    ours, theirs = read.spoken, read_spoken(other)
    shared = _contained(ours.keys, np.unique(theirs.keys[theirs.words > 0])) & (ours.words > 0)
    rows = np.flatnonzero(shared)
    texts = np.unique(ours.keys[rows])
    met = _contained(theirs.keys, texts) & (theirs.words > 0)
    langs = np.bincount(np.asarray(index.lang_ids[rows]), minlength=len(index.langs))
    longest = rows[np.argsort(-ours.words[rows].astype(np.int16), kind="stable")[:EXAMPLES]]
    return Overlap(
        index=str(other.path),
        fingerprint=other.fingerprint,
        texts=len(texts),
        segments=len(rows),
        hours=float(np.asarray(index.durations[rows]).clip(0).sum(dtype=np.float64) / 3600),
        long_segments=int((ours.words[rows] >= LONG).sum()),
        other_segments=int(met.sum()),
        other_share=float(met.sum() / max(len(other), 1)),
        langs={lang: int(n) for lang, n in zip(index.langs, langs, strict=True) if n},
        examples=[
            {"id": index.string("id", row), "text": index.string("text", row)} for row in longest.tolist()
        ],
    )


def _contained(keys: Keys, among: Keys) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which keys (N,) stand among sorted ones."""
    if not len(among):
        return np.zeros(len(keys), np.bool_)
    place = np.minimum(np.searchsorted(among, keys), len(among) - 1)
    return np.asarray(among[place] == keys, np.bool_)
