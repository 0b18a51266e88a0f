"""What libsndfile does not read (M4A, WebM, ...), through an ffmpeg that can open this one file alone."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from maya_bridge.transcribe_files.ffmpeg import DEMUXERS, MISSING, program
from maya_encoder.audio import BadAudio, Waveform

RATE = 16000
BLOCK_BYTES = 2**20
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
        BadAudio: no ffmpeg is installed, or it finds no audio.
        TimeoutError: the deadline passed.
    """
    found = program()
    if found is None:
        raise BadAudio(f"the server cannot read this format, send WAV, FLAC, MP3 or OGG: {MISSING}")
    with _anonymous(file) as copy:
        # ffmpeg gives a second more than may be, so that too long audio is seen to be.
        command = [found, "-nostdin", "-v", "error", "-protocol_whitelist", "file,fd,pipe"]
        command += ["-format_whitelist", DEMUXERS, "-i", f"/dev/fd/{copy.fileno()}"]
        command += ["-vn", "-sn", "-dn", "-t", str(most_seconds + 1), "-ac", "1", "-ar", str(RATE)]
        command += ["-f", "s16le", "pipe:1"]
        yield from _output(command, copy.fileno(), deadline)


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


def _output(command: list[str], descriptor: int, deadline: float | None) -> Iterator[Waveform]:
    running = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(descriptor,),
    )
    assert running.stdout is not None
    alarm = threading.Timer(max(deadline - time.monotonic(), 0), running.kill) if deadline else None
    try:
        if alarm:
            alarm.start()
        while block := running.stdout.read(BLOCK_BYTES):
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError
            yield np.frombuffer(block[: len(block) // 2 * 2], dtype="<i2").astype(np.float32) / 2**15
        code = running.wait()
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
        if code:
            raise BadAudio("`file` is no audio file that ffmpeg can read")
    finally:
        if alarm:
            alarm.cancel()
        running.kill()
        running.stdout.close()
        running.wait()
