"""Reader of final-export shards: `lang=xx/<shard>/` with a tar, two parquet files and a manifest.

Rows of the two parquet files are joined by id. Byte locators are checked on a sample of members and found
again from the tar's headers where they are absent or wrong.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maya_data.audio import files
from maya_data.readers import BrokenShard, ShardRows
from maya_data.readers.columns import (
    COLUMNS,
    LOCATOR_ALIASES,
    METADATA_ALIASES,
    TOKEN_ALIASES,
    check_columns,
    resolve,
)
from maya_data.readers.final_export_rows import finish, join, with_lengths
from maya_data.readers.left_out import LeftOut
from maya_data.readers.locators import locate
from maya_data.readers.reading import Reading, known_root, open_shard, stamp
from maya_data.text import profile

FILES = ("audio.tar", "audio_index.parquet", "metadata.parquet", "manifest.json")
TOKENS = "xcodec2_tokens.parquet"
COUNTS = ("segments", "num_segments", "segment_count", "num_utterances", "num_rows", "rows", "count")
"""What a manifest may call the number of its segments."""


@dataclass(kw_only=True)
class FinalExport(Reading):
    """Shards of FLAC members in tars, with their locators and metadata in parquet."""

    name: str = "final_export"
    """Name of this reader."""
    root: str | None = None
    """Folder or URI that holds the `lang=xx` folders."""
    langs: list[str] | None = None
    """Languages to read; null reads every one that is there."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our column name -> the name in your parquet files, where the usual aliases do not fit."""
    tokens: bool = False
    """Join `xcodec2_tokens.parquet` by id: rows of `build()` have `tokens`, None where a segment has none."""
    text: str = "asr-v1"
    """Text profile that loader and tokenizer take for this source; the index keeps the raw text."""

    def __post_init__(self) -> None:
        """Refuse unknown columns and profiles."""
        profile(self.text)
        check_columns(self.columns, COLUMNS)

    def shards(self) -> list[str]:
        """Return the shard folders relative to the root, sorted; hidden ones are still being written."""
        root = known_root(self.root)
        shards = _folders(root)
        if not shards:
            raise ValueError(f"no shards under {root}; expected {root}/lang=xx/<shard>/{{{','.join(FILES)}}}")
        present = {shard_lang(shard) for shard in shards}
        if missing := [lang for lang in self.langs or () if lang not in present]:
            raise ValueError(
                f"no shards of language {missing[0]!r} under {root}; there are: {', '.join(sorted(present))}"
            )
        return [shard for shard in shards if self.langs is None or shard_lang(shard) in self.langs]

    def signature(self, shard: str) -> str:
        """Return sizes and times of the shard's files: while they stay, the shard need not be read again."""
        names = [f"{shard}/{name}" for name in self._files(shard)]
        return stamp(known_root(self.root), names, {"columns": self.columns})

    def read(self, shard: str, extras: bool = False) -> ShardRows:
        """Return the rows of one shard in the order of their bytes; with `extras` its tokens, if wanted."""
        self._check_complete(shard)
        left_out = LeftOut()
        metadata = self._parquet(shard, "metadata.parquet", METADATA_ALIASES)
        for column in ("id", "text"):
            if column not in metadata.column_names:
                raise BrokenShard(
                    f"{self._place(shard)}: metadata.parquet has no column for `{column}`; set reader.columns"
                )
        locators = self._parquet(shard, "audio_index.parquet", LOCATOR_ALIASES)
        with self._tar(shard) as tar:
            rows = join(metadata, locate(locators, tar, self._place(shard)), shard, left_out)
            if not pc.any(pc.greater(rows["size"], 0)).as_py():
                raise BrokenShard(f"{self._place(shard)}: no segment has both metadata and audio")
            rows = with_lengths(rows, tar)
        manifest = self._manifest(shard)
        _check_count(manifest, metadata, shard, left_out)
        stated = {"shard": f"{shard}/audio.tar", "lang": shard_lang(shard), "start": 0}
        table = finish(
            rows, {"corpus": str(manifest.get("corpus", "")), "speaker": "", "domain": "", **stated}
        )
        if extras and self.tokens:
            table = self._with_tokens(table, shard)
        return ShardRows(table, left_out.counter())

    def _files(self, shard: str) -> tuple[str, ...]:
        """Return what the shard must have; a manifest with `"audio": false` stands for metadata alone."""
        tar = f"{self._place(shard)}/audio.tar"
        return FILES[1:] if not files.exists(tar) and is_metadata_only(tar) else FILES

    def _tar(self, shard: str) -> AbstractContextManager[Any]:
        """Open the tar of a shard, or give None for one that has none."""
        if "audio.tar" not in self._files(shard):
            return nullcontext()
        opened: AbstractContextManager[Any] = open_shard(known_root(self.root), f"{shard}/audio.tar")
        return opened

    def _place(self, shard: str) -> str:
        return files.join(known_root(self.root), shard)

    def _check_complete(self, shard: str) -> None:
        for name in (*self._files(shard), *([TOKENS] if self.tokens else [])):
            try:
                if not files.size_of(f"{self._place(shard)}/{name}"):
                    raise BrokenShard(f"{self._place(shard)}: {name} is empty")
            except (FileNotFoundError, NotADirectoryError) as error:
                raise BrokenShard(f"{self._place(shard)}: {name} is missing") from error

    def _manifest(self, shard: str) -> dict[str, Any]:
        try:
            manifest = json.loads(files.read_bytes(f"{self._place(shard)}/manifest.json"))
        except ValueError as error:
            raise BrokenShard(f"{self._place(shard)}: manifest.json is not JSON ({error})") from error
        return manifest if isinstance(manifest, dict) else {}

    def _parquet(self, shard: str, name: str, aliases: Mapping[str, tuple[str, ...]]) -> pa.Table:
        """Read the columns that we know, under our names."""
        with open_shard(known_root(self.root), f"{shard}/{name}") as file:
            try:
                parquet = pq.ParquetFile(file)
                names = resolve(parquet.schema_arrow.names, aliases, self.columns)
                table = parquet.read(columns=sorted(set(names.values())))
            except (pa.ArrowException, OSError) as error:
                raise BrokenShard(f"{self._place(shard)}: {name} cannot be read ({error})") from error
        return pa.table({ours: table[theirs].combine_chunks() for ours, theirs in names.items()})

    def _with_tokens(self, rows: pa.Table, shard: str) -> pa.Table:
        tokens = self._parquet(shard, TOKENS, TOKEN_ALIASES)
        for column in ("id", "tokens"):
            if column not in tokens.column_names:
                raise BrokenShard(
                    f"{self._place(shard)}: {TOKENS} has no column for `{column}`; set reader.columns"
                )
        place = pc.index_in(rows["id"], value_set=tokens["id"].cast(pa.large_string()))
        return rows.append_column("tokens", tokens["tokens"].take(place))


def is_metadata_only(path: str) -> bool:
    """Return whether the manifest beside a tar says that there is none: metadata to try plans with."""
    try:
        manifest = json.loads(files.read_bytes(f"{path.rpartition('/')[0]}/manifest.json"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("audio") is False


def shard_lang(shard: str) -> str:
    """Return the language that a shard's folder name states."""
    return shard.split("/", 1)[0].removeprefix("lang=")


def _folders(root: str) -> list[str]:
    """Return the shard folders, also those that are still empty where the file system knows any."""
    if files.is_uri(root):
        return sorted({name.rsplit("/", 1)[0] for name in files.list_files(root, "lang=*/[!.]*/*")})
    folder = Path(root.removeprefix("file://"))
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.glob("lang=*/[!.]*") if path.is_dir()
    )


def _check_count(manifest: Mapping[str, Any], metadata: pa.Table, shard: str, left_out: LeftOut) -> None:
    """Count the segments that a manifest has and metadata.parquet has not."""
    stated = next((manifest[name] for name in COUNTS if isinstance(manifest.get(name), int)), len(metadata))
    if stated > len(metadata):
        left_out.add("counted in manifest.json, not in metadata.parquet", shard, stated - len(metadata))
