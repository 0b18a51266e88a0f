"""Reader of final-export shards: `lang=xx/<shard>/` with a tar, two parquet files and a manifest.

Rows of the two parquet files are joined by id. Byte locators are checked on a sample of members and found
again from the tar's headers where they are absent or wrong.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maya_data.readers import SCHEMA, BrokenShard, ShardRows
from maya_data.readers.columns import COLUMNS, LOCATOR_ALIASES, METADATA_ALIASES, resolve
from maya_data.readers.tar import AUDIO_MAGICS, flac_info, walk
from maya_data.text import profile

FILES = ("audio.tar", "audio_index.parquet", "metadata.parquet", "manifest.json")


@dataclass(kw_only=True)
class FinalExport:
    """Shards of FLAC members in tars, with their locators and metadata in parquet."""

    name: str = "final_export"
    """Name of this reader."""
    root: str | None = None
    """Folder that holds the `lang=xx` folders."""
    langs: list[str] | None = None
    """Languages to read; null reads every one that is there."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our column name -> the name in your parquet files, where the usual aliases do not fit."""
    text: str = "asr-v1"
    """Text profile that loader and tokenizer take for this source; the index keeps the raw text."""

    def __post_init__(self) -> None:
        """Refuse unknown columns and profiles."""
        profile(self.text)
        for column in self.columns:
            if column not in COLUMNS:
                raise ValueError(f"`columns` may map {', '.join(COLUMNS)}, got {column!r}")

    def build(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of all shards; a broken shard is an error here."""
        for shard in self.shards():
            yield from self.read_shard(shard).rows.to_pylist()

    def shards(self) -> list[str]:
        """Return the shard folders relative to the root, sorted; hidden ones are still being written."""
        root = self._root()
        folders = [path for path in root.glob("lang=*/[!.]*") if path.is_dir()]
        found = sorted(path.relative_to(root).as_posix() for path in folders)
        if not found:
            raise ValueError(f"no shards under {root}; expected {root}/lang=xx/<shard>/{{{','.join(FILES)}}}")
        present = {shard_lang(shard) for shard in found}
        if missing := [lang for lang in self.langs or () if lang not in present]:
            raise ValueError(
                f"no shards of language {missing[0]!r} under {root}; there are: {', '.join(sorted(present))}"
            )
        return [shard for shard in found if self.langs is None or shard_lang(shard) in self.langs]

    def signature(self, shard: str) -> str:
        """Return sizes and times of the shard's files: while they stay, the shard need not be read again."""
        stats = [(self._root() / shard / name).stat() for name in FILES]
        return f"{sorted(self.columns.items())}" + "".join(f" {s.st_size}:{s.st_mtime_ns}" for s in stats)

    def read_shard(self, shard: str) -> ShardRows:
        """Return the rows of one shard in the order of their bytes."""
        folder = self._complete(shard)
        metadata = self._parquet(folder / "metadata.parquet", METADATA_ALIASES)
        for column in ("id", "text"):
            if column not in metadata.column_names:
                raise BrokenShard(
                    f"{folder}: metadata.parquet has no column for `{column}`; set reader.columns"
                )
        with open(folder / "audio.tar", "rb") as tar:
            locators, dropped = self._locators(folder, tar)
            rows = _join(metadata, locators, dropped)
            if not len(rows):
                raise BrokenShard(f"{folder}: no segment has both metadata and audio")
            rows = _with_lengths(rows, tar)
        manifest = self._manifest(folder)
        defaults = {
            "lang": shard_lang(shard),
            "corpus": str(manifest.get("corpus", "")),
            "speaker": "",
            "domain": "",
        }
        return ShardRows(_finish(rows, {"shard": f"{shard}/audio.tar", **defaults}), dropped)

    def _root(self) -> Path:
        if self.root is None:
            raise ValueError("no value given for reader.root; set it or MAYA_DATA")
        if not Path(self.root).is_dir():
            raise ValueError(f"reader.root is no folder: {self.root}")
        return Path(self.root)

    def _complete(self, shard: str) -> Path:
        folder = self._root() / shard
        for name in FILES:
            if not (folder / name).is_file():
                raise BrokenShard(f"{folder}: {name} is missing")
            if not (folder / name).stat().st_size:
                raise BrokenShard(f"{folder}: {name} is empty")
        return folder

    def _manifest(self, folder: Path) -> dict[str, Any]:
        try:
            manifest = json.loads((folder / "manifest.json").read_bytes())
        except ValueError as error:
            raise BrokenShard(f"{folder}: manifest.json is not JSON ({error})") from error
        return manifest if isinstance(manifest, dict) else {}

    def _parquet(self, path: Path, aliases: Mapping[str, tuple[str, ...]]) -> pa.Table:
        """Read the columns that we know, under our names."""
        try:
            names = resolve(pq.read_schema(path).names, aliases, self.columns)
            table = pq.read_table(path, columns=sorted(set(names.values())), partitioning=None)
        except (pa.ArrowException, OSError) as error:
            raise BrokenShard(f"{path.parent}: {path.name} cannot be read ({error})") from error
        return pa.table({ours: table[theirs].combine_chunks() for ours, theirs in names.items()})

    def _locators(self, folder: Path, tar: Any) -> tuple[pa.Table, Counter[str]]:
        """Return a table of id, offset, size; walk the tar when there are no (true) ones."""
        table = self._parquet(folder / "audio_index.parquet", LOCATOR_ALIASES)
        if not {"id", "member"} & set(table.column_names):
            raise BrokenShard(
                f"{folder}: audio_index.parquet has no column for `id` or `member`; set reader.columns"
            )
        if "id" not in table.column_names:
            table = table.append_column("id", _stems(table["member"].to_pylist()))
        if not {"offset", "size"} <= set(table.column_names) or not _locators_hold(table, tar):
            table = _walked(table, tar)
        end = tar.seek(0, 2)
        inside = pc.less_equal(pc.add(table["offset"], table["size"]), end)
        dropped = Counter(
            {"beyond the end of audio.tar": len(table) - pc.sum(inside).as_py()} if len(table) else {}
        )
        return table.filter(inside).select(["id", "offset", "size"]), +dropped


def shard_lang(shard: str) -> str:
    """Return the language that a shard's folder name states."""
    return shard.split("/", 1)[0].removeprefix("lang=")


def _stems(members: list[str]) -> pa.Array:
    return pa.array([Path(member).name.split(".", 1)[0] for member in members], pa.large_string())


def _locators_hold(table: pa.Table, tar: Any) -> bool:
    """Look at the first, middle and last segment: does audio start where the table says?"""
    if not len(table) or table["offset"].null_count or table["size"].null_count:
        return False
    for row in (0, len(table) // 2, len(table) - 1):
        tar.seek(max(table["offset"][row].as_py(), 0))
        if tar.read(4) not in AUDIO_MAGICS:
            return False
    return True


def _walked(table: pa.Table, tar: Any) -> pa.Table:
    """Give each id its place by the tar's own headers, by member name where there is one."""
    members = list(walk(tar))
    key = "member" if "member" in table.column_names else "id"
    names = (
        pa.array([m.name for m in members], pa.large_string())
        if key == "member"
        else _stems([m.name for m in members])
    )
    place = pc.index_in(table[key].cast(pa.large_string()), value_set=names)
    table, place = table.filter(place.is_valid()), place.drop_null()
    places = pa.table({"offset": [m.offset for m in members], "size": [m.size for m in members]}).take(place)
    return pa.table({"id": table["id"], "offset": places["offset"], "size": places["size"]})


def _join(metadata: pa.Table, locators: pa.Table, dropped: Counter[str]) -> pa.Table:
    """Join by id, in the order of the bytes; ids without audio or met twice are counted and left out."""
    ids = metadata["id"].cast(pa.large_string())
    place = pc.index_in(ids, value_set=locators["id"].cast(pa.large_string()))
    first = pc.equal(pc.index_in(ids, value_set=ids), pa.array(np.arange(len(ids)), pa.int32()))
    dropped["id met twice"] += len(ids) - pc.sum(first).as_py() if len(ids) else 0
    keep = pc.and_(place.is_valid(), first)
    dropped["no audio for the id"] += (
        len(ids) - pc.sum(pc.or_(place.is_valid(), pc.invert(first))).as_py() if len(ids) else 0
    )
    rows, place = metadata.filter(keep), place.filter(keep)
    for column in ("offset", "size"):
        rows = rows.append_column(column, locators[column].cast(pa.int64()).take(place))
    return rows.sort_by("offset")


def _with_lengths(rows: pa.Table, tar: Any) -> pa.Table:
    """Complete duration, num_samples and sampling_rate, from FLAC headers where metadata do not suffice."""
    known = {
        name: rows[name].to_numpy()
        for name in ("duration", "num_samples", "sampling_rate")
        if name in rows.column_names
    }
    if "sampling_rate" not in known or len(known) == 1:
        headers = [_header(tar, offset) for offset in rows["offset"].to_pylist()]
        known["sampling_rate"], known["num_samples"] = (
            np.array(values) for values in zip(*headers, strict=True)
        )
    rate = known["sampling_rate"]
    if "duration" not in known:
        known["duration"] = known["num_samples"] / np.maximum(rate, 1)
    if "num_samples" not in known:
        known["num_samples"] = np.rint(known["duration"] * rate)
    rows = rows.drop_columns([name for name in known if name in rows.column_names])
    for name, values in known.items():
        rows = rows.append_column(name, pa.array(values))
    return rows


def _header(tar: Any, offset: int) -> tuple[int, int]:
    tar.seek(offset)
    return flac_info(tar.read(26))


def _finish(rows: pa.Table, defaults: Mapping[str, str]) -> pa.Table:
    """Bring the columns to `SCHEMA`, with defaults for those that are absent or null."""
    columns = []
    for field_ in SCHEMA:
        if field_.name not in rows.column_names:
            columns.append(pa.array([defaults[field_.name]] * len(rows), field_.type))
            continue
        column = rows[field_.name].cast(field_.type, safe=False)
        empty = defaults.get(field_.name, "" if field_.name in ("id", "text") else 0)
        columns.append(column.fill_null(pa.scalar(empty, field_.type)))
    return pa.table(columns, schema=SCHEMA).combine_chunks()
