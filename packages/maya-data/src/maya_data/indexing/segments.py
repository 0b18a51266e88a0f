"""The segment index: one row a segment, memory-mapped, and what a reader of it may ask.

Numbers are columns of under 30 bytes a segment; id, text and the many names of shards and speakers are Arrow
files. `maya_data.indexing.build` writes it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from maya_data.audio.files import join
from maya_data.indexing.flags import (
    BAD_DURATION,
    EMPTY_TEXT,
    UNKNOWN_LANG,
    UNTRAINABLE,
    WRONG_SCRIPT,
    trainable,
)
from maya_data.indexing.index_files import SCHEMA_VERSION, Column, Roots, find_roots, load_column, read_info
from maya_data.indexing.strings import ROWS_A_BATCH, Strings

__all__ = [
    "BAD_DURATION",
    "COLUMNS",
    "EMPTY_TEXT",
    "SCHEMA_VERSION",
    "UNKNOWN_LANG",
    "UNTRAINABLE",
    "WRONG_SCRIPT",
    "Column",
    "Segment",
    "SegmentIndex",
    "UnknownSegment",
    "open_index",
    "trainable",
]

COLUMNS = (
    "shard",
    "offset",
    "size",
    "duration",
    "sampling_rate",
    "lang",
    "corpus",
    "speaker",
    "domain",
    "flags",
    "chars",
)
"""Files `<name>.npy` of every index; `start.npy` is another where a segment begins inside its audio file."""
SMALL_NAMES = ("sampling_rate", "lang", "corpus", "domain")
"""Columns of numbers whose names stand in index.json."""
MANY_NAMES = ("shard", "speaker")
"""Columns of numbers whose names have a file of their own."""


class UnknownSegment(KeyError):
    """No segment has that id."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Segment:
    """One utterance: where its bytes are and what is known of it."""

    id: str
    shard: str
    """Audio file, tar, or `file.parquet#column`, relative to the root of its source."""
    offset: int
    """First byte of the tar's member; row of the parquet file; 0 for a file of its own."""
    size: int
    """Encoded bytes; 0 where unknown."""
    duration: float
    """Seconds, as the source says."""
    num_samples: int
    """Samples that this makes at the sampling rate."""
    sampling_rate: int
    text: str
    """As the source wrote it."""
    lang: str
    corpus: str
    speaker: str
    domain: str
    flags: int
    """Bits of `maya_data.indexing.flags`."""
    start: int = 0
    """First sample inside the decoded audio."""


def open_index(path: str | Path, root: Roots | None = None) -> "SegmentIndex":
    """Open the index in the folder `path`.

    Args:
        path: Folder made by `maya-data index`.
        root: Where the audio is now, if not where it was: a folder or URI for an index of one source, a
            mapping of source names for one of several.

    Raises:
        ValueError: `path` holds no index, one of another schema or a damaged one, or `root` does not fit it.
    """
    return SegmentIndex(Path(path), root)


class SegmentIndex:
    """A finished index; opening it reads one small file, whatever its size."""

    def __init__(self, path: Path, root: Roots | None = None):
        """Open the index in `path`; `root` overrules where the audio was when it was built."""
        self.path = path
        self.info: dict[str, Any] = read_info(path)
        self.sources: list[dict[str, Any]] = self.info["sources"]
        self.roots: list[str] = find_roots(self.info, path, root)
        self.langs: list[str] = self.info["names"]["lang"]
        self.fingerprint: str = self.info["fingerprint"]
        self.text_profile: str = self.info["text"]
        self.columns: dict[str, Column] = {
            name: load_column(path, name, len(self)) for name in (*COLUMNS, *self.info.get("optional", ()))
        }
        self._first_shards = np.array([source["first_shard"] for source in self.sources])

    @classmethod
    def open(cls, path: str | Path, root: Roots | None = None) -> "SegmentIndex":
        """Open the index in the folder `path`; see `open_index`."""
        return cls(Path(path), root)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.roots, self.fingerprint)

    def __len__(self) -> int:
        return int(self.info["segments"])

    @property
    def root(self) -> Path:
        """Folder of the audio of an index with one local source."""
        return Path(self.roots[0])

    @property
    def durations(self) -> Column:
        """Seconds of every segment, float32 (N,)."""
        return self.columns["duration"]

    @property
    def lang_ids(self) -> Column:
        """Position in `langs` of every segment's language (N,)."""
        return self.columns["lang"]

    @property
    def hours(self) -> float:
        """Hours of all segments whose duration can be true."""
        return float(self.info["hours"])

    @cached_property
    def _strings(self) -> dict[str, Strings]:
        files = dict.fromkeys(("id", "text"), "strings") | {name: name for name in MANY_NAMES}
        strings = {name: Strings(self.path / f"{file}.arrow", name) for name, file in files.items()}
        for column in strings.values():
            column.open()
        _same(self.path, self.fingerprint)  # a build in the meantime has replaced the files
        return strings

    def names(self, column: str) -> Sequence[Any]:
        """Return what the numbers of `column` stand for; the names of shards and speakers stay on disk."""
        return self._strings[column] if column in MANY_NAMES else self.info["names"][column]

    def name(self, column: str, i: int) -> str:
        """Return `lang`, `corpus`, `speaker`, `domain` or `shard` of segment `i`."""
        return str(self.names(column)[int(self.columns[column][i])])

    def string(self, column: str, i: int) -> str:
        """Return `id` or `text` of segment `i`."""
        return self._strings[column][i]

    def strings(self, column: str, start: int, stop: int) -> list[str]:
        """Return `id` or `text` of the segments from `start` up to `stop`."""
        return self._strings[column][start:stop]

    def location(self, i: int) -> str:
        """Return the full path or URI of the audio of segment `i`: file, tar, or `file.parquet#column`."""
        return join(self.roots[self.source(i)], self.name("shard", i))

    def source(self, i: int) -> int:
        """Return the position in `sources` of the source of segment `i`."""
        return int(np.searchsorted(self._first_shards, int(self.columns["shard"][i]), side="right")) - 1

    def __getitem__(self, i: int) -> Segment:
        return self.row(i)

    def row(self, i: int) -> Segment:
        """Return segment `i`; negative numbers count from the end."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"segment {i} is outside the {len(self)} of {self.path}")
        i = int(i) % len(self)
        rate = int(self.info["names"]["sampling_rate"][self.columns["sampling_rate"][i]])
        duration = float(self.durations[i])
        return Segment(
            id=self.string("id", i),
            shard=self.name("shard", i),
            offset=int(self.columns["offset"][i]),
            size=int(self.columns["size"][i]),
            duration=duration,
            num_samples=max(round(duration * rate), 0),
            sampling_rate=rate,
            text=self.string("text", i),
            lang=self.name("lang", i),
            corpus=self.name("corpus", i),
            speaker=self.name("speaker", i),
            domain=self.name("domain", i),
            flags=int(self.columns["flags"][i]),
            start=int(self.columns["start"][i]) if "start" in self.columns else 0,
        )

    def texts(self, rows: Iterable[int] | None = None) -> Iterator[tuple[str, str]]:
        """Yield `(text, lang)` of every segment in order, or of the given rows."""
        if rows is not None:
            yield from ((self.string("text", i), self.name("lang", i)) for i in map(int, rows))
            return
        for start in range(0, len(self), ROWS_A_BATCH):
            langs = np.asarray(self.lang_ids[start : start + ROWS_A_BATCH]).tolist()
            texts = self.strings("text", start, start + ROWS_A_BATCH)
            yield from zip(texts, (self.langs[lang] for lang in langs), strict=True)

    def find(self, name: str) -> int:
        """Return the row of the first segment whose id is `name`.

        Raises:
            UnknownSegment: There is none; a KeyError.
        """
        if (row := self._strings["id"].find(name)) < 0:
            raise UnknownSegment(f"no segment of {self.path} has the id {name!r}")
        return row

    def token_counts(self, tokenizer: str) -> Column | None:
        """Return the tokens of every text (N,) by the model with this hash, or None if not counted."""
        from maya_data.indexing.tokens import token_counts

        return token_counts(self, tokenizer)

    def to_cuts(self) -> Any:
        """Return a lazy lhotse CutSet; each cut carries its encoded bytes when it is reached."""
        from maya_data.export.cuts import lazy_cuts

        return lazy_cuts(self)


def _reopen(path: Path, roots: list[str], fingerprint: str) -> SegmentIndex:
    """Open an index in another process, where it must be the same."""
    _same(path, fingerprint)
    index = SegmentIndex(path)
    index.roots = roots
    return index


def _same(path: Path, fingerprint: str) -> None:
    if read_info(path)["fingerprint"] != fingerprint:
        raise ValueError(f"the index {path} has changed since it was opened; start the run again")
