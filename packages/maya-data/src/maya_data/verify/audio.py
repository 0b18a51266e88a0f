"""Decode one recording in full, and compare it with its own checksum and with the index."""

import hashlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import soundfile

from maya_data.audio import embedded, files
from maya_data.audio.decode import CorruptAudio, decode
from maya_data.audio.fetch import LENGTH_TOLERANCE

if TYPE_CHECKING:
    from maya_data.verify.rows import Place

FLAC_MD5 = slice(26, 42)
"""Checksum of the decoded samples in a FLAC file; all zero where the encoder did not write one."""
DEPTHS = {"PCM_S8": ("int16", 8, 1), "PCM_16": ("int16", 0, 2), "PCM_24": ("int32", 8, 3)}
"""Encoding -> type to decode to, bits that this is too wide, bytes of a sample in the checksum."""


def audio_error(place: "Place") -> str:
    """Return what decoding says against the index, or an empty text.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        data = _read(place)
        if data[:4] == b"fLaC" and not place.start:
            return _flac_error(data, place)
        samples, rate = decode(data, place.start, place.num_samples if place.part else None)
    except CorruptAudio as error:
        return str(error)
    return _length_error(len(samples) / rate, place)


def _read(place: "Place") -> bytes:
    if place.embedded:
        return embedded.read(place.path, place.offset)
    if not place.offset:
        return files.read_bytes(place.path)
    data = files.read_range(place.path, place.offset, place.size)
    if len(data) < place.size:
        raise CorruptAudio(f"is cut off: {len(data)} of its {place.size} bytes are there")
    return data


def _flac_error(data: bytes, place: "Place") -> str:
    """Decode a whole FLAC file; libsndfile checks the frames, the MD5 checks the samples."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            kind, excess, width = DEPTHS[file.subtype]
            samples, rate = file.read(dtype=kind, always_2d=True), int(file.samplerate)
    except soundfile.LibsndfileError as error:
        return f"cannot be decoded ({error.error_string.strip().rstrip('.')})"
    stated = data[FLAC_MD5]
    if any(stated) and hashlib.md5(_packed(samples, excess, width), usedforsecurity=False).digest() != stated:
        return "decodes to samples that differ from the MD5 in its FLAC header"
    return _length_error(len(samples) / rate, place)


def _packed(samples: npt.NDArray[Any], excess: int, width: int) -> bytes:
    """Return samples (S, channels) as FLAC's checksum takes them: little endian, as wide as they are."""
    whole = np.ascontiguousarray((samples >> excess).astype(samples.dtype.newbyteorder("<"), copy=False))
    octets = whole.view(np.uint8).reshape(-1, whole.itemsize)
    return np.ascontiguousarray(octets[:, :width]).tobytes()


def _length_error(seconds: float, place: "Place") -> str:
    declared = place.num_samples / max(place.sampling_rate, 1)
    close = abs(seconds - declared) <= LENGTH_TOLERANCE or (place.part and seconds > declared)
    if close or not place.timed:
        return ""
    return f"lasts {seconds:.3f} s, the index says {declared:.3f} s"
