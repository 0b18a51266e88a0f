"""The `preprocessor` and `spec_augment` sections of a NeMo config as arguments of ours.

NeMo 2.5 changed features and subsampling of all models, with no key in the config: what a checkpoint was
trained with is told by the version that wrote it alone.
"""

import re
from typing import Any

from maya_encoder.interop.nemo_section import Section

MODERN_SINCE = (2, 5)
"""First NeMo with the modern front end (its pull request 13827)."""

_FIXED: dict[str, tuple[tuple[Any, ...], Any]] = {
    "window": (("hann",), "hann"),
    "preemph": ((0.97,), 0.97),
    "lowfreq": ((0,), 0),
    "log": ((True,), True),
    "log_zero_guard_type": (("add",), "add"),
    "log_zero_guard_value": ((2**-24,), 2**-24),
    "frame_splicing": ((1,), 1),
    "exact_pad": ((False,), False),
    "mag_power": ((2.0,), 2.0),
    "mel_norm": (("slaney",), "slaney"),
    "window_stride": ((0.01,), 0.01),
    "pad_value": ((0,), 0),
}
"""Keys that only one value is known for, and what NeMo takes for an absent key."""

_NORMALIZE = {"per_feature": "per_feature", "all_features": "all_features", "NA": "none", None: "none"}


def frontend_of(version: Any) -> str:
    """`modern` or `legacy`, whichever NeMo `version` computed; very old archives give none and are legacy."""
    numbers = re.match(r"(\d+)\.(\d+)", str(version or ""))
    return "modern" if numbers and (int(numbers[1]), int(numbers[2])) >= MODERN_SINCE else "legacy"


def frontend_arguments(preprocessor: Section, frontend: str) -> dict[str, Any]:
    """Arguments of `LogMel`.

    Raises:
        BadCheckpoint: a key has a value that `LogMel` does not compute.
    """
    target = str(preprocessor.get("_target_", preprocessor.get("cls", "AudioToMelSpectrogramPreprocessor")))
    if not target.endswith("AudioToMelSpectrogramPreprocessor"):
        raise preprocessor.refusal("_target_", target, "an AudioToMelSpectrogramPreprocessor")
    for key, (known, default) in _FIXED.items():
        preprocessor.one_of(key, known, default)
    rate = preprocessor.whole("sample_rate", 16000)
    preprocessor.one_of("window_size", (0.025,), 0.02)
    for key, wanted, automatic in (
        ("n_fft", 512, 2 ** (rate // 40 - 1).bit_length()),
        ("highfreq", rate / 2, rate / 2),
    ):
        if preprocessor.get(key, automatic) != wanted:
            raise preprocessor.refusal(key, preprocessor.get(key, automatic), str(wanted))
    return {
        "num_mels": preprocessor.whole("features", 64),
        "frontend": frontend,
        "dither": preprocessor.number("dither", 1e-5),
        "sampling_rate": rate,
        "normalize": _NORMALIZE[preprocessor.one_of("normalize", tuple(_NORMALIZE), "per_feature")],
        "pad_to": preprocessor.whole("pad_to", 16),
    }


def specaugment_arguments(section: Section) -> dict[str, Any] | None:
    """Arguments of `SpecAugment`, or None where there are no masks or ones of another kind."""
    masks = section.get("freq_masks", 0), section.get("time_masks", 0)
    width = section.get("time_width", 0)
    if not any(masks) or not isinstance(width, float):
        return None
    return {
        "num_freq_masks": masks[0],
        "freq_width": max(1, section.get("freq_width", 0)),
        "num_time_masks": masks[1],
        "time_width": width,
    }
