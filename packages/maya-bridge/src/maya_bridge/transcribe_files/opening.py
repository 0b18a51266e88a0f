"""Sound files to mono parts at 16 kHz, read in blocks: memory grows with neither a file nor its claims."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from maya_bridge.decoding.long_audio import TICK, unrest
from maya_bridge.transcribe_files import ffmpeg
from maya_encoder.audio import BadAudio, Waveform

RATE = 16000
PART = 300.0
"""Seconds; a longer file is read and transcribed part by part."""
QUIET = 20.0
"""Seconds before the end of a part in which the quietest point is looked for, to cut there."""
BLOCK = 2**18
"""Numbers read at a time, all channels together."""
RATES = (1000, 768_000)
LOUDEST = 2.0**16
"""Samples beyond it are no sound: files of floating samples have theirs in [-1, 1]."""


@dataclass(frozen=True)
class Part:
    """A stretch of a file; the parts of a file touch and do not overlap."""

    start: int
    """Samples at 16 kHz before it."""
    waveform: Waveform
    """Mono (S,), float32, at 16 kHz."""
    last: bool
    """Whether the file ends with it."""

    @property
    def end(self) -> int:
        """Samples up to its end."""
        return self.start + len(self.waveform)


def claimed_seconds(path: Path) -> float | None:
    """Return a file's duration as its header has it, None where it does not say.

    Raises:
        BadAudio: no such file, or nothing that can be read as sound.
    """
    sound = _opened(path)
    if sound is None:
        return ffmpeg.duration(path)
    with sound:
        return float(sound.frames / sound.samplerate)


def parts(path: Path, start: int = 0) -> Iterator[Part]:
    """Yield a file's parts, the first one that begins at sample `start` or later first.

    Raises:
        BadAudio: damaged audio, no samples, or samples that are no sound; also behind good parts.
    """
    held: list[Waveform] = []
    place = count = 0
    for block in _blocks(path):
        held.append(block)
        count += len(block)
        while count > PART * RATE:
            waveform = np.concatenate(held)
            cut = _quiet_point(waveform[: round(PART * RATE)])
            if place >= start:
                yield Part(place, waveform[:cut], last=False)
            held, place, count = [waveform[cut:]], place + cut, count - cut
    if not place + count:
        raise BadAudio(f"{path} holds no samples")
    if place >= start:
        yield Part(place, np.concatenate(held), last=True)


def _quiet_point(waveform: Waveform) -> int:
    """The sample at which to cut, in the last QUIET seconds."""
    first = len(waveform) - round(QUIET * RATE)
    cost = unrest(waveform[first:], RATE)
    return first + round((int(np.argmin(cost)) + 0.5) * TICK * RATE)


def _blocks(path: Path) -> Iterator[Waveform]:
    """A file's mono blocks at 16 kHz, each checked."""
    sound = _opened(path)
    if sound is None:
        yield from (_checked(block, path) for block in ffmpeg.blocks(path))
        return
    with sound:
        yield from _resampled((_checked(block, path) for block in _read(sound, path)), sound.samplerate)


def _opened(path: Path) -> soundfile.SoundFile | None:
    """The file, open; None where libsndfile does not know its format and ffmpeg may."""
    if path.is_dir():
        raise BadAudio(f"{path} is a folder, not a sound file")
    if not path.is_file():
        raise BadAudio(f"no such audio file: {path}")
    if not path.stat().st_size:
        raise BadAudio(f"{path} is empty")
    try:
        sound = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, TypeError, ValueError):  # the last two for samples without a header
        if ffmpeg.program() is None:
            raise BadAudio(f"{path} is not a sound file that libsndfile can read; {ffmpeg.MISSING}") from None
        return None
    if not RATES[0] <= sound.samplerate <= RATES[1]:
        sound.close()
        known = f"{RATES[0]} to {RATES[1]}"
        raise BadAudio(f"{path} must have {known} samples a second, got {sound.samplerate}")
    return sound


def _read(sound: soundfile.SoundFile, path: Path) -> Iterator[Waveform]:
    """Mono blocks at the file's own rate, however many its header claims."""
    frames = max(BLOCK // sound.channels, 1)
    while True:
        try:
            block = sound.read(frames, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            reason = getattr(error, "error_string", str(error))
            raise BadAudio(f"{path} is damaged: {reason}") from None
        if not len(block):
            return
        yield np.ascontiguousarray(block.mean(axis=1))


def _checked(block: Waveform, path: Path) -> Waveform:
    with np.errstate(invalid="ignore"):
        odd = int(np.count_nonzero(~(np.abs(block) <= LOUDEST)))
    if odd:
        raise BadAudio(f"{path} holds samples that are no sound: NaN, infinite or beyond {LOUDEST:.0f}")
    return block


def _resampled(blocks: Iterator[Waveform], rate: int) -> Iterator[Waveform]:
    if rate == RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
