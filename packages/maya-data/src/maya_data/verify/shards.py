"""Check a shard that has tables and a manifest beside its tar: do they and the index tell the same?"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maya_data.audio import files
from maya_data.indexing.segments import SegmentIndex
from maya_data.readers.columns import LOCATOR_ALIASES, METADATA_ALIASES, resolve
from maya_data.readers.tar import walk
from maya_data.verify.findings import Finding, of_row, of_shard
from maya_data.verify.manifest import SHARD_FILE, Manifest, digest_of, read_manifest

FILES = ("audio.tar", "metadata.parquet", "audio_index.parquet", "manifest.json")
WANTED = ("id", "member", "offset", "size")
FEW = 3
"""Members of a tar that are named, where no row names them."""


def check_shard(index: SegmentIndex, start: int, stop: int, level: int) -> list[Finding]:
    """Return what the tables, the manifest and the tar of rows `start` to `stop` say against each other."""
    shard, path = index.name("shard", start), index.location(start)
    folder = path.removesuffix(SHARD_FILE)
    if not any(files.exists(f"{folder}/{name}") for name in FILES):
        return []  # Each row says so already.
    ids = [index.string("id", row) for row in range(start, stop)]
    found, manifest = _manifest(folder, shard)
    metadata, problem = _table(folder, "metadata.parquet", METADATA_ALIASES)
    locators, other = _table(folder, "audio_index.parquet", LOCATOR_ALIASES)
    found += [of_shard(shard, error) for error in (problem, other) if error]
    found += _counts(shard, manifest, len(metadata) if metadata is not None else len(ids))
    if metadata is not None and "id" in metadata.column_names:
        found += _ids(shard, metadata["id"].cast(pa.string()).to_pylist(), set(ids))
    if not manifest.audio and level >= 1:
        return [*found, of_shard(shard, "its manifest says that it is metadata without audio")]
    if not files.exists(path):
        return found
    if level >= 1:
        found += _locators(index, start, ids, locators)
        found += _members(index, start, ids, locators)
    if level >= 2:
        found += _checksums(folder, shard, manifest)
    return found


def _manifest(folder: str, shard: str) -> tuple[list[Finding], Manifest]:
    try:
        manifest = read_manifest(f"{folder}/manifest.json")
    except FileNotFoundError:
        return [of_shard(shard, "its manifest.json is missing")], Manifest()
    except (OSError, ValueError) as error:
        return [of_shard(shard, f"its manifest.json cannot be read ({error})")], Manifest()
    return [], manifest


def _table(folder: str, name: str, aliases: Any) -> tuple[pa.Table | None, str]:
    """Return the columns of a table that we know, or why they cannot be read."""
    try:
        with files.open_binary(f"{folder}/{name}") as file:
            opened = pq.ParquetFile(file)
            names = resolve(opened.schema_arrow.names, aliases, {})
            wanted = {ours: theirs for ours, theirs in names.items() if ours in WANTED}
            table = opened.read(columns=list(wanted.values()), use_threads=False)
            rows = opened.metadata.num_rows
    except FileNotFoundError:
        return None, f"its {name} is missing"
    except (OSError, pa.ArrowException) as error:
        return None, f"its {name} cannot be read ({' '.join(str(error).split())})"
    columns = {ours: table[theirs] for ours, theirs in wanted.items()}
    return pa.table(columns or {"row": np.arange(rows)}), ""


def _counts(shard: str, manifest: Manifest, rows: int) -> list[Finding]:
    if manifest.segments is None or manifest.segments == rows:
        return []
    return [
        of_shard(shard, f"its manifest says {manifest.segments:,} segments, metadata.parquet has {rows:,}")
    ]


def _ids(shard: str, names: Sequence[str], indexed: set[str]) -> Iterator[Finding]:
    """Yield the rows of metadata.parquet that are no row of the index, and the ids that it has twice."""
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if name in first:
            yield of_shard(
                shard, f"rows {first[name]} and {row} of metadata.parquet have the same id {name}", name
            )
        elif name not in indexed:
            yield of_shard(shard, f"row {row} of metadata.parquet, {name}, has no audio in the tar", name)
        first.setdefault(name, row)


def _locators(
    index: SegmentIndex, start: int, ids: list[str], locators: pa.Table | None
) -> Iterator[Finding]:
    """Yield rows that audio_index.parquet puts elsewhere; where it does so with all, it counts otherwise."""
    if locators is None or not set(WANTED) - {"member"} <= set(locators.column_names):
        return
    stated = zip(*(locators[name].to_pylist() for name in ("id", "offset", "size")), strict=True)
    expected = {str(name): (offset, size) for name, offset, size in stated}
    offset, size = (index.columns[name][start : start + len(ids)].tolist() for name in ("offset", "size"))
    differ = [
        (start + number, expected[name], place)
        for number, (name, place) in enumerate(zip(ids, zip(offset, size, strict=True), strict=True))
        if name in expected and expected[name] != place and place[1]
    ]
    for row, (byte, length), place in differ if len(differ) < len(ids) else ():
        what = f"is at byte {place[0]} of the tar with {place[1]} bytes"
        yield of_row(index, row, [f"{what}, audio_index.parquet says {byte} and {length}"])


def _members(index: SegmentIndex, start: int, ids: list[str], locators: pa.Table | None) -> Iterator[Finding]:
    """Yield rows whose bytes are another segment's, and members of the tar that no row names."""
    shard, rows = index.name("shard", start), slice(start, start + len(ids))
    with files.open_binary(index.location(start)) as tar:
        members = {member.offset: member.name for member in walk(tar)}
    expected = _expected(locators)
    known, offsets = set(ids), np.asarray(index.columns["offset"][rows]).tolist()
    for number, (name, offset) in enumerate(zip(ids, offsets, strict=True)):
        member = members.pop(offset, None)
        wanted = expected.get(name)
        other = member is not None and _stem(member) != name and _stem(member) in known
        if member is not None and (other or (wanted is not None and wanted != member)):
            yield of_row(index, start + number, [f"stands where the tar has {member}"])
    named = {*known, *expected.values()}
    if nameless := [member for member in members.values() if not {member, _stem(member)} & named]:
        some = ", ".join(nameless[:FEW])
        yield of_shard(shard, f"its tar has {len(nameless):,} members that are no row of the index ({some})")


def _expected(locators: pa.Table | None) -> dict[str, str]:
    """Return id -> member of the tar, as audio_index.parquet says."""
    if locators is None or not {"id", "member"} <= set(locators.column_names):
        return {}
    if pc.any(pc.equal(locators["id"], locators["member"])).as_py():  # One column for both says nothing.
        return {}
    return dict(
        zip(locators["id"].cast(pa.string()).to_pylist(), locators["member"].to_pylist(), strict=True)
    )


def _stem(member: str) -> str:
    return member.rsplit("/", 1)[-1].split(".", 1)[0]


def _checksums(folder: str, shard: str, manifest: Manifest) -> Iterator[Finding]:
    """Compare sizes and checksums of the files with the manifest."""
    for name, size in manifest.sizes.items():
        path = f"{folder}/{name}"
        if files.exists(path) and (there := files.size_of(path)) != size:
            yield of_shard(
                shard, f"its {name} has {there:,} bytes, the manifest says {size:,}", checksum=True
            )
    for name, stated in manifest.digests.items():
        path = f"{folder}/{name}"
        if files.exists(path) and digest_of(path, stated) != stated.lower():
            yield of_shard(shard, f"the checksum of its {name} is not the manifest's", checksum=True)
