"""What libsndfile does not read (M4A, WebM, ...), through an ffmpeg that can open this one file alone."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from maya_bridge.transcribe_files.ffmpeg import AS_MONO, MISSING, allowed, output, program
from maya_encoder.audio import BadAudio, Waveform

NAME = "`file`"
"""What a client calls its upload."""
MAGIC = {
    b"\x1a\x45\xdf\xa3": 0,  # Matroska, WebM
    b"ftyp": 4,  # MP4, M4A, 3GP
    b"\xff\xf1": 0,  # AAC with ADTS headers
    b"\xff\xf9": 0,
    b"\x30\x26\xb2\x75": 0,  # ASF, WMA
    b"#!AMR": 0,
}


def is_container(head: bytes) -> bool:
    """Tell whether a file's first bytes are of a format that only ffmpeg reads."""
    return any(head[place : place + len(magic)] == magic for magic, place in MAGIC.items())


def read_container(file: BinaryIO, most_seconds: float, deadline: float | None) -> Iterator[Waveform]:
    """Yield mono blocks at 16 kHz.

    Raises:
        BadAudio: no ffmpeg is installed, or it finds no audio, or damaged audio.
        TimeoutError: the deadline passed.
    """
    found = program()
    if found is None:
        raise BadAudio(f"the server cannot read this format, send WAV, FLAC, MP3 or OGG: {MISSING}")
    with _anonymous(file) as copy:
        command = [
            found,
            "-nostdin",
            "-v",
            "error",
            *allowed("file,fd,pipe"),
            "-i",
            f"/dev/fd/{copy.fileno()}",
        ]
        # A second more than may be, so that too long audio is seen to be.
        yield from output([*command, "-t", str(most_seconds + 1), *AS_MONO], NAME, copy.fileno(), deadline)


def _anonymous(file: BinaryIO) -> BinaryIO:
    """A copy that has no name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        copy: BinaryIO = os.fdopen(os.memfd_create("upload"), "w+b")
    else:
        copy = tempfile.TemporaryFile()  # noqa: SIM115
    file.seek(0)
    shutil.copyfileobj(file, copy)
    copy.flush()
    copy.seek(0)
    return copy
