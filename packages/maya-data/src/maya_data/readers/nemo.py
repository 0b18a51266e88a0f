"""Reader of NeMo manifests: JSON lines with `audio_filepath`, `duration`, `text` and perhaps `offset`."""

import posixpath
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from maya_data.audio import files
from maya_data.readers import ShardRows
from maya_data.readers.expand import resolve_paths
from maya_data.readers.header import file_info
from maya_data.readers.languages import lang_in_path
from maya_data.readers.left_out import LeftOut
from maya_data.readers.lines import Lines, file_of, pieces
from maya_data.readers.nemo_lines import Entry, entries
from maya_data.readers.reading import Reading, known_root, of_langs, patterns_of, stamp, under
from maya_data.readers.rows import Rows
from maya_data.text import profile

MANIFEST = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
RECORDINGS = 4096
"""Headers that are kept: many lines may be of one recording."""


@dataclass(kw_only=True)
class Nemo(Reading):
    """Manifests of audio files."""

    name: str = "nemo"
    """Name of this reader."""
    root: str | None = None
    """Folder or URI of the manifests, or one manifest; audio paths are relative to their manifest."""
    manifests: Any = "**/*manifest*.json*"
    """Paths or globs of the manifests; `{0..N}` and `_OP_0..N_CL_` are expanded."""
    lang: str | None = None
    """Language of all rows; null: the line's, else what a folder's name says."""
    langs: list[str] | None = None
    """Languages to read; null reads every one that is there."""
    corpus: str = ""
    """Corpus of all rows; empty: the line's."""
    text_field: str = "text"
    """Name of the transcript in a line."""
    lang_field: str = "lang"
    """Name of the language in a line; `language`, `source_lang` and `target_lang` are known as well."""
    text: str = "asr-v1"
    """Text profile that loader and tokenizer take for this source; the index keeps the raw text."""

    def __post_init__(self) -> None:
        """Refuse an unknown text profile; take a root that is a manifest as its folder and that manifest."""
        profile(self.text)
        if self.root is not None and self.root.endswith(MANIFEST):
            folder, self.manifests = posixpath.split(self.root)
            self.root = folder or "."

    def shards(self) -> list[str]:
        """Return the manifests, long ones in pieces."""
        root = known_root(self.root)
        shards = pieces(root, resolve_paths(root, patterns_of(self.manifests, "manifests")))
        return of_langs(shards, None if self.lang else self.langs, lang_in_path, root)

    def signature(self, shard: str) -> str:
        """Return the settings and the stamp of the manifest: while they stay, it need not be read again."""
        return stamp(known_root(self.root), [file_of(shard)], self.settings())

    def read(self, shard: str, extras: bool = False) -> ShardRows:
        """Return the rows of one manifest, or of a piece of it."""
        _recording.cache_clear()  # Files may have changed since the last shard was read.
        left_out = LeftOut()
        rows, root = Rows(left_out), known_root(self.root)
        for entry in entries(Lines(root, shard, left_out), self.text_field, self.lang_field):
            path = under(root, posixpath.dirname(file_of(shard)), entry.audio)
            row = entry.row(self.lang, self.corpus)
            row["lang"] = row["lang"] or lang_in_path(path)
            if self.langs is None or row["lang"] in self.langs:
                _add(rows, root, path, entry, row, extras)
        return rows.finish(shard, whole=file_of(shard) == shard)


def _add(rows: Rows, root: str, path: str, entry: Entry, row: dict[str, object], extras: bool) -> None:
    try:
        size, rate, samples = _recording(files.join(root, path))
    except FileNotFoundError:
        rows.left_out.add("no audio for the line", f"{entry.place()}: {entry.audio}")
        return
    place = {"id": entry.name(path), "shard": path, "size": size}
    rows.add(row | place | entry.lengths(rate, samples), entry.place, entry.extras if extras else None)


@lru_cache(RECORDINGS)
def _recording(path: str) -> tuple[int, int, int]:
    return files.size_of(path), *file_info(path)
