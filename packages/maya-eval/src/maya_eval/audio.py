"""The sound of one row of a reader, as 16-bit mono samples at the rate that transcribers take.

A reader that keeps its sound in a way of its own has `read_audio(row)`; otherwise a row carries `audio`
(bytes, or samples with their `sampling_rate`), or says where it lies: file `shard` under the reader's `root`,
from `offset` for `size` bytes, the whole file where no size is given.
"""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLING_RATE = 16000
"""Of the arrays that a transcriber gets, as the plugin contract has it."""
INSTALL = "pip install 'maya-eval[run]'"

Samples = npt.NDArray[np.int16]


class UnreadableAudio(ValueError):
    """A row whose sound cannot be had; the message names the row and why."""


def row_audio(reader: Any, row: Mapping[str, Any]) -> Samples:
    """Returns the samples (S,) of a row, at `SAMPLING_RATE`."""
    try:
        samples, rate = _samples(reader, row)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreadableAudio(f"{row.get('id')}: cannot be decoded ({error})") from error
    if not len(samples):
        raise UnreadableAudio(f"{row.get('id')}: holds no sound")
    return _resampled(samples, rate)


def decode(data: bytes) -> tuple[Samples, int]:
    """Returns `(samples (S,), sampling_rate)` of an encoded file; several channels are averaged.

    What libsndfile does not know (m4a, webm) is decoded by ffmpeg where that is installed.
    """
    soundfile = _soundfile()
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        return _by_ffmpeg(data, str(error)), SAMPLING_RATE
    return _int16(samples.mean(axis=1)), int(rate)


def write_flac(path: Path, samples: Samples) -> None:
    """Writes samples at `SAMPLING_RATE`; the file appears whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    _soundfile().write(unfinished, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    unfinished.replace(path)


def _samples(reader: Any, row: Mapping[str, Any]) -> tuple[Samples, int]:
    if hasattr(reader, "read_audio"):
        samples, rate = reader.read_audio(row)
        return _mono(samples), int(rate)
    audio = row.get("audio")
    if isinstance(audio, Mapping):
        row = {**row, **audio}
        audio = audio.get("bytes") or audio.get("array")
    if isinstance(audio, bytes | bytearray | memoryview):
        return decode(bytes(audio))
    if audio is not None:
        return _mono(audio), int(row["sampling_rate"])
    return decode(_bytes(reader, row))


def _bytes(reader: Any, row: Mapping[str, Any]) -> bytes:
    name = row.get("shard") or row.get("path")
    if not name:
        raise ValueError("the row has neither `audio` nor `shard`")
    path = Path(getattr(reader, "root", None) or ".") / str(name)
    size = int(row.get("size") or 0)
    with path.open("rb") as file:
        file.seek(int(row.get("offset") or 0) if size else 0)
        return file.read(size or -1)


def _mono(samples: Any) -> Samples:
    array = np.asarray(samples)
    if array.ndim == 1:
        return _int16(array)
    mean = array.mean(axis=int(array.shape[0] > array.shape[1]))
    return _int16(np.rint(mean).astype(np.int16) if np.issubdtype(array.dtype, np.integer) else mean)


def _int16(samples: npt.NDArray[Any]) -> Samples:
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.int16, copy=False)
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def _resampled(samples: Samples, rate: int) -> Samples:
    if rate == SAMPLING_RATE:
        return samples
    try:
        import soxr
    except ImportError as error:
        raise ImportError(f"sound at {rate} Hz needs soxr; {INSTALL}") from error
    resampled: Samples = soxr.resample(samples, rate, SAMPLING_RATE)
    return resampled


def _by_ffmpeg(data: bytes, reason: str) -> Samples:
    program = shutil.which("ffmpeg")
    if program is None:
        raise ValueError(f"{reason}; ffmpeg, which might know it, is not on the PATH")
    wanted = ("-f", "s16le", "-ac", "1", "-ar", str(SAMPLING_RATE), "pipe:1")
    with tempfile.NamedTemporaryFile() as file:  # no pipe: an m4a may have its table of contents at the end
        file.write(data)
        file.flush()
        command = (program, "-v", "error", "-i", file.name, *wanted)
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise ValueError(f"{reason}; ffmpeg: {done.stderr.decode(errors='replace').strip()[:200]}")
    return np.frombuffer(done.stdout, dtype=np.int16)


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise ImportError(f"reading sound needs soundfile; {INSTALL}") from error
    return soundfile
