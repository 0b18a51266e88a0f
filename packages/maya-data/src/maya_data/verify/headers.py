"""Check the headers before the audio: the tar's, and the audio's own."""

import io
from typing import TYPE_CHECKING

from maya_data.audio import embedded, files
from maya_data.audio.decode import CorruptAudio
from maya_data.audio.fetch import LENGTH_TOLERANCE
from maya_data.readers.header import part_info
from maya_data.readers.tar import BLOCK, flac_info

if TYPE_CHECKING:
    from maya_data.verify.rows import Place

HEAD = 42
"""Bytes up to the end of a FLAC stream's STREAMINFO."""
CHECKSUM = slice(148, 156)


def header_errors(place: "Place") -> list[str]:
    """Return what the headers before a row's audio say against the index.

    Raises:
        OSError: The file cannot be read.
    """
    if place.embedded:
        try:
            data = embedded.read(place.path, place.offset)
        except CorruptAudio as damage:
            return [str(damage)]
        return _audio_errors(place, *part_info(io.BytesIO(data), 0, len(data)))
    if place.offset >= BLOCK:
        head = files.read_range(place.path, place.offset - BLOCK, BLOCK + HEAD)
        if error := _tar_error(head[:BLOCK], place.size):
            return [error]
        found = flac_info(head[BLOCK:])
    else:
        found = flac_info(files.read_range(place.path, place.offset, HEAD))
    if not all(found):
        with files.open_binary(place.path) as file:
            found = part_info(file, place.offset, place.size or files.size_of(place.path))
    return _audio_errors(place, *found)


def _tar_error(header: bytes, size: int) -> str:
    """Return what a member's header says against its row, or an empty text."""
    try:
        stated, length = int(header[CHECKSUM].strip(b"\0 ") or b"0", 8), _size(header)
    except ValueError:
        return "has no tar header before its first byte"
    summed = sum(header) - sum(header[CHECKSUM]) + 8 * ord(" ")
    if stated != summed:
        return "has no tar header before its first byte, or a damaged one"
    return "" if length == size else f"has {length} bytes by the tar's header, {size} by the index"


def _size(header: bytes) -> int:
    field = header[124:136]
    return int.from_bytes(field[1:], "big") if field[0] & 0x80 else int(field.strip(b"\0 ") or b"0", 8)


def _audio_errors(place: "Place", rate: int, num_samples: int) -> list[str]:
    if not rate:
        return ["has no audio header that can be read"]
    errors = []
    if rate != place.sampling_rate:
        errors.append(f"has {rate} Hz by its audio header, {place.sampling_rate} by the index")
    declared, seconds = place.num_samples / max(place.sampling_rate, 1), num_samples / rate
    missing = place.start / rate + declared - seconds
    wrong = missing > LENGTH_TOLERANCE or (-missing > LENGTH_TOLERANCE and not place.part)
    if place.start and wrong:
        begin = place.start / rate
        errors.append(
            f"should last from {begin:.3f} to {begin + declared:.3f} s of a file of {seconds:.3f} s"
        )
    elif place.timed and num_samples and wrong:
        errors.append(f"lasts {seconds:.3f} s by its audio header, {declared:.3f} s by the index")
    return errors
