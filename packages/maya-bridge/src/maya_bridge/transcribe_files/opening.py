"""Sound files to mono parts at 16 kHz, read in blocks: memory grows with neither a file nor its claims."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from maya_bridge.decoding.long_audio import TICK, unrest
from maya_bridge.sound_blocks import RATE, check_rate, checked, mono_blocks, resampled
from maya_bridge.transcribe_files import ffmpeg
from maya_encoder.audio import BadAudio, Waveform

PART = 300.0
"""Seconds; a longer file is read and transcribed part by part."""
QUIET = 20.0
"""Seconds before the end of a part in which the quietest point is looked for, to cut there."""


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
        yield from (checked(block, path) for block in ffmpeg.blocks(path))
        return
    with sound:
        yield from resampled(mono_blocks(sound, path), sound.samplerate)


def _opened(path: Path) -> soundfile.SoundFile | None:
    """The file, open; None where libsndfile does not know its format and ffmpeg may."""
    if path.is_dir():
        raise BadAudio(f"{path} is a folder, not a sound file")
    if not path.exists():
        raise BadAudio(f"no such audio file: {path}")
    if not path.is_file():  # audio is read twice and sought in, and a pipe may wait forever
        raise BadAudio(f"{path} is a pipe or a device, not a file; send its audio to standard input, as `-`")
    if not path.stat().st_size:
        raise BadAudio(f"{path} is empty")
    try:
        sound = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, TypeError, ValueError):  # the last two for samples without a header
        if ffmpeg.program() is None:
            raise BadAudio(f"{path} is not a sound file that libsndfile can read; {ffmpeg.MISSING}") from None
        return None
    try:
        check_rate(sound.samplerate, path)
    except BadAudio:
        sound.close()
        raise
    return sound
