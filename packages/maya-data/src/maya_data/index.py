"""Build a segment index shard by shard; a finished shard is a part file, so an interrupted build goes on."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from maya_data.readers import SCHEMA, BrokenShard, ShardRows
from maya_data.segments import COLUMNS, EMPTY_TEXT, SCHEMA_VERSION, Column, Segment, SegmentIndex

__all__ = ["Progress", "Segment", "SegmentIndex", "build_index"]

ROWS_A_PART = 20_000
Progress = Callable[[int, int, str], None]
"""Called with parts done, parts in all, and the part just done."""


class Part(NamedTuple):
    """The rows of one shard on disk."""

    shard: str
    path: Path


def build_index(reader: Any, out_dir: str | Path, *, progress: Progress | None = None) -> SegmentIndex:
    """Index everything that `reader` reads into the folder `out_dir`, and open it.

    Shards already read are not read again while their files stay as they are. A broken shard is left out and
    listed with its reason under `broken` in `index.json`.
    """
    out = Path(out_dir)
    (out / "parts").mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda done, total, shard: None)
    if hasattr(reader, "shards"):
        parts, broken = _read_shards(reader, out / "parts", tell)
    else:
        parts, broken = list(_read_rows(reader, out / "parts", tell)), {}
    if not parts:
        first = "; ".join(list(broken.values())[:3])
        raise ValueError(
            f"nothing to index: all {len(broken)} shards are broken: {first}" if broken else "no rows"
        )
    info = {"root": str(Path(getattr(reader, "root", None) or ".").absolute()), "broken": broken}
    _merge(parts, out, info | {"text": getattr(reader, "text", "asr-v1")})
    _forget(out / "parts", parts)
    return SegmentIndex.open(out)


def _read_shards(reader: Any, folder: Path, tell: Progress) -> tuple[list[Part], dict[str, str]]:
    """Make a part of every shard that has none yet; return the parts, and why the others failed."""
    parts, broken = [], {}
    shards = reader.shards()
    for done, shard in enumerate(shards, 1):
        try:
            part = Part(shard, folder / _part_name(shard, reader))
            if not part.path.exists():
                _write_part(reader.read_shard(shard), part.path)
            parts.append(part)
        except BrokenShard as error:
            broken[shard] = str(error)
        tell(done, len(shards), shard)
    return parts, broken


def _part_name(shard: str, reader: Any) -> str:
    try:
        signature = reader.signature(shard) if hasattr(reader, "signature") else ""
    except FileNotFoundError as error:
        raise BrokenShard(f"{Path(error.filename).parent}: {Path(error.filename).name} is missing") from error
    return hashlib.sha256(f"{SCHEMA_VERSION} {shard} {signature}".encode()).hexdigest()[:24] + ".arrow"


def _read_rows(reader: Any, folder: Path, tell: Progress) -> Iterator[Part]:
    """Take a reader that knows no shards: every so many rows make a part."""
    rows = iter(reader.build())
    number = 0
    while chunk := list(islice(rows, ROWS_A_PART)):
        part = Part(f"part-{number:06d}", folder / f"part-{number:06d}.arrow")
        _write_part(ShardRows(pa.Table.from_pylist(chunk, schema=SCHEMA), Counter()), part.path)
        number += 1
        tell(number, 0, part.shard)
        yield part


def _write_part(read: ShardRows, path: Path) -> None:
    table = read.rows.replace_schema_metadata({"dropped": json.dumps(read.dropped)})
    with atomic(path) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes its place when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _merge(parts: list[Part], out: Path, info: dict[str, Any]) -> None:
    """Write the numpy columns, the strings and, last of all, `index.json`."""
    merger = _Merger()
    (out / "index.json").unlink(missing_ok=True)
    strings = pa.schema([SCHEMA.field("id"), SCHEMA.field("text")])
    with atomic(out / "strings.arrow") as temporary, pa.ipc.new_file(str(temporary), strings) as writer:
        for part in parts:
            writer.write_table(merger.add(part))
    for column in COLUMNS:
        with atomic(out / f"{column}.npy") as temporary, open(temporary, "wb") as plain:
            np.save(plain, merger.column(column))
    with atomic(out / "index.json") as temporary:
        temporary.write_text(json.dumps(info | merger.summary(), ensure_ascii=False, indent=1), "utf-8")


class _Merger:
    """Collects the columns of parts; names become numbers in the order in which they are met."""

    def __init__(self) -> None:
        self.names: dict[str, dict[Any, int]] = {
            name: {} for name in ("shard", "sampling_rate", "lang", "corpus", "speaker", "domain")
        }
        self.pieces: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        self.dropped: Counter[str] = Counter()
        self.digest = hashlib.sha256(f"schema {SCHEMA_VERSION}".encode())
        self.segments, self.seconds = 0, 0.0

    def add(self, part: Part) -> pa.Table:
        """Take the numbers of a part, and return its strings for the file of strings."""
        self.digest.update(hashlib.sha256(part.path.read_bytes()).digest())
        with pa.OSFile(str(part.path)) as file:
            table = pa.ipc.open_file(file).read_all()
        self.dropped += Counter(json.loads((table.schema.metadata or {}).get(b"dropped", b"{}")))
        for column, dtype in (("offset", np.int64), ("size", np.uint32), ("duration", np.float32)):
            self.pieces[column].append(table[column].to_numpy().astype(dtype))
        for column, names in self.names.items():
            self.pieces[column].append(_numbers(table[column], names))
        empty = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(table["text"])), 0)
        self.pieces["flags"].append(np.where(empty.to_numpy(), EMPTY_TEXT, 0).astype(np.uint8))
        self.segments += len(table)
        self.seconds += float(self.pieces["duration"][-1].sum(dtype=np.float64))
        return table.select(["id", "text"]).replace_schema_metadata().combine_chunks()

    def column(self, name: str) -> Column:
        """Return a whole column in the smallest type that holds it."""
        values = np.concatenate(self.pieces.pop(name))
        return values.astype(np.min_scalar_type(len(self.names[name]))) if name in self.names else values

    def summary(self) -> dict[str, Any]:
        """Return what `index.json` says of the columns."""
        names = {column: list(numbers) for column, numbers in self.names.items()}
        return {
            "schema": SCHEMA_VERSION,
            "fingerprint": self.digest.hexdigest()[:32],
            "segments": self.segments,
            "hours": self.seconds / 3600,
            "dropped": dict(self.dropped),
            "names": names,
        }


def _numbers(values: pa.ChunkedArray, names: dict[Any, int]) -> Column:
    """Return the number of every value, giving new values the next numbers."""
    coded = values.combine_chunks().dictionary_encode()
    numbers = [names.setdefault(value, len(names)) for value in coded.dictionary.to_pylist()]
    column: Column = np.array(numbers, np.uint32)[coded.indices.to_numpy()]
    return column


def _forget(folder: Path, parts: list[Part]) -> None:
    """Remove parts of shards that are gone or have changed, and what an interrupted build left."""
    for path in set(folder.iterdir()) - {part.path for part in parts}:
        path.unlink()
