"""What a shard's manifest says of its files; key names are not promised, so values go by their shape."""

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maya_data.audio import files

SHARD_FILE = "/audio.tar"
"""End of the path of a tar that has tables and a manifest beside it."""
COUNTS = (
    "segments",
    "num_segments",
    "n_segments",
    "segment_count",
    "count",
    "num_rows",
    "rows",
    "total_segments",
)
SIZES = ("size", "bytes", "size_bytes", "num_bytes", "byte_size")
NAMES = ("name", "path", "file", "filename", "file_name")
STEMS = {
    "audio": "audio.tar",
    "tar": "audio.tar",
    "audio_tar": "audio.tar",
    "metadata": "metadata.parquet",
    "audio_index": "audio_index.parquet",
}
DIGEST = re.compile(r"(?:(sha256|sha1|md5|crc32)[:=])?([0-9a-f]{8}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})")
KINDS = {8: "crc32", 32: "md5", 40: "sha1", 64: "sha256"}
"""Digits of a checksum -> what it is."""
BLOCK = 1 << 22


@dataclass
class Manifest:
    """The facts that can be held against a shard."""

    segments: int | None = None
    audio: bool = True
    """Whether there is audio at all; a corpus of metadata alone has none."""
    sizes: dict[str, int] = field(default_factory=dict)
    """File -> bytes."""
    digests: dict[str, str] = field(default_factory=dict)
    """File -> hexadecimal checksum."""


def read_manifest(path: str) -> Manifest:
    """Read a manifest.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON object.
    """
    said = json.loads(files.read_bytes(path))
    if not isinstance(said, dict):
        raise ValueError("no JSON object")
    counts = [
        said[key] for key in COUNTS if isinstance(said.get(key), int) and not isinstance(said[key], bool)
    ]
    found = Manifest(counts[0] if counts else None, said.get("audio") is not False)
    _collect(said, "", found)
    return found


def has_no_audio(path: str) -> bool:
    """Return whether the manifest beside a missing tar says that there never was one."""
    if not path.endswith(SHARD_FILE):
        return False
    try:
        return not read_manifest(f"{path.removesuffix(SHARD_FILE)}/manifest.json").audio
    except (OSError, ValueError):
        return False


def _collect(node: Any, about: str, found: Manifest) -> None:
    """Look for sizes and checksums below `node`, which is about a file or, when empty, about none."""
    if isinstance(node, list):
        for each in node:
            _collect(each, about, found)
    if not isinstance(node, Mapping):
        return
    named = next((str(node[key]) for key in NAMES if isinstance(node.get(key), str)), "")
    about = _file(named) or about
    for key, value in node.items():
        mine = _file(str(key)) or about
        if isinstance(value, str) and mine and (digest := DIGEST.fullmatch(value.lower())):
            found.digests[mine] = digest[2]
        elif isinstance(value, int) and mine and str(key).lower() in SIZES:
            found.sizes[mine] = value
        else:
            _collect(value, mine, found)


def _file(key: str) -> str:
    """Return the file that a key names: `audio.tar`, `audio_sha256`, or an empty text."""
    name = key.rsplit("/", 1)[-1]
    if name in STEMS.values():
        return name
    stem = re.sub(r"_?(sha256|sha1|md5|crc32|checksum|digest)$", "", name.lower())
    return STEMS.get(stem, "") if stem != name.lower() else ""


def digest_of(path: str, like: str) -> str:
    """Return the checksum of a file, of the kind that `like` is.

    Raises:
        OSError: It cannot be read.
    """
    kind, crc = KINDS[len(like)], 0
    summed = None if kind == "crc32" else hashlib.new(kind, usedforsecurity=False)
    with files.open_binary(path) as file:
        while block := file.read(BLOCK):
            if summed is None:
                crc = zlib.crc32(block, crc)
            else:
                summed.update(block)
    return f"{crc:08x}" if summed is None else summed.hexdigest()
