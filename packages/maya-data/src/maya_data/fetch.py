"""Read one segment by its byte range, and decode it straight into 16-bit samples."""

import io
import os
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from maya_data.segments import SegmentIndex

Samples = npt.NDArray[np.int16]
LENGTH_TOLERANCE = 0.1
"""Seconds by which the decoded length may differ from the declared one."""
OPEN_FILES = 256
PCM_16 = ("PCM_16", "PCM_S8", "PCM_U8")


class CorruptAudio(ValueError):
    """A segment whose bytes are not the audio that the index promises."""


class _File:
    """A file descriptor that closes itself when the cache lets it go."""

    def __init__(self, path: str):
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


_open = lru_cache(OPEN_FILES)(_File)


def read_bytes(index: SegmentIndex, i: int) -> bytes:
    """Return the encoded bytes of segment `i`."""
    path = os.path.join(index.root, index.name("shard", i))
    try:
        file = _open(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"shard {path} of the index {index.path} is gone; open the index with the root where it is now"
        ) from error
    return os.pread(file.descriptor, int(index.columns["size"][i]), int(index.columns["offset"][i]))


def decode(data: bytes) -> tuple[Samples, int]:
    """Return `(samples (S,), sampling_rate)` of an encoded file; several channels are averaged."""
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        exact = file.subtype in PCM_16 or (file.format == "FLAC" and file.channels == 1)
        samples = file.read(dtype="int16" if exact else "float32")
        rate = int(file.samplerate)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    return _int16(samples), rate


def _int16(samples: npt.NDArray[Any]) -> Samples:
    if samples.dtype == np.float32:
        samples = np.clip(samples * 32768.0, -32768, 32767)
    return samples.astype(np.int16, copy=False)


def read_audio(index: SegmentIndex, i: int, sampling_rate: int | None = None) -> Samples:
    """Return segment `i` as mono samples (S,) at `sampling_rate`, or at its own rate.

    Raises:
        CorruptAudio: The bytes cannot be decoded, or their length is not the declared one.
    """
    try:
        samples, rate = decode(read_bytes(index, i))
    except soundfile.LibsndfileError as error:
        raise CorruptAudio(_complaint(index, i, f"cannot be decoded ({error.error_string})")) from error
    duration = float(index.durations[i])
    if abs(len(samples) / rate - duration) > LENGTH_TOLERANCE:
        raise CorruptAudio(
            _complaint(index, i, f"lasts {len(samples) / rate:.3f} s, the index says {duration:.3f} s")
        )
    if sampling_rate in (None, rate):
        return samples
    resampled: Samples = soxr.resample(samples, rate, sampling_rate)
    return resampled


def _complaint(index: SegmentIndex, i: int, what: str) -> str:
    segment = index.row(i)
    return f"{segment.shard}: segment {segment.id} at byte {segment.offset} {what}"
