"""What all readers share: rows as dicts, shards as tables, the sound of a row, a root that must be there."""

import logging
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from maya_data.audio import files
from maya_data.readers import SCHEMA, BrokenShard, ShardRows, by_ffmpeg

log = logging.getLogger(__name__)


class Reading:
    """A reader made of `shards()` and `read(shard)`, whose tables may hold more columns than `SCHEMA`."""

    root: str | None

    def shards(self) -> list[str]:
        """Return the names of the shards, sorted."""
        raise NotImplementedError

    def read(self, shard: str, extras: bool = False) -> ShardRows:
        """Return the rows of one shard; with `extras` also the columns that only this source has."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Return the fields that decide on the rows, so neither root nor text profile."""
        names = [item.name for item in fields(self)]  # type: ignore[arg-type]
        return {name: getattr(self, name) for name in names if name not in ("name", "root", "text")}

    def build(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of all shards, with the source's further columns.

        A broken shard is an error here; what a shard leaves out is logged as a warning.

        Raises:
            BrokenShard: A shard cannot be read.
        """
        for shard in self.shards():
            rows, dropped = self.read(shard, extras=True)
            tell(dropped)
            yield from rows.to_pylist()

    def read_shard(self, shard: str) -> ShardRows:
        """Return the rows of one shard, with the columns of `SCHEMA`.

        Raises:
            BrokenShard: The shard cannot be read.
        """
        read = self.read(shard)
        return ShardRows(read.rows.select(SCHEMA.names), read.dropped)

    def read_audio(self, row: Mapping[str, Any]) -> tuple[Any, int]:
        """Return `(samples (S,) int16, sampling rate)` of a row of this reader.

        Raises:
            ValueError: The sound cannot be decoded.
            FileNotFoundError: Its file is missing.
        """
        from maya_data.audio.fetch import CorruptAudio, read_row

        try:
            samples, rate = read_row(self.root or "", row)
        except CorruptAudio:
            data = encoded(self.root or "", row)
            if not by_ffmpeg.is_foreign(data):
                raise
            samples, rate = by_ffmpeg.decode(data)
            start = round(int(row.get("start") or 0) / max(int(row.get("sampling_rate") or 0), 1) * rate)
            samples = samples[start:][: round(row["duration"] * rate)] if start else samples
        return samples, int(rate)


def encoded(root: str, row: Mapping[str, Any]) -> bytes:
    """Return the encoded bytes of a row: of a parquet cell, a byte range, or a file."""
    from maya_data.audio import embedded

    path, offset, size = files.join(root, row["shard"]), int(row["offset"]), int(row["size"] or 0)
    if embedded.MARK in path:
        return embedded.read(path, offset)
    return files.read_range(path, offset, size) if size else files.read_bytes(path)


def tell(dropped: Counter[str]) -> None:
    """Log what a shard leaves out."""
    for reason, number in dropped.items():
        log.warning("left out %s: %s", f"{number:,}", reason)


def known_root(root: str | None) -> str:
    """Return the root; a URI is not looked at yet.

    Raises:
        ValueError: There is no root, or no such folder.
    """
    if root is None:
        raise ValueError("no value given for reader.root; set it or MAYA_DATA")
    if not files.is_uri(root) and not Path(root.removeprefix("file://")).is_dir():
        raise ValueError(f"reader.root is no folder: {root}")
    return root


def patterns_of(value: Any, setting: str) -> list[str]:
    """Return a path or glob, or a list of them, as a list.

    Raises:
        ValueError: It is neither.
    """
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(item, str) for item in values):
        raise ValueError(f"`{setting}` is a path or glob, or a list of them, got {value!r}")
    return values


def found(root: str | None, pattern: Any, setting: str) -> list[str]:
    """Return the files under `root` that match, as sorted relative paths.

    Raises:
        ValueError: There is none; the message names `setting`, which holds the pattern.
    """
    folder = known_root(root)
    patterns = patterns_of(pattern, setting)
    names = sorted({name for item in patterns for name in files.list_files(folder, item)})
    if not names:
        raise ValueError(f"no file matches {setting}={', '.join(patterns)} under {folder}")
    return names


def of_langs(shards: list[str], langs: list[str] | None, lang_of: Any, root: str | None) -> list[str]:
    """Return the shards whose language is wanted, or whose path does not say.

    Raises:
        ValueError: None is left.
    """
    if langs is None:
        return shards
    left = [shard for shard in shards if lang_of(shard) in ("", *langs)]
    if not left:
        there = ", ".join(sorted({lang_of(shard) for shard in shards}))
        raise ValueError(f"no shards of language {langs[0]!r} under {root}; there are: {there}")
    return left


def under(root: str, folder: str, name: str) -> str:
    """Return where `name`, seen from `folder`, lies: relative to the root where it is below it."""
    if files.is_uri(name):
        base = root.rstrip("/") + "/"
        return name.removeprefix(base)
    if name.startswith("/"):
        inside = posixpath.relpath(name, str(Path(root).absolute())) if not files.is_uri(root) else ".."
        return name if inside.startswith("..") else inside
    return posixpath.normpath(posixpath.join(folder, name))


def stamp(root: str, names: list[str], settings: Mapping[str, Any]) -> str:
    """Return what must stay for a shard to be taken as read: the settings, and the stamps of its files."""
    said = [f"{key}={value!r}" for key, value in settings.items()]
    return " ".join((*said, *(files.stamp(files.join(root, name)) for name in names)))


def open_shard(root: str, name: str) -> Any:
    """Open a file of a shard.

    Raises:
        BrokenShard: It is missing or cannot be read.
    """
    try:
        return files.open_binary(files.join(root, name))
    except OSError as error:
        raise BrokenShard(f"{files.join(root, name)}: {_why(error)}") from error


def _why(error: OSError) -> str:
    return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
