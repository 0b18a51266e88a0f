"""Find members of a tar, and what a FLAC header says, without reading the audio."""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

BLOCK = 512
OCTAL = re.compile(rb"[0-7]+")
AUDIO_MAGICS = (b"fLaC", b"RIFF", b"OggS")


class Member(NamedTuple):
    """A regular file inside a tar."""

    name: str
    offset: int
    size: int


def walk(file: BinaryIO) -> Iterator[Member]:
    """Yield the regular files of an uncompressed tar from its headers, but for one cut off by the end.

    Where a header is damaged, the next one is looked for, so that one member is lost and no more.
    """
    end = file.seek(0, os.SEEK_END)
    position = 0
    extended: dict[str, str] = {}
    while position + BLOCK <= end:
        file.seek(position)
        header = file.read(BLOCK)
        if not header.strip(b"\0"):
            return
        if not _is_header(header):
            position += BLOCK
            continue
        size = int(extended.pop("size", 0)) or _number(header[124:136])
        start, kind = position + BLOCK, header[156:157]
        position = start + -(-size // BLOCK) * BLOCK
        if kind in (b"x", b"L"):
            extended |= _extension(file.read(size), kind)
        elif kind in (b"0", b"\0") and start + size <= end:
            yield Member(extended.pop("path", "") or _name(header), start, size)


def member_at(file: BinaryIO, offset: int) -> Member | None:
    """Return the member whose bytes begin at `offset`, or None where no header stands before it.

    A name longer than 100 characters may come back cut.
    """
    if offset < BLOCK:
        return None
    file.seek(offset - BLOCK)
    header = file.read(BLOCK)
    return Member(_name(header), offset, _number(header[124:136])) if _is_header(header) else None


def _is_header(block: bytes) -> bool:
    """Return whether the sum that a header carries is that of its bytes, those of the sum taken as spaces."""
    stated = block[148:156].strip(b"\0 ")
    if len(block) < BLOCK or not OCTAL.fullmatch(stated):
        return False
    return int(stated, 8) == sum(block) - sum(block[148:156]) + 8 * ord(" ")


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    return int(digits, 8) if OCTAL.fullmatch(digits) else 0


def _name(header: bytes) -> str:
    fields = (header[:100], header[345:500])
    name, prefix = (part.split(b"\0", 1)[0].decode(errors="replace") for part in fields)
    return f"{prefix}/{name}" if prefix and header[257:262] == b"ustar" else name


def _extension(body: bytes, kind: bytes) -> dict[str, str]:
    """Return `path` and `size` of a GNU long name or of a PAX header."""
    if kind == b"L":
        return {"path": body.rstrip(b"\0").decode()}
    records = (line.split(b" ", 1)[-1].partition(b"=") for line in body.split(b"\n"))
    return {key.decode(): value.decode() for key, _, value in records if key in (b"path", b"size")}


def flac_info(header: bytes) -> tuple[int, int]:
    """Return `(sampling_rate, num_samples)` from the first 26 bytes of a FLAC file, else zeros."""
    if header[:4] != b"fLaC" or len(header) < 26:
        return 0, 0
    packed = int.from_bytes(header[18:26], "big")
    return packed >> 44, packed & ((1 << 36) - 1)
