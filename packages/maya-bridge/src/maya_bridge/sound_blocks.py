"""Blocks of sound on their way to a model: mono, checked, at 16 kHz. Files, uploads and streams share it."""

from collections.abc import Iterable, Iterator

import numpy as np
import soundfile
import soxr

from maya_encoder.audio import BadAudio, Waveform

RATE = 16000
BLOCK = 2**18
"""Numbers read at a time, all channels together."""
RATES = (1000, 768_000)
LOUDEST = 2.0**16
"""Samples beyond it are no sound: files of floating samples have theirs in [-1, 1]."""


def check_rate(rate: int, name: object) -> None:
    """Refuse a sampling rate that no recording has.

    Raises:
        BadAudio: one sentence that begins with `name`.
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise BadAudio(f"{name} must have {RATES[0]} to {RATES[1]} samples a second, got {rate}")


def mono_blocks(sound: soundfile.SoundFile, name: object) -> Iterator[Waveform]:
    """Yield mono blocks (S,) at the file's own rate, each checked, however many its header claims.

    Raises:
        BadAudio: damaged audio, or samples that are no sound.
    """
    frames = max(BLOCK // sound.channels, 1)
    while True:
        try:
            block = sound.read(frames, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            reason = getattr(error, "error_string", str(error))
            raise BadAudio(f"{name} is damaged: {reason}") from None
        if not len(block):
            return
        yield np.ascontiguousarray(checked(block, name).mean(axis=1))


def checked(block: Waveform, name: object) -> Waveform:
    """Return the block.

    Raises:
        BadAudio: it holds what is no sound.
    """
    with np.errstate(invalid="ignore"):
        odd = int(np.count_nonzero(~(np.abs(block) <= LOUDEST)))
    if odd:
        raise BadAudio(f"{name} holds samples that are no sound: NaN, infinite or beyond {LOUDEST:.0f}")
    return block


class Resampler:
    """Blocks of any rate to 16 kHz, as if they were one; nothing is done to blocks of 16 kHz.

    Args:
        rate: samples a second of what comes in.
    """

    def __init__(self, rate: int) -> None:
        self._stream = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, dtype="float32")

    def push(self, block: Waveform) -> Waveform:
        """Return what is ready with this block; a little waits for the next one."""
        return block if self._stream is None else np.asarray(self._stream.resample_chunk(block))

    def rest(self) -> Waveform:
        """Return what still waits, at the end of the sound; then another one may begin."""
        empty = np.zeros(0, dtype=np.float32)
        if self._stream is None:
            return empty
        found = np.asarray(self._stream.resample_chunk(empty, last=True))
        self._stream.clear()
        return found


def resampled(blocks: Iterable[Waveform], rate: int) -> Iterator[Waveform]:
    """Yield the blocks of one sound at 16 kHz."""
    resampler = Resampler(rate)
    for block in blocks:
        yield resampler.push(block)
    yield resampler.rest()
