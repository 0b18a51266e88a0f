"""Log-mel features on the device of the audio, with the numerics of NeMo's two front ends.

Pre-emphasis, STFT, Slaney mel filters, logarithm, then the utterance normalised, as a rule bin by bin.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_encoder.lengths import valid_mask

NUM_FFT = 512
MAX_SAMPLING_RATE = NUM_FFT * 40  # a window of 25 ms must fit into the transform
PREEMPHASIS = 0.97
LOG_GUARD = 2.0**-24
STD_GUARD = 1e-5

Frontend = Literal["modern", "legacy"]
Normalize = Literal["per_feature", "all_features", "none"]


class LogMel(nn.Module):
    """Waveforms to normalised log-mel features.

    `modern` pads the STFT with zeros, clears what pre-emphasis writes behind the end of an utterance and
    counts `samples // hop` frames, so that a batch gives every utterance the features it has alone. `legacy`
    is what checkpoints from before June 2025 were trained with: reflection at the ends of the batch, nothing
    cleared, one frame more.

    Args:
        num_mels: mel bins, 80 and 128 in published models.
        frontend: `modern` or `legacy`.
        dither: deviation of the noise that training adds to samples in [-1, 1].
        sampling_rate: samples a second.
        normalize: bring each bin of an utterance (`per_feature`), or all together (`all_features`), to mean 0
            and deviation 1, or leave the logarithms (`none`).
        pad_to: frames of the batch are made a multiple of this with zeros; 0 adds none. Only models without
            masks in their subsampling notice; NeMo's `transcribe` turns it off.
    """

    def __init__(
        self,
        num_mels: int = 80,
        frontend: Frontend = "modern",
        dither: float = 1e-5,
        sampling_rate: int = 16000,
        normalize: Normalize = "per_feature",
        pad_to: int = 0,
    ) -> None:
        super().__init__()
        if frontend not in get_args(Frontend):
            raise ValueError(f"`frontend` must be modern or legacy, got {frontend!r}")
        if normalize not in get_args(Normalize):
            raise ValueError(f"`normalize` must be {', '.join(get_args(Normalize))}, got {normalize!r}")
        if num_mels < 1:
            raise ValueError(f"`num_mels` must be 1 or more, got {num_mels}")
        if pad_to < 0:
            raise ValueError(f"`pad_to` must be 0 or more, got {pad_to}")
        if not 100 <= sampling_rate <= MAX_SAMPLING_RATE:
            wanted = f"between 100 and {MAX_SAMPLING_RATE}"
            raise ValueError(f"`sampling_rate` must be {wanted}, got {sampling_rate}")
        self.num_mels = num_mels
        self.frontend = frontend
        self.dither = dither
        self.sampling_rate = sampling_rate
        self.normalize = normalize
        self.pad_to = pad_to
        self.hop = sampling_rate // 100
        self.window: Tensor
        self.filters: Tensor
        window = torch.hann_window(sampling_rate // 40, periodic=False, dtype=torch.float32)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", mel_filters(num_mels, sampling_rate), persistent=False)

    def feature_lens(self, waveform_lens: Tensor) -> Tensor:
        """Valid frames of utterances with that many samples."""
        frames = torch.div(waveform_lens, self.hop, rounding_mode="floor")
        return frames + 1 if self.frontend == "legacy" else frames

    def forward(self, waveforms: Tensor, waveform_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Features and their lengths.

        Args:
            waveforms: int16, or floats in [-1, 1], (B, S).
            waveform_lens: valid samples, (B,).

        Returns:
            Features (B, T, F) in float32, zero behind each utterance, and lengths (B,).
        """
        with torch.autocast(waveforms.device.type, enabled=False):
            audio = self._emphasised(_as_float(waveforms), waveform_lens)
            log_mel = self._log_mel(audio)  # (B, T, F)
            lens = self.feature_lens(waveform_lens)
            features = normalized(log_mel, lens, self.normalize)
        missing = -features.shape[1] % self.pad_to if self.pad_to else 0
        return F.pad(features, (0, 0, 0, missing)), lens

    def _emphasised(self, audio: Tensor, lens: Tensor) -> Tensor:
        if self.training and self.dither > 0:
            audio = audio + self.dither * torch.randn_like(audio)
        audio = torch.cat([audio[:, :1], audio[:, 1:] - PREEMPHASIS * audio[:, :-1]], dim=1)
        if self.frontend == "legacy":
            # Reflection needs more samples than it mirrors.
            return F.pad(audio, (0, max(0, NUM_FFT // 2 + 1 - audio.shape[1])))
        return audio.masked_fill(~valid_mask(lens, audio.shape[1]), 0.0)

    def _log_mel(self, audio: Tensor) -> Tensor:
        spectrum = torch.stft(
            audio,
            NUM_FFT,
            hop_length=self.hop,
            win_length=len(self.window),
            window=self.window,
            center=True,
            pad_mode="reflect" if self.frontend == "legacy" else "constant",
            return_complex=True,
        )  # (B, 257, T)
        power = spectrum.real.square() + spectrum.imag.square()
        if self.frontend == "modern":  # the last frame is centred behind the last counted one
            power = power[..., : max(1, audio.shape[1] // self.hop)]
        return (power.transpose(1, 2) @ self.filters + LOG_GUARD).log()  # (B, T, F)


def normalized(features: Tensor, lens: Tensor, kind: Normalize) -> Tensor:
    """Mean 0 and deviation 1 over the valid frames of an utterance (B, T, F); zeros behind them.

    The deviation is that of a sample (n - 1), and 0 for a single value, to which `STD_GUARD` is added.
    """
    padding = ~valid_mask(lens, features.shape[1])[..., None]  # (B, T, 1)
    if kind == "none":
        return features.masked_fill(padding, 0.0)
    over, size = ((1,), 1) if kind == "per_feature" else ((1, 2), features.shape[2])
    count = lens.to(features.dtype)[:, None, None] * size
    mean = features.masked_fill(padding, 0.0).sum(over, keepdim=True) / count.clamp(min=1)  # (B, 1, F or 1)
    centred = (features - mean).masked_fill(padding, 0.0)
    std = (centred.square().sum(over, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    return centred / (std + STD_GUARD)


def mel_filters(num_mels: int, sampling_rate: int) -> Tensor:
    """Triangles of equal area, evenly spaced on Slaney's mel scale from 0 to half the rate, (257, F)."""
    top = _hertz_to_mel(sampling_rate / 2)
    mels = torch.linspace(0, top, num_mels + 2, dtype=torch.float64)
    edges = _mel_to_hertz(mels)  # (F + 2,)
    bins = torch.linspace(0, sampling_rate / 2, NUM_FFT // 2 + 1, dtype=torch.float64)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * (2.0 / (high - low))).float()


# Slaney's scale: linear up to 1000 Hz, then 27 steps for each factor of 6.4.
_LINEAR_TOP, _HERTZ_A_MEL, _LOG_STEP = 1000.0, 200.0 / 3, math.log(6.4) / 27


def _hertz_to_mel(hertz: float) -> float:
    if hertz < _LINEAR_TOP:
        return hertz / _HERTZ_A_MEL
    return _LINEAR_TOP / _HERTZ_A_MEL + math.log(hertz / _LINEAR_TOP) / _LOG_STEP


def _mel_to_hertz(mels: Tensor) -> Tensor:
    above = mels - _LINEAR_TOP / _HERTZ_A_MEL
    return torch.where(above < 0, mels * _HERTZ_A_MEL, _LINEAR_TOP * torch.exp(_LOG_STEP * above))


def _as_float(waveforms: Tensor) -> Tensor:
    return waveforms.float() / 32768 if waveforms.dtype == torch.int16 else waveforms.float()
