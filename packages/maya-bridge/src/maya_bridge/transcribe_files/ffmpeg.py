"""What libsndfile does not read (m4a, aac, wma, webm, video), through an ffmpeg where there is one.

A file may claim to be a playlist and name other files or addresses; only formats of one file are let in.
"""

import importlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from maya_encoder.audio import BadAudio, Waveform

RATE = 16000
BLOCK_BYTES = 2**18
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,amr,ac3,eac3,avi,flv,mpegts,mpeg,mp3,ogg,wav,flac"
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
    how = ["-vn", "-sn", "-dn", "-ac", "1", "-ar", str(RATE), "-f", "f32le", "pipe:1"]
    with tempfile.TemporaryFile() as complaints:
        command = [*_command(path), "-v", "error", *how]
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
        )
        assert running.stdout is not None
        try:
            while block := running.stdout.read(BLOCK_BYTES):
                yield np.frombuffer(block[: len(block) // 4 * 4], dtype="<f4").astype(np.float32)
            if running.wait():
                raise BadAudio(f"{path} is damaged: ffmpeg says {_last_line(complaints)}")
        finally:
            running.kill()
            running.stdout.close()
            running.wait()


def _command(path: Path) -> list[str]:
    ffmpeg = program()
    if ffmpeg is None:
        raise BadAudio(f"{path} is not a sound file that libsndfile can read; {MISSING}")
    allowed = ["-protocol_whitelist", "file", "-format_whitelist", DEMUXERS]
    return [ffmpeg, "-nostdin", "-hide_banner", *allowed, "-i", f"file:{path.absolute()}"]


def _last_line(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "nothing more"
