"""The segment index: one row a segment, memory-mapped, and what a reader of it may ask.

Numbers are columns of at most 30 bytes a segment, id and text one Arrow file. `maya_data.index` writes it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SCHEMA_VERSION = 1
EMPTY_TEXT = 1
"""Bit of `flags`: the transcript is empty, so the plan leaves the segment out."""
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
)

Column = npt.NDArray[Any]


@dataclass(frozen=True)
class Segment:
    """One utterance: where its bytes are and what is known of it."""

    id: str
    shard: str
    offset: int
    size: int
    duration: float
    num_samples: int
    sampling_rate: int
    text: str
    lang: str
    corpus: str
    speaker: str
    domain: str
    flags: int


class SegmentIndex:
    """A finished index; opening it reads one small file, whatever its size."""

    def __init__(self, path: Path, root: Path | None = None):
        """Open the index in `path`; `root` overrules where the shards were when it was built."""
        self.path = path
        self.info: dict[str, Any] = _read_info(path)
        self.root = Path(root or self.info["root"])
        self.langs: list[str] = self.info["names"]["lang"]
        self.fingerprint: str = self.info["fingerprint"]
        self.text_profile: str = self.info["text"]
        self.columns: dict[str, Column] = {
            name: np.load(path / f"{name}.npy", mmap_mode="r" if len(self) else None) for name in COLUMNS
        }

    @classmethod
    def open(cls, path: str | Path, root: str | Path | None = None) -> "SegmentIndex":
        """Open the index in the folder `path`."""
        return cls(Path(path), Path(root) if root else None)

    def __reduce__(self) -> tuple[Any, ...]:
        return SegmentIndex, (self.path, self.root)

    def __len__(self) -> int:
        return int(self.info["segments"])

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
        """Hours of all segments."""
        return float(self.info["hours"])

    @cached_property
    def _strings(self) -> pa.Table:
        return pa.ipc.open_file(pa.memory_map(str(self.path / "strings.arrow"))).read_all()

    @cached_property
    def _chunks(self) -> tuple[Column, list[pa.Array], list[pa.Array]]:
        """Return the first row of every chunk, the chunks of the ids and those of the texts."""
        ids, texts = self._strings["id"].chunks, self._strings["text"].chunks
        return np.cumsum([0, *map(len, ids)])[:-1], ids, texts

    def string(self, column: str, i: int) -> str:
        """Return `id` or `text` of segment `i`."""
        starts, ids, texts = self._chunks
        chunk = int(np.searchsorted(starts, i, side="right")) - 1
        return str((ids if column == "id" else texts)[chunk][i - int(starts[chunk])].as_py())

    def name(self, column: str, i: int) -> str:
        """Return `lang`, `corpus`, `speaker`, `domain` or `shard` of segment `i`."""
        return str(self.info["names"][column][self.columns[column][i]])

    def row(self, i: int) -> Segment:
        """Return segment `i`."""
        i = int(i)
        rate = int(self.info["names"]["sampling_rate"][self.columns["sampling_rate"][i]])
        duration = float(self.durations[i])
        return Segment(
            id=self.string("id", i),
            shard=self.name("shard", i),
            offset=int(self.columns["offset"][i]),
            size=int(self.columns["size"][i]),
            duration=duration,
            num_samples=round(duration * rate),
            sampling_rate=rate,
            text=self.string("text", i),
            lang=self.name("lang", i),
            corpus=self.name("corpus", i),
            speaker=self.name("speaker", i),
            domain=self.name("domain", i),
            flags=int(self.columns["flags"][i]),
        )

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield `(text, lang)` of every segment, in order."""
        start = 0
        for chunk in self._strings["text"].chunks:
            langs = np.asarray(self.lang_ids[start : start + len(chunk)]).tolist()
            yield from zip(chunk.to_pylist(), (self.langs[lang] for lang in langs), strict=True)
            start += len(chunk)

    def to_cuts(self) -> Any:
        """Return a lazy lhotse CutSet; each cut carries its encoded bytes when it is reached."""
        from maya_data.cuts import lazy_cuts

        return lazy_cuts(self)


def _read_info(path: Path) -> dict[str, Any]:
    file = path / "index.json"
    if not file.is_file():
        raise ValueError(
            f"{path} is no segment index (it has no index.json); make one with `maya-data index`"
        )
    info: dict[str, Any] = json.loads(file.read_text("utf-8"))
    if info["schema"] != SCHEMA_VERSION:
        raise ValueError(f"{path} has index schema {info['schema']}, this version reads {SCHEMA_VERSION}")
    return info
