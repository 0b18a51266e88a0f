"""An audio file out of nobody's trusted hands to mono samples, read in blocks and given up early."""

import time
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from maya_encoder.audio import BadAudio, Waveform

RATE = 16000
BLOCK = 2**18
"""Numbers read at a time, all channels together."""
RATES = (1000, 768_000)
LOUDEST = 2.0**16
"""Samples beyond this are no sound: floating point files have theirs in [-1, 1]."""
MOST_RATE = 400_000
"""Samples a second, all channels together, of a file of the longest duration; others must be shorter."""


class TooLong(ValueError):
    """Audio of more seconds than the server takes."""


def read_audio(file: BinaryIO, most_seconds: float, deadline: float | None = None) -> Waveform:
    """Return mono samples (S,), float32 at 16 kHz.

    Args:
        file: seekable, at its beginning; it is not closed.
        most_seconds: of audio; the header is asked first, and then not believed.
        deadline: of `time.monotonic`, by which it must be read.

    Raises:
        TooLong: more audio than that.
        BadAudio: no audio, damaged audio, no samples, or samples that are no sound.
        TimeoutError: the deadline passed.
    """
    from maya_bridge.serving.containers import is_container, read_container

    head = file.read(64)
    file.seek(0)
    if is_container(head):
        blocks, rate = read_container(file, most_seconds, deadline), RATE
        return _joined(_checked(blocks, rate, most_seconds, deadline), rate)
    with _opened(file) as sound:
        _check_header(sound, most_seconds)
        blocks = _checked(_blocks(sound), sound.samplerate, most_seconds, deadline)
        return _joined(blocks, sound.samplerate)


def _opened(file: BinaryIO) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
    except (TypeError, ValueError):  # bare samples, whose rate nobody knows
        reason = "it has no header"
    raise BadAudio(f"`file` is no audio file that can be read: {reason}")


def _check_header(sound: soundfile.SoundFile, most_seconds: float) -> None:
    low, high = RATES
    if not low <= sound.samplerate <= high:
        raise BadAudio(f"the sampling rate must be {low} to {high} Hz, got {sound.samplerate}")
    seconds = sound.frames / sound.samplerate
    if seconds > most_seconds:
        raise TooLong(f"audio may be {most_seconds:g} s long, and this file says {seconds:.0f} s")
    if sound.frames * sound.channels > most_seconds * MOST_RATE:
        raise TooLong(
            f"audio of {sound.channels} channels and {sound.samplerate} Hz may not be as long as this"
        )


def _blocks(sound: soundfile.SoundFile) -> Iterator[Waveform]:
    """Mono samples at the file's own rate."""
    size = max(BLOCK // sound.channels, 1)
    while True:
        try:
            block = sound.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise BadAudio(f"`file` is damaged: {error.error_string}") from None
        if not len(block):
            return
        _check_samples(block)
        yield block.mean(axis=1)


def _check_samples(block: Waveform) -> None:
    if not np.isfinite(block).all():
        raise BadAudio("`file` holds samples that are NaN or infinite")
    if np.abs(block).max() > LOUDEST:
        raise BadAudio("`file` holds floating point samples that are far from [-1, 1]")


def _checked(
    blocks: Iterator[Waveform], rate: int, most_seconds: float, deadline: float | None
) -> Iterator[Waveform]:
    """The blocks, as long as there are not too many and there is time."""
    heard = 0
    for block in blocks:
        heard += len(block)
        if heard > most_seconds * rate:
            raise TooLong(f"audio may be {most_seconds:g} s long, and this file is longer")
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
        yield block
    if not heard:
        raise BadAudio("`file` holds no samples")


def _joined(blocks: Iterator[Waveform], rate: int) -> Waveform:
    if rate == RATE:
        return np.concatenate(list(blocks))
    stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
    parts = [stream.resample_chunk(block) for block in blocks]
    parts.append(stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True))
    return np.concatenate(parts)
