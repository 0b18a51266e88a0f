"""Rate and length from the head of an audio file: FLAC, WAV, MP4 at once, others through libsndfile."""

import io
import os
from typing import BinaryIO

from maya_data.audio import files
from maya_data.readers.tar import flac_info

HEAD = 64
MP4_FOLDERS = (b"moov", b"trak", b"mdia")
PCM_FORMATS = (1, 3, 0xFFFE)
UNKNOWN = (0, 0)
"""Of sound that cannot be opened: the row is kept, with a duration of zero, and so is never trained on."""


def file_info(path: str) -> tuple[int, int]:
    """Return `(sampling rate in Hz, samples)` of an audio file, zeros where it cannot be told.

    Raises:
        FileNotFoundError: There is no such file.
    """
    with files.open_binary(path) as file:
        return part_info(file, 0, file.seek(0, os.SEEK_END))


def bytes_info(data: bytes) -> tuple[int, int]:
    """Return `(sampling rate in Hz, samples)` of an encoded recording, zeros where it cannot be told."""
    return part_info(io.BytesIO(data), 0, len(data))


def part_info(file: BinaryIO, offset: int, size: int) -> tuple[int, int]:
    """Return `(sampling rate in Hz, samples)` of the recording of `size` bytes at byte `offset` of a file."""
    file.seek(offset)
    head = file.read(min(HEAD, size))
    found = UNKNOWN
    if head[:4] == b"fLaC":
        found = flac_info(head)
    elif head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        found = _wav_info(file, offset, offset + size)
    elif head[4:8] == b"ftyp":
        found = _mp4_info(file, offset, offset + size)
    return found if all(found) else _decoder_info(file, offset, size)


def _wav_info(file: BinaryIO, start: int, end: int) -> tuple[int, int]:
    """Walk the chunks to `fmt ` and `data`; a length that reaches beyond the file is cut to the file."""
    position, rate, frame = start + 12, 0, 0
    while position + 8 <= end:
        file.seek(position)
        head = file.read(24)
        kind, length = head[:4], int.from_bytes(head[4:8], "little")
        if kind == b"fmt ":
            if int.from_bytes(head[8:10], "little") not in PCM_FORMATS:
                return UNKNOWN
            rate, frame = int.from_bytes(head[12:16], "little"), int.from_bytes(head[20:22], "little")
        elif kind == b"data":
            return (rate, min(length, end - position - 8) // frame) if frame else UNKNOWN
        position += 8 + length + length % 2
    return UNKNOWN


def _mp4_info(file: BinaryIO, position: int, end: int) -> tuple[int, int]:
    """Go down the boxes to the first track's media header, which counts in samples of sound."""
    while position + 8 <= end:
        file.seek(position)
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        start = position + 8
        if length == 1:
            length, start = int.from_bytes(file.read(8), "big"), position + 16
        if kind == b"mdhd":
            file.seek(start)
            wide = file.read(4)[0] == 1
            head = file.read(28 if wide else 16)
            place = 16 if wide else 8
            return int.from_bytes(head[place : place + 4], "big"), int.from_bytes(head[place + 4 :], "big")
        if kind in MP4_FOLDERS:
            return _mp4_info(file, start, min(position + length, end))
        if length < 8:
            return UNKNOWN
        position += length
    return UNKNOWN


def _decoder_info(file: BinaryIO, offset: int, size: int) -> tuple[int, int]:
    import soundfile

    file.seek(offset)
    try:
        with soundfile.SoundFile(io.BytesIO(file.read(size))) as sound:
            return int(sound.samplerate), int(sound.frames)
    except (soundfile.LibsndfileError, RuntimeError, ValueError):
        return UNKNOWN
