"""Sound files and arrays to mono waveforms of one sampling rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

Audio = str | Path | np.ndarray | Tensor
"""A file that libsndfile reads, or samples (S,), (S, channels) or (channels, S)."""
Waveform = np.ndarray[Any, Any]
"""Mono samples (S,), float32 in [-1, 1]."""


class BadAudio(ValueError):
    """Audio that cannot be used; the message names it."""


def load_audio(audio: Audio, sampling_rate: int = 16000, array_rate: int | None = None) -> Waveform:
    """The mono waveform (S,), float32 in [-1, 1], at `sampling_rate`.

    Args:
        audio: a file of any rate, or samples that are floating in [-1, 1], int16 or int32. Of two dimensions
            the shorter one is the channels, which are averaged.
        sampling_rate: samples a second of the result.
        array_rate: samples a second of an array; None for those of the result. Files know their own.

    Raises:
        BadAudio: no such file, not a sound file, no samples, or samples that are no finite numbers.
        ValueError: a sampling rate that is not positive.
    """
    check_rate(sampling_rate)
    if isinstance(audio, str | Path):
        waveform, rate = _read(Path(audio))
        name = str(audio)
    else:
        waveform, rate = _samples(audio), sampling_rate if array_rate is None else check_rate(array_rate)
        name = "the audio array"
    waveform = _mono(_finite(waveform, name))
    return waveform if rate == sampling_rate else soxr.resample(waveform, rate, sampling_rate)


def audio_duration(audio: Audio, array_rate: int) -> float:
    """Seconds of audio, from a file's header where it is a file; refuses what is no audio.

    Raises:
        BadAudio: no such file, not a sound file, or an array that holds no sound.
    """
    if not isinstance(audio, str | Path):
        return len(_samples(audio)) / check_rate(array_rate)
    with _opened(Path(audio)) as file:
        return float(file.frames / file.samplerate)


def check_rate(sampling_rate: int) -> int:
    """The rate itself, if it is one."""
    number = isinstance(sampling_rate, int | float | np.integer) and not isinstance(sampling_rate, bool)
    if not number or sampling_rate < 1 or sampling_rate % 1 != 0:
        raise ValueError(f"`sampling_rate` must be a whole number of samples a second, got {sampling_rate!r}")
    return int(sampling_rate)


def pad_waveforms(waveforms: Sequence[Waveform]) -> tuple[Tensor, Tensor]:
    """One zero-padded batch (B, S) and its lengths (B,)."""
    lens = torch.tensor([len(waveform) for waveform in waveforms])
    batch = torch.zeros(len(waveforms), int(lens.max()))
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return batch, lens


def _read(path: Path) -> tuple[Waveform, int]:
    with _opened(path) as file:
        try:
            return file.read(dtype="float32", always_2d=True), file.samplerate
        except soundfile.LibsndfileError as error:
            raise BadAudio(f"{path} is damaged: {error.error_string}") from None


def _opened(path: Path) -> soundfile.SoundFile:
    if path.is_dir():
        raise BadAudio(f"{path} is a folder, not a sound file")
    if not path.is_file():
        raise BadAudio(f"no such audio file: {path}")
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        reason = error.error_string
    except (TypeError, ValueError):  # a file of bare samples, whose rate and format nobody knows
        reason = "it has no header"
    raise BadAudio(f"{path} is not a sound file that libsndfile can read: {reason}")


def _samples(audio: Any) -> Waveform:
    if isinstance(audio, Tensor):
        audio = audio.detach().float().cpu().numpy() if audio.is_floating_point() else audio.cpu().numpy()
    if not isinstance(audio, np.ndarray):
        raise BadAudio(f"audio must be a file name or an array of samples, got {type(audio).__name__}")
    if audio.ndim not in (1, 2):
        raise BadAudio(f"an audio array must be (S,) or (S, channels), got shape {audio.shape}")
    if audio.size == 0:
        raise BadAudio("the audio array holds no samples")
    if audio.dtype in (np.int16, np.int32):
        waveform = audio.astype(np.float32) / -float(np.iinfo(audio.dtype).min)
    elif audio.dtype.kind == "f":
        waveform = audio.astype(np.float32)
    else:
        raise BadAudio(f"an audio array must be floating, int16 or int32, got {audio.dtype}")
    return waveform.T if waveform.ndim == 2 and len(waveform) < waveform.shape[1] else waveform


def _finite(waveform: Waveform, name: str) -> Waveform:
    if waveform.size == 0:
        raise BadAudio(f"{name} holds no samples")
    if not (finite := np.isfinite(waveform)).all():
        odd = int(np.size(finite) - finite.sum())
        raise BadAudio(f"{name} holds {odd} samples of {finite.size} that are NaN or infinite")
    return waveform


def _mono(waveform: Waveform) -> Waveform:
    return np.ascontiguousarray(waveform.mean(axis=1) if waveform.ndim == 2 else waveform, dtype=np.float32)
