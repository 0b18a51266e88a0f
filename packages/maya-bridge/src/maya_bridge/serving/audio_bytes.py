"""An audio file out of nobody's trusted hands to mono samples, read in blocks and given up early."""

import time
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from maya_bridge.serving.containers import NAME, is_container, read_container
from maya_bridge.sound_blocks import RATE, check_rate, checked, mono_blocks, resampled
from maya_encoder.audio import BadAudio, Waveform

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
    head = file.read(64)
    file.seek(0)
    if is_container(head):
        found = (checked(block, NAME) for block in read_container(file, most_seconds, deadline))
        return _joined(_limited(found, RATE, most_seconds, deadline), RATE)
    with _opened(file) as sound:
        _check_header(sound, most_seconds)
        blocks = _limited(mono_blocks(sound, NAME), sound.samplerate, most_seconds, deadline)
        return _joined(blocks, sound.samplerate)


def _opened(file: BinaryIO) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
    except (TypeError, ValueError):  # bare samples, whose rate nobody knows
        reason = "it has no header"
    raise BadAudio(f"{NAME} is no audio file that can be read: {reason}")


def _check_header(sound: soundfile.SoundFile, most_seconds: float) -> None:
    check_rate(sound.samplerate, NAME)
    seconds = sound.frames / sound.samplerate
    if seconds > most_seconds:
        raise TooLong(f"audio may be {most_seconds:g} s long, and this file says {seconds:.0f} s")
    if sound.frames * sound.channels > most_seconds * MOST_RATE:
        raise TooLong(
            f"audio of {sound.channels} channels and {sound.samplerate} Hz may not be as long as this"
        )


def _limited(
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
        raise BadAudio(f"{NAME} holds no samples")


def _joined(blocks: Iterator[Waveform], rate: int) -> Waveform:
    return np.concatenate(list(resampled(blocks, rate)))
