"""Reader of parquet with the sound inside, as the Hugging Face hub has it: FLEURS, IndicVoices, GLOBE."""

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from maya_data.readers import BrokenShard, ShardRows
from maya_data.readers.audio_files import without_suffix
from maya_data.readers.columns import RECORDING_ALIASES, RECORDING_COLUMNS, check_columns, resolve
from maya_data.readers.header import bytes_info
from maya_data.readers.languages import code_of, lang_in_path
from maya_data.readers.left_out import LeftOut
from maya_data.readers.reading import Reading, found, known_root, of_langs, open_shard, stamp
from maya_data.readers.rows import Rows
from maya_data.text import profile

RECORDINGS_AT_ONCE = 64
"""Recordings held in memory while their headers are read."""


@dataclass(kw_only=True)
class HFParquet(Reading):
    """Parquet files with a column of recordings: `{bytes, path}`, or bytes."""

    name: str = "hf_parquet"
    """Name of this reader."""
    root: str | None = None
    """Folder or URI that the files are relative to."""
    files: Any = "**/*.parquet"
    """Globs of the parquet files."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our column name -> the name in the files, where the usual aliases do not fit."""
    lang: str | None = None
    """Language of all rows; null: the language column, else what a folder's name says."""
    langs: list[str] | None = None
    """Languages to read; null reads every one that is there."""
    corpus: str = ""
    """Corpus of all rows; empty: the corpus column."""
    headers: bool = False
    """Look into every recording for its length and rate, which reads all of the files; done anyway where no
    column tells them."""
    text: str = "asr-v1"
    """Text profile that loader and tokenizer take for this source; the index keeps the raw text."""

    def __post_init__(self) -> None:
        """Refuse unknown columns and profiles."""
        profile(self.text)
        check_columns(self.columns, RECORDING_COLUMNS)

    def shards(self) -> list[str]:
        """Return the parquet files."""
        names = found(self.root, self.files, "files")
        return of_langs(names, None if self.lang else self.langs, lang_in_path, self.root)

    def signature(self, shard: str) -> str:
        """Return the settings and the stamp of the file: while they stay, it need not be read again."""
        return stamp(known_root(self.root), [shard], self.settings())

    def read(self, shard: str, extras: bool = False) -> ShardRows:
        """Return the rows of one parquet file, in their order."""
        with open_shard(known_root(self.root), shard) as file:
            try:
                return self._rows(pq.ParquetFile(file), shard, extras)
            except (pa.ArrowException, OSError) as error:
                raise BrokenShard(f"{shard}: cannot be read ({error})") from error

    def _rows(self, file: Any, shard: str, extras: bool) -> ShardRows:
        schema = file.schema_arrow
        ours = resolve(schema.names, RECORDING_ALIASES, self.columns)
        for column in ("audio", "text"):
            if column not in ours:
                raise BrokenShard(f"{shard}: has no column for `{column}`; set reader.columns")
        features = _features(schema)
        audio = ours.pop("audio")
        table = _plain(file, [*ours.values()] if not extras else _plain_columns(schema, audio), features)
        lengths = self._lengths(file, table, ours, audio, features)
        names = _ids(file, table, ours, audio, shard)
        left_out = LeftOut()
        rows = Rows(left_out)
        for number, values in enumerate(table.to_pylist()):
            row = {"id": names[number], "shard": f"{shard}#{audio}", "offset": number}
            row |= self._said(values, ours, shard) | next(lengths)
            if self.langs is None or row["lang"] in self.langs:
                rows.add(row, f"{shard} row {number}".__str__, _texts(values) if extras else None)
        return rows.finish(shard)

    def _said(self, values: Mapping[str, Any], ours: Mapping[str, str], shard: str) -> dict[str, str]:
        """Return the columns of text of one row."""
        row = {
            column: str(values[ours[column]] if values[ours[column]] is not None else "")
            for column in ("text", "speaker", "domain", "corpus", "lang")
            if column in ours
        }
        lang = self.lang or code_of(row.get("lang", "")) or lang_in_path(shard)
        return row | {"lang": lang, "corpus": self.corpus or row.get("corpus", "")}

    def _lengths(
        self, file: Any, table: pa.Table, ours: Mapping[str, str], audio: str, features: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Yield duration, rate and size of every row: from the columns, else from the sound."""
        rate = int(features.get(audio, {}).get("sampling_rate") or 0)
        known = {
            name: table[ours[name]].to_pylist()
            for name in ("duration", "num_samples", "sampling_rate")
            if name in ours
        }
        if (
            self.headers
            or not ("duration" in known or "num_samples" in known)
            or not (rate or "sampling_rate" in known)
        ):
            for number, data in enumerate(_recordings(file, audio)):
                own_rate, samples = bytes_info(data)
                row: dict[str, Any] = {"sampling_rate": own_rate, "num_samples": samples, "size": len(data)}
                declared = known["duration"][number] if "duration" in known else None
                yield row if declared is None or self.headers else row | {"duration": float(declared)}
            return
        for number in range(len(table)):
            row = {name: values[number] for name, values in known.items() if values[number] is not None}
            if "duration" in row:
                row["duration"] = float(row["duration"])
            yield {"sampling_rate": rate} | row


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Return what the `datasets` library wrote of the columns: label names and sampling rates."""
    try:
        written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = written.get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    return {name: item for name, item in features.items() if isinstance(item, dict)}


def _plain_columns(schema: pa.Schema, audio: str) -> list[str]:
    return [
        item.name
        for item in schema
        if item.name != audio and not pa.types.is_nested(item.type) and not pa.types.is_binary(item.type)
    ]


def _plain(file: Any, columns: list[str], features: Mapping[str, Any]) -> pa.Table:
    """Read columns without the sound; numbers that stand for labels become the labels."""
    table = file.read(columns=list(dict.fromkeys(columns)))
    for place, name in enumerate(table.column_names):
        labels = features.get(name, {}).get("names")
        if labels and pa.types.is_integer(table[name].type):
            texts = [
                None if value is None else labels[value] if 0 <= value < len(labels) else str(value)
                for value in table[name].to_pylist()
            ]
            table = table.set_column(place, name, pa.array(texts, pa.string()))
    return table


def _ids(file: Any, table: pa.Table, ours: Mapping[str, str], audio: str, shard: str) -> list[str]:
    """Return the ids: their column, else the names of the recordings if all differ, else file and row."""
    struct = file.schema_arrow.field(audio).type
    if "id" in ours:
        names = [str(value if value is not None else "") for value in table[ours["id"]].to_pylist()]
    elif pa.types.is_struct(struct) and struct.get_field_index("path") >= 0:
        paths = file.read(columns=[f"{audio}.path"])[audio].combine_chunks()
        names = [str(value["path"] or "") for value in paths.to_pylist()]
        names = names if len(set(names)) == len(names) else [""] * len(names)
    else:
        names = [""] * len(table)
    stem = shard.removesuffix(".parquet")
    return [without_suffix(posixpath.basename(name)) or f"{stem}-{row:06d}" for row, name in enumerate(names)]


def _recordings(file: Any, audio: str) -> Iterator[bytes]:
    """Yield the encoded bytes of every row, empty where there are none."""
    for batch in file.iter_batches(batch_size=RECORDINGS_AT_ONCE, columns=[audio]):
        column = batch.column(0)
        if pa.types.is_struct(column.type):
            if column.type.get_field_index("bytes") < 0:
                raise pa.ArrowInvalid(f"column {audio} holds no bytes")
            column = column.field("bytes")
        yield from (value or b"" for value in column.to_pylist())


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}
