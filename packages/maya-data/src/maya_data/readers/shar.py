"""Reader of Lhotse Shar: `cuts.<n>.jsonl.gz` beside `recording.<n>.tar`, whose members are read in place."""

import posixpath
import re
from dataclasses import dataclass
from typing import Any

from maya_data.audio import files
from maya_data.readers import ShardRows
from maya_data.readers.audio_files import without_suffix
from maya_data.readers.header import part_info
from maya_data.readers.languages import lang_in_path
from maya_data.readers.left_out import LeftOut
from maya_data.readers.lhotse_cuts import cuts_of, said
from maya_data.readers.lines import Lines
from maya_data.readers.reading import Reading, found, known_root, of_langs, open_shard, stamp
from maya_data.readers.rows import Rows
from maya_data.readers.tar import walk
from maya_data.text import profile

CUTS = re.compile(r"cuts\.(\d+)\.jsonl(\.gz)?")
NO_SOUND = (".json", ".nodata", ".nometa")
"""Members that describe a recording, or stand for one that is absent."""


@dataclass(kw_only=True)
class Shar(Reading):
    """Folders of Shar shards with recordings."""

    name: str = "shar"
    """Name of this reader."""
    root: str | None = None
    """Folder or URI of the shards, or of folders of them."""
    cuts: Any = "**/cuts.*.jsonl*"
    """Globs of the cut manifests."""
    field: str = "recording"
    """Name of the tars that hold the sound: recording, or that of a custom field."""
    lang: str | None = None
    """Language of all rows; null: that of the supervision, else what a folder's name says."""
    langs: list[str] | None = None
    """Languages to read; null reads every one that is there."""
    corpus: str = ""
    """Corpus of all rows; empty: none."""
    text: str = "asr-v1"
    """Text profile that loader and tokenizer take for this source; the index keeps the raw text."""

    def __post_init__(self) -> None:
        """Refuse an unknown text profile."""
        profile(self.text)

    def shards(self) -> list[str]:
        """Return the cut manifests."""
        names = found(self.root, self.cuts, "cuts")
        shards = [name for name in names if CUTS.fullmatch(posixpath.basename(name))]
        return of_langs(shards, None if self.lang else self.langs, lang_in_path, self.root)

    def signature(self, shard: str) -> str:
        """Return the settings and the stamps of manifest and tar."""
        return stamp(known_root(self.root), [shard, self._tar(shard)], self.settings())

    def read(self, shard: str, extras: bool = False) -> ShardRows:
        """Return the rows of one shard, in the order of its manifest."""
        root, left_out, tar = known_root(self.root), LeftOut(), self._tar(shard)
        rows = Rows(left_out)
        with open_shard(root, tar) as file:
            sounds = {
                member.name.rpartition(".")[0] or member.name: member
                for member in walk(file)
                if not member.name.endswith(NO_SOUND)
            }
            for place, cut in cuts_of(Lines(root, shard, left_out)):
                member = sounds.get(cut.id) or sounds.get(without_suffix(cut.id))
                if member is None:
                    left_out.add(f"no audio in {tar}", f"{place()}: {cut.id}")
                    continue
                row = said(cut) | {"shard": tar, "offset": member.offset, "size": member.size}
                rate, _ = part_info(file, member.offset, member.size)
                row |= {"sampling_rate": rate or row["sampling_rate"], "corpus": self.corpus}
                row["lang"] = self.lang or row["lang"] or lang_in_path(shard)
                if self.langs is None or row["lang"] in self.langs:
                    rows.add(row, place, {} if extras else None)
        return rows.finish(files.join(root, shard))

    def _tar(self, shard: str) -> str:
        folder, name = posixpath.split(shard)
        match = CUTS.fullmatch(name)
        return posixpath.join(folder, f"{self.field}.{match[1] if match else ''}.tar")
