"""Finds the audio file of a transcript by a pattern such as `wavs/{id}.wav` or `**/{id}.wav`."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache

from maya_data.audio import files

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm", ".aac", ".wma")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
WILD = re.compile(r"[*?]")
LISTINGS = 64
"""Listings of folders that are kept."""


def without_suffix(name: str) -> str:
    """Return a file's name without the suffix of an audio file, where it has one."""
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in SUFFIXES else name


def candidates(pattern: str, folder: str, values: Mapping[str, str]) -> Iterator[str]:
    """Yield where the file may lie, relative to the root, the most literal reading of the pattern first.

    An id with a suffix, or without one, or with a path of its own is understood as well.
    """
    name = values["id"]
    for value in dict.fromkeys((name, without_suffix(name))):
        path = posixpath.normpath(posixpath.join(folder, fill(pattern, {**values, "id": value})))
        yield path
        if without_suffix(path) == path:
            yield from (path + suffix for suffix in SUFFIXES)
    yield posixpath.normpath(posixpath.join(folder, name))


def fill(pattern: str, values: Mapping[str, str]) -> str:
    """Put values in the place of `{names}`; a name that has none stays."""
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), pattern)


def find(root: str, pattern: str, folder: str, values: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the files of a transcript as `(path relative to the root, bytes)`; none where there is none.

    Args:
        root: Of the reader.
        pattern: With `*` or `**`, every file that matches is one; otherwise the first that is there.
        folder: Of the transcripts, relative to the root: what the pattern is relative to.
        values: Of the placeholders; `id` at least.
    """
    if WILD.search(pattern):
        rest = {key: value for key, value in values.items() if key != "id"}
        place = posixpath.normpath(posixpath.join(folder, fill(pattern, rest)))
        names = _listing(root, place).get(without_suffix(values["id"]), [])
        return [(name, files.size_of(files.join(root, name))) for name in names]
    for name in candidates(pattern, folder, values):
        try:
            return [(name, files.size_of(files.join(root, name)))]
        except (FileNotFoundError, NotADirectoryError):
            continue
    return []


@lru_cache(LISTINGS)
def _listing(root: str, pattern: str) -> dict[str, list[str]]:
    """Return id -> files, for the files that match a pattern whose last part holds `{id}`."""
    last = pattern.rsplit("/", 1)[-1]
    parts = [re.escape(part).replace(r"\*", ".*").replace(r"\?", ".") for part in last.split("{id}", 1)]
    named = re.compile("(?P<id>.+)".join(parts))
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in files.list_files(root, pattern.replace("{id}", "*")):
        if match := named.fullmatch(name.rsplit("/", 1)[-1]):
            found[without_suffix(match["id"] if "id" in named.groupindex else name)].append(name)
    return dict(found)


def forget() -> None:
    """Forget listings: files may have come since."""
    _listing.cache_clear()


def unused(root: str, pattern: str, folder: str, used: set[str]) -> list[str]:
    """Return the audio files that a pattern with wild cards matches, but that no transcript asked for."""
    listed = _listing(root, posixpath.normpath(posixpath.join(folder, pattern)))
    return sorted(name for names in listed.values() for name in names if name not in used)
