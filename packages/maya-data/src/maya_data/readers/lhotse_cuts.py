"""Reader of lhotse cuts (JSON lines, packed or not): plain cuts of audio files, read in place."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from maya_data.audio import files
from maya_data.readers import ShardRows
from maya_data.readers.expand import resolve_paths
from maya_data.readers.languages import code_of, lang_in_path
from maya_data.readers.left_out import LeftOut
from maya_data.readers.lines import Lines, file_of, json_lines, pieces
from maya_data.readers.reading import Reading, known_root, of_langs, patterns_of, stamp, under
from maya_data.readers.rows import Rows
from maya_data.text import profile

IN_PLACE = ("file", "url")


@dataclass(kw_only=True)
class LhotseCuts(Reading):
    """Cut manifests whose cuts are parts of audio files."""

    name: str = "lhotse"
    """Name of this reader."""
    root: str | None = None
    """Folder or URI that manifests are relative to; audio paths are relative to it too."""
    cuts: Any = "**/*cuts*.jsonl*"
    """Paths or globs of the cut manifests."""
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
        """Return the manifests, long ones in pieces."""
        root = known_root(self.root)
        shards = pieces(root, resolve_paths(root, patterns_of(self.cuts, "cuts")))
        return of_langs(shards, None if self.lang else self.langs, lang_in_path, root)

    def signature(self, shard: str) -> str:
        """Return the settings and the stamp of the manifest: while they stay, it need not be read again."""
        return stamp(known_root(self.root), [file_of(shard)], self.settings())

    def read(self, shard: str, extras: bool = False) -> ShardRows:
        """Return the rows of one manifest, or of a piece of it."""
        root, left_out = known_root(self.root), LeftOut()
        rows = Rows(left_out)
        for place, cut in cuts_of(Lines(root, shard, left_out)):
            sources = cut.recording.sources
            if len(sources) != 1 or sources[0].type not in IN_PLACE:
                kind = "+".join(source.type for source in sources)
                left_out.add(f"the sound is no single file ({kind})", f"{place()}: {cut.id}")
                continue
            path = under(root, "", sources[0].source)
            try:
                where = {"shard": path, "size": files.size_of(files.join(root, path))}
            except FileNotFoundError:
                left_out.add("no audio for the cut", f"{place()}: {cut.id}")
                continue
            row = said(cut) | where
            row["lang"] = self.lang or row["lang"] or lang_in_path(posixpath.join("", path))
            if self.langs is None or row["lang"] in self.langs:
                rows.add(row | {"corpus": self.corpus}, place, _extras(cut) if extras else None)
        return rows.finish(shard, whole=file_of(shard) == shard)


def cuts_of(lines: Lines) -> Iterator[tuple[Any, Any]]:
    """Yield `(place, cut)` of the plain cuts of a manifest; others, and damaged lines, are counted."""
    from functools import partial

    from lhotse import MonoCut
    from lhotse.serialization import deserialize_item

    for number, values in json_lines(lines):
        try:
            cut = deserialize_item(values)
        except Exception as error:  # lhotse raises whatever a missing or odd field leads to.
            lines.damaged(number, f"it is no cut ({type(error).__name__}: {error})")
            continue
        place = partial(lines.place, number)
        if why := _why_not(cut, MonoCut):
            lines.left_out.add(why, f"{place()}: {getattr(cut, 'id', '')}")
        else:
            yield place, cut


def _why_not(cut: Any, plain: type) -> str:
    """Return why a cut cannot be read in place, or ''."""
    if not isinstance(cut, plain) or not cut.has_recording:  # type: ignore[attr-defined]
        return f"a {type(cut).__name__} without a recording of its own, which only lhotse can mix"
    if cut.recording.num_channels > 1:  # type: ignore[attr-defined]
        return "one channel of several, which would be mixed"
    if cut.recording.transforms:  # type: ignore[attr-defined]
        return "a recording with transforms, which only lhotse can apply"
    return ""


def said(cut: Any) -> dict[str, Any]:
    """Return the columns that a cut and its supervisions tell."""
    spoken = sorted(cut.supervisions, key=lambda item: item.start)
    speakers = dict.fromkeys(item.speaker for item in spoken if item.speaker)
    langs = dict.fromkeys(item.language for item in spoken if item.language)
    return {
        "id": cut.id,
        "text": " ".join(item.text for item in spoken if item.text),
        "lang": code_of(next(iter(langs), "")),
        "speaker": next(iter(speakers)) if len(speakers) == 1 else "",
        "start": round(cut.start * cut.recording.sampling_rate),
        "duration": float(cut.duration),
        "sampling_rate": cut.recording.sampling_rate,
    }


def _extras(cut: Any) -> dict[str, str]:
    return {
        key: value
        for item in cut.supervisions
        for key, value in (item.custom or {}).items()
        if isinstance(value, str)
    }
