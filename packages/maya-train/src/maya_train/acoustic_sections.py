"""Sections of a run about the acoustic model: features, masks over them, the language as an input."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class FrontendConfig:
    """Log-mel features; the arguments of `maya_encoder.features.LogMel`."""

    num_mels: int = 80
    """Mel bins."""
    frontend: Literal["modern", "legacy"] = "modern"
    """Numerics of the recipe that a checkpoint was trained with."""
    dither: float = 1.0e-5
    """Standard deviation of the noise added to a waveform in training."""
    sampling_rate: int = 16_000
    """Hertz; audio at another rate is resampled when it is read."""


@dataclass(kw_only=True)
class SpecAugmentConfig:
    """Masks over the features in training; the arguments of `maya_encoder.specaugment.SpecAugment`."""

    num_freq_masks: int = 2
    """Frequency masks an utterance."""
    freq_width: int = 27
    """Widest frequency mask, in mel bins."""
    num_time_masks: int = 10
    """Time masks an utterance."""
    time_width: float = 0.05
    """Widest time mask, as a fraction of the utterance."""


@dataclass(kw_only=True)
class LanguagePromptConfig:
    """The language as an input behind the encoder; the arguments of `maya_encoder.language_prompt`."""

    num_prompts: int = 128
    """Length of the one-hot vector; places beyond the languages in use are room to grow."""
    lang_prompts: dict[str, int] | None = None
    """Place of each language in it; null: its place in `langs`."""
