"""Reader of Common Voice: `<locale>/<split>.tsv` beside `<locale>/clips/`; quotes mean nothing."""

import posixpath
from dataclasses import dataclass
from functools import lru_cache

from maya_data.audio import files
from maya_data.readers import ShardRows
from maya_data.readers.folder import Folder
from maya_data.readers.left_out import LeftOut
from maya_data.readers.lines import Lines, file_of
from maya_data.readers.reading import Reading, found, known_root, stamp
from maya_data.text import profile

DURATIONS = "clip_durations.tsv"
"""Clip, tab, milliseconds; with a header. Newer releases have it."""


@dataclass(kw_only=True)
class CommonVoice(Reading):
    """Clips with a table of sentences a split; the root holds the tables or the folders of the locales."""

    name: str = "common_voice"
    """Name of this reader."""
    root: str | None = None
    """Folder or URI of one locale, or of all of them."""
    split: str = "train"
    """Which table: train, dev, test, validated, other, invalidated."""
    lang: str | None = None
    """Language of all rows; null: the column `locale`, else the folder's name."""
    langs: list[str] | None = None
    """Languages to read; null reads every one that is there."""
    corpus: str = "common_voice"
    """Corpus of all rows."""
    sampling_rate: int | None = None
    """Hz of all clips, so that none is opened where `clip_durations.tsv` is there; null: look at each."""
    text: str = "asr-v1"
    """Text profile that loader and tokenizer take for this source; the index keeps the raw text."""

    def __post_init__(self) -> None:
        """Refuse a split that is a path, and an unknown profile."""
        profile(self.text)
        if not self.split or "/" in self.split:
            raise ValueError(f"`split` is the name of a table such as train, got {self.split!r}")

    def shards(self) -> list[str]:
        """Return the tables of the split, long ones in pieces."""
        return self._folder().shards()

    def signature(self, shard: str) -> str:
        """Return the settings and the stamps of the table and of the durations."""
        root, durations = known_root(self.root), _beside(shard)
        there = [durations] if files.exists(files.join(root, durations)) else []
        return stamp(root, [file_of(shard), *there], self.settings())

    def read(self, shard: str, extras: bool = False) -> ShardRows:
        """Return the rows of one table, or of a piece of it."""
        root, name = known_root(self.root), _beside(shard)
        there = files.exists(files.join(root, name))
        durations = _durations(root, name, files.stamp(files.join(root, name))) if there else {}
        return self._folder().read(shard, extras, durations)

    def _folder(self) -> Folder:
        pattern = f"{self.split}.tsv"
        root = known_root(self.root)
        here = files.exists(files.join(root, pattern))
        transcripts = pattern if here else f"**/{pattern}"
        found(root, transcripts, "split")
        return Folder(
            root=root,
            transcripts=transcripts,
            header=True,
            columns={"id": "path", "text": "sentence", "speaker": "client_id"},
            audio="clips/{id}",
            lang=self.lang,
            langs=self.langs,
            corpus=self.corpus,
            sampling_rate=self.sampling_rate,
        )


def _beside(shard: str) -> str:
    return posixpath.join(posixpath.dirname(file_of(shard)), DURATIONS)


@lru_cache(2)
def _durations(root: str, name: str, _stamp: str) -> dict[str, float]:
    """Return clip -> seconds of a table; another stamp is another table."""
    columns = (text.split("\t") for _, text in Lines(root, name, LeftOut()))
    return {row[0]: int(row[1]) / 1000 for row in columns if len(row) == 2 and row[1].isdigit()}
