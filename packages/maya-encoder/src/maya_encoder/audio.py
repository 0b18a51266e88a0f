"""Sound files and arrays to mono waveforms of one sampling rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

Audio = str | Path | np.ndarray


class BadAudio(ValueError):
    """Audio that cannot be read; the message names it."""


def load_audio(audio: Audio, sampling_rate: int = 16000) -> np.ndarray[Any, Any]:
    """The mono waveform (S,), float32 in [-1, 1].

    Args:
        audio: a file that libsndfile reads, or an array (S,) or (S, channels) of that rate already,
            floating in [-1, 1] or int16.
        sampling_rate: samples a second of the result.
    """
    if isinstance(audio, np.ndarray):
        waveform = audio.astype(np.float32) / (32768.0 if audio.dtype == np.int16 else 1.0)
        return _mono(waveform, "audio array")
    path = Path(audio)
    if not path.is_file():
        raise BadAudio(f"no such audio file: {path}")
    try:
        waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise BadAudio(f"{path} is not a sound file that libsndfile can read: {error.error_string}") from None
    waveform = _mono(waveform, str(path))
    return waveform if rate == sampling_rate else soxr.resample(waveform, rate, sampling_rate)


def pad_waveforms(waveforms: Sequence[np.ndarray[Any, Any]]) -> tuple[Tensor, Tensor]:
    """One zero-padded batch (B, S) and its lengths (B,)."""
    lens = torch.tensor([len(waveform) for waveform in waveforms])
    batch = torch.zeros(len(waveforms), int(lens.max()))
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return batch, lens


def _mono(waveform: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    if waveform.size == 0:
        raise BadAudio(f"{name} holds no samples")
    return np.ascontiguousarray(waveform.mean(axis=1) if waveform.ndim == 2 else waveform)
