"""Reader of NeMo's tarred sets: manifests whose `audio_filepath` is a member of a tar."""

import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from maya_data.audio import files
from maya_data.readers import ShardRows
from maya_data.readers.expand import resolve_paths
from maya_data.readers.header import part_info
from maya_data.readers.languages import lang_in_path
from maya_data.readers.left_out import LeftOut
from maya_data.readers.lines import Lines
from maya_data.readers.nemo_lines import Entry, entries
from maya_data.readers.reading import Reading, known_root, of_langs, open_shard, patterns_of, stamp
from maya_data.readers.rows import Rows
from maya_data.readers.tar import Member, walk
from maya_data.text import profile

SEGMENT = re.compile(r"(?P<stem>.+)-sub\d+(?P<suffix>\.\w+)?")
"""NeMo names the parts of one recording `name-sub1.wav`, `name-sub2.wav`; the member is `name.wav`."""
NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(kw_only=True)
class NemoTarred(Reading):
    """Tars with a manifest each, or with one manifest for all of them."""

    name: str = "nemo_tarred"
    """Name of this reader."""
    root: str | None = None
    """Folder or URI that manifests and tars are relative to."""
    manifests: Any = "**/*manifest*.json*"
    """Paths or globs of the manifests; `{0..N}` and `_OP_0..N_CL_` are expanded."""
    tars: Any = "**/*.tar"
    """Paths or globs of the tars, paired with the manifests by their last number; expanded likewise."""
    lang: str | None = None
    """Language of all rows; null: the line's, else what a folder's name says."""
    langs: list[str] | None = None
    """Languages to read; null reads every one that is there."""
    corpus: str = ""
    """Corpus of all rows; empty: the line's."""
    text_field: str = "text"
    """Name of the transcript in a line."""
    lang_field: str = "lang"
    """Name of the language in a line."""
    text: str = "asr-v1"
    """Text profile that loader and tokenizer take for this source; the index keeps the raw text."""

    def __post_init__(self) -> None:
        """Refuse an unknown text profile."""
        profile(self.text)
        self._known: dict[str, str] | None = None

    def shards(self) -> list[str]:
        """Return the tars."""
        return of_langs(
            list(self._paired(anew=True)), None if self.lang else self.langs, lang_in_path, self.root
        )

    def signature(self, shard: str) -> str:
        """Return the settings and the stamps of tar and manifest."""
        return stamp(known_root(self.root), [shard, self._paired()[shard]], self.settings())

    def read(self, shard: str, extras: bool = False) -> ShardRows:
        """Return the rows of one tar, in the order of its manifest."""
        root, left_out = known_root(self.root), LeftOut()
        rows = Rows(left_out)
        with open_shard(root, shard) as tar:
            members = {member.name: member for member in walk(tar)}
            for entry in self._entries(shard, left_out):
                member = _member(entry.audio, members)
                if member is None:
                    left_out.add(f"no audio in {shard}", f"{entry.place()}: {entry.audio}")
                    continue
                row = entry.row(self.lang, self.corpus)
                row["lang"] = row["lang"] or lang_in_path(shard)
                if self.langs is not None and row["lang"] not in self.langs:
                    continue
                lengths = entry.lengths(*part_info(tar, member.offset, member.size))
                where = {
                    "id": entry.name(entry.audio),
                    "shard": shard,
                    "offset": member.offset,
                    "size": member.size,
                }
                rows.add(row | where | lengths, entry.place, entry.extras if extras else None)
        return rows.finish(shard)

    def _paired(self, anew: bool = False) -> dict[str, str]:
        """Return tar -> manifest; files are listed again only when asked for.

        Raises:
            ValueError: Their numbers do not agree.
        """
        if anew or self._known is None:
            root = known_root(self.root)
            manifests = resolve_paths(root, patterns_of(self.manifests, "manifests"))
            self._known = pairs(root, manifests, resolve_paths(root, patterns_of(self.tars, "tars")))
        return self._known

    def _entries(self, tar: str, left_out: LeftOut) -> list[Entry]:
        """Return the lines of one tar: all of its own manifest, or those with its number as `shard_id`."""
        root, paired = known_root(self.root), self._paired()
        manifest = paired[tar]
        if list(paired.values()).count(manifest) == 1:
            return list(entries(Lines(root, manifest, left_out), self.text_field, self.lang_field))
        fields = (self.text_field, self.lang_field)
        by_shard, damaged = _shared(root, manifest, *fields, files.stamp(files.join(root, manifest)))
        if tar == next(iter(paired)):  # What is of no tar is counted once, with the first one.
            left_out.merge(damaged)
            for number in sorted(by_shard.keys() - {_number(name) for name in paired}):
                left_out.add(
                    f"no tar has the shard_id {number}", by_shard[number][0].place(), len(by_shard[number])
                )
        return by_shard.get(_number(tar) or 0, [])


def pairs(root: str, manifests: list[str], tars: list[str]) -> dict[str, str]:
    """Return tar -> manifest, by the last numbers of their names; one manifest serves all tars.

    Raises:
        ValueError: Their numbers do not agree.
    """
    if len(manifests) == 1:
        return dict.fromkeys(tars, manifests[0])
    if len(manifests) != len(tars):
        there = f"{len(manifests)} manifests and {len(tars)} tars"
        raise ValueError(f"{there} under {root}; there must be one for each tar, or one for all")
    return dict(zip(tars, _in_order_of(tars, manifests), strict=True))


def _member(audio: str, members: dict[str, Member]) -> Member | None:
    """Return the member that a line speaks of: by its name, as a part of it, or by the file's name alone."""
    match = SEGMENT.fullmatch(audio)
    whole = f"{match['stem']}{match['suffix'] or ''}" if match else audio
    names = dict.fromkeys((audio, whole, posixpath.basename(audio), posixpath.basename(whole)))
    return next((members[name] for name in names if name in members), None)


@lru_cache(2)
def _shared(
    root: str, manifest: str, text_field: str, lang_field: str, _stamp: str
) -> tuple[dict[int, list[Entry]], LeftOut]:
    """Return `shard_id` -> lines of a manifest of several tars (all of it is held), and its damage."""
    left_out = LeftOut()
    found: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in entries(Lines(root, manifest, left_out), text_field, lang_field):
        shard = entry.values.get("shard_id")
        if isinstance(shard, int):
            found[shard].append(entry)
        else:
            left_out.add("damaged line: a manifest of several tars needs shard_id", entry.place())
    return dict(found), left_out


def _number(name: str) -> int | None:
    match = NUMBER.search(posixpath.basename(name))
    return int(match[1]) if match else None


def _in_order_of(tars: list[str], manifests: list[str]) -> list[str]:
    """Return the manifests in the order of the tars' numbers; in their own where numbers are not unique.

    Raises:
        ValueError: Both are numbered, and not alike.
    """
    of_tars, of_manifests = ([_number(name) for name in names] for names in (tars, manifests))
    if len(set(of_tars)) < len(tars) or len(set(of_manifests)) < len(manifests):
        return manifests
    if set(of_tars) != set(of_manifests):
        odd = next(number for number in of_tars if number not in of_manifests)
        raise ValueError(
            f"no manifest has the number {odd} of {tars[of_tars.index(odd)]}; pairs have the same number"
        )
    return [manifests[of_manifests.index(number)] for number in of_tars]
