"""What libsndfile does not read (m4a, aac, wma, webm, video), through an ffmpeg where there is one.

A file may claim to be a playlist and name other files or addresses; only formats of one file are let in.
"""

import importlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from maya_bridge.sound_blocks import RATE
from maya_encoder.audio import BadAudio, Waveform

BLOCK_BYTES = 2**20
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,amr,ac3,eac3,avi,flv,mpegts,mpeg,mp3,ogg,wav,flac"
AS_MONO = ("-vn", "-sn", "-dn", "-ac", "1", "-ar", str(RATE), "-f", "f32le", "pipe:1")
"""How ffmpeg ends, so that `output` understands it."""
MISSING = "m4a, aac, wma, webm and video need ffmpeg, which is not installed: `apt install ffmpeg`, or \
`pip install imageio-ffmpeg`"


def program() -> str | None:
    """Return the ffmpeg of the system, else that of the package imageio-ffmpeg, else None."""
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    try:
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


def duration(path: Path) -> float | None:
    """Return the seconds that a file claims, None where it claims nothing.

    Raises:
        BadAudio: ffmpeg finds no audio in it.
    """
    done = subprocess.run([*_command(path)], capture_output=True, check=False)
    told = done.stderr.decode("utf-8", "replace")
    if "Audio:" not in told:
        raise BadAudio(f"{path} holds no audio that libsndfile or ffmpeg can read")
    match = re.search(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", told)
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def blocks(path: Path) -> Iterator[Waveform]:
    """Yield a file's audio as mono blocks (S,) at 16 kHz; ffmpeg ends when nobody asks for more.

    Raises:
        BadAudio: damaged audio.
    """
    return output([*_command(path), "-v", "error", *AS_MONO], path)


def output(
    command: Sequence[str], name: object, descriptor: int | None = None, deadline: float | None = None
) -> Iterator[Waveform]:
    """Yield what an ffmpeg that ends in AS_MONO writes, as blocks (S,) at 16 kHz.

    Args:
        command: the whole of it.
        name: of the audio, for messages.
        descriptor: of an open file that ffmpeg may read.
        deadline: of `time.monotonic`, by which it must be done.

    Raises:
        BadAudio: damaged audio.
        TimeoutError: the deadline passed.
    """
    with tempfile.TemporaryFile() as complaints:
        running = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            pass_fds=() if descriptor is None else (descriptor,),
        )
        assert running.stdout is not None
        try:
            with _killed_at(deadline, running):
                while block := running.stdout.read(BLOCK_BYTES):
                    yield np.frombuffer(block[: len(block) // 4 * 4], dtype="<f4").astype(np.float32)
                code = running.wait()
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError
            if code:
                raise BadAudio(f"{name} is damaged: ffmpeg says {_last_line(complaints)}")
        finally:
            running.kill()
            running.stdout.close()
            running.wait()


@contextmanager
def _killed_at(deadline: float | None, running: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Kill a process that is not done at the deadline."""
    if deadline is None:
        yield
        return
    alarm = threading.Timer(max(deadline - time.monotonic(), 0), running.kill)
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()


def _command(path: Path) -> list[str]:
    ffmpeg = program()
    if ffmpeg is None:
        raise BadAudio(f"{path} is not a sound file that libsndfile can read; {MISSING}")
    return [ffmpeg, "-nostdin", "-hide_banner", *allowed("file"), "-i", f"file:{path.absolute()}"]


def allowed(protocols: str) -> list[str]:
    """Return the options that keep ffmpeg to these protocols and to formats of one file."""
    return ["-protocol_whitelist", protocols, "-format_whitelist", DEMUXERS]


def _last_line(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
    return re.sub(r"^(\[[^\]]* @ 0x\w+\] )+", "", lines[-1]) if lines else "nothing more"
