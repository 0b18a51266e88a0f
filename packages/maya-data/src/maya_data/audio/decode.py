"""Decode speech straight into 16-bit samples with libsndfile, and resample it with soxr."""

import io
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Samples = npt.NDArray[np.int16]
EXACT = ("PCM_16", "PCM_S8", "PCM_U8")
"""Encodings that 16-bit samples hold without a loss, whatever the number of channels."""
BELIEVABLE = 1 << 30
"""Samples (18 hours at 16 kHz) over which a header that states more is not believed."""
BLOCK = 1 << 20
"""Samples decoded at once where the number of all is unknown."""


class CorruptAudio(ValueError):
    """A segment whose bytes are not the audio that the index promises."""


class _File(soundfile.SoundFile):  # type: ignore[misc]
    """A file whose position nobody asks for.

    After every read soundfile seeks to where it stands: a frame is decoded again, which costs 3 %, and it
    fails where the header tells no length.
    """

    def seekable(self) -> bool:
        return False


def decode(data: bytes | BinaryIO, start: int = 0, num_samples: int | None = None) -> tuple[Samples, int]:
    """Return `(samples (S,), sampling_rate)` of an encoded file; several channels are averaged.

    Args:
        data: The bytes of the file, or the file itself, opened.
        start: First sample wanted.
        num_samples: Most samples wanted; None takes all.

    Raises:
        CorruptAudio: libsndfile cannot decode it, or it ends before `start`.
    """
    try:
        with _File(io.BytesIO(data) if isinstance(data, bytes) else data) as file:
            if file.frames > BELIEVABLE:
                return _read_to_end(file, start, num_samples), int(file.samplerate)
            wanted = file.frames - start
            if start:
                if wanted <= 0:
                    raise CorruptAudio(f"has {file.frames} samples, so none at sample {start}")
                file.seek(start)
            wanted = wanted if num_samples is None else min(wanted, num_samples)
            return _mono(file.read(wanted, dtype=_dtype(file))), int(file.samplerate)
    except soundfile.LibsndfileError as error:
        raise CorruptAudio(f"cannot be decoded ({error.error_string.strip().rstrip('.')})") from error


def _read_to_end(file: soundfile.SoundFile, start: int, num_samples: int | None) -> Samples:
    """Read what an encoder wrote into a pipe: its header does not know how many samples follow."""
    blocks, wanted = [], None if num_samples is None else start + num_samples
    while wanted is None or wanted > 0:
        block = file.read(BLOCK if wanted is None else min(BLOCK, wanted), dtype=_dtype(file))
        blocks.append(block)
        wanted = None if wanted is None else wanted - len(block)
        if len(block) < BLOCK:
            break
    samples = np.concatenate(blocks)
    if start and start >= len(samples):
        raise CorruptAudio(f"has {len(samples)} samples, so none at sample {start}")
    return _mono(samples[start:])


def _dtype(file: soundfile.SoundFile) -> str:
    return "int16" if file.subtype in EXACT or (file.format == "FLAC" and file.channels == 1) else "float32"


def _mono(samples: npt.NDArray[Any]) -> Samples:
    scale = 32768.0 if samples.dtype == np.float32 else 1.0
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    return samples if samples.dtype == np.int16 else to_int16(samples * scale)


def to_int16(samples: npt.NDArray[Any]) -> Samples:
    """Return samples on the 16-bit scale, rounded, with what lies outside it cut off."""
    whole: Samples = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
    return whole


def resample(samples: Samples, rate: int, sampling_rate: int | None, speed: float = 1.0) -> Samples:
    """Return samples at another rate, spoken `speed` times as fast (higher in pitch, too).

    Args:
        samples: (S,) at `rate`.
        rate: Samples a second that they have.
        sampling_rate: Samples a second wanted; None keeps `rate`.
        speed: Over 0; 1.1 makes a second last 0.909 s.

    Raises:
        ValueError: `speed` is not over 0.
    """
    if not speed > 0:
        raise ValueError(f"`speed` must be over 0, got {speed}")
    wanted = sampling_rate or rate
    if rate * speed == wanted:
        return samples
    resampled: Samples = soxr.resample(samples, rate * speed, wanted)
    return resampled
