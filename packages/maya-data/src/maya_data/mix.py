"""How much of each language an epoch holds: shares of hours with a cap on repeats."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from maya_data.segments import EMPTY_TEXT, SegmentIndex

Floats = npt.NDArray[np.float64]


@dataclass(kw_only=True)
class MixConfig:
    """Balance of languages in one epoch."""

    policy: Literal["temperature", "weights", "natural"] = "temperature"
    """`natural` takes every segment once, `temperature` shares of hours ** alpha, `weights` yours."""
    alpha: float = 0.5
    """Exponent of `temperature`: 1 is natural, 0 gives every language the same hours."""
    max_repeats: float = 8.0
    """No language is heard more often than this in one epoch; what it leaves goes to the others."""
    epoch_hours: float | None = None
    """Hours of one epoch; null takes the hours of the index."""
    weights: dict[str, float] = field(default_factory=dict)
    """Language -> weight of its hours, for `weights`; every language of the index needs one."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if self.policy not in ("temperature", "weights", "natural"):
            raise ValueError(f"`policy` must be temperature, weights or natural, got {self.policy!r}")
        if self.max_repeats <= 0:
            raise ValueError(f"`max_repeats` must be above 0, got {self.max_repeats}")
        if self.epoch_hours is not None and self.epoch_hours <= 0:
            raise ValueError(f"`epoch_hours` must be above 0, got {self.epoch_hours}")
        if self.weights and self.policy != "weights":
            raise ValueError(f"`weights` has no effect with policy {self.policy!r}; set policy=weights")
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError(f"`weights` must not be negative, got {self.weights}")


@dataclass(frozen=True)
class MixRow:
    """One language in an epoch."""

    lang: str
    segments: int
    """Segments that there are."""
    hours: float
    """Hours that there are."""
    epoch_segments: int
    """Segments of an epoch, repeats counted."""
    epoch_hours: float
    """Hours of an epoch."""
    share: float
    """Part of the epoch's hours."""
    repeats: float
    """How often an epoch goes through the language."""


def repeats(hours: Floats, langs: list[str], mix: MixConfig) -> Floats:
    """Return how often one epoch goes through each language (L,); languages without hours get 0."""
    if mix.policy == "natural" and mix.epoch_hours is None:
        return (hours > 0).astype(np.float64)
    return np.divide(_targets(hours, langs, mix), hours, out=np.zeros_like(hours), where=hours > 0)


def _targets(hours: Floats, langs: list[str], mix: MixConfig) -> Floats:
    """Share the epoch's hours out; what a capped language cannot take goes to the others."""
    weights = _weights(hours, langs, mix) * (hours > 0)
    budget = mix.epoch_hours or float(hours.sum())
    caps = mix.max_repeats * hours
    targets = np.zeros_like(hours)
    free = weights > 0
    while free.any():
        targets[free] = (budget - targets[~free].sum()) * weights[free] / weights[free].sum()
        over = free & (targets > caps)
        if not over.any():
            break
        targets[over] = caps[over]
        free &= ~over
    return targets


def _weights(hours: Floats, langs: list[str], mix: MixConfig) -> Floats:
    if mix.policy == "weights":
        missing = [
            lang for lang, there in zip(langs, hours, strict=True) if there and lang not in mix.weights
        ]
        unknown = [lang for lang in mix.weights if lang not in langs]
        if missing or unknown:
            what = f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r}, which the index has not"
            raise ValueError(f"`weights` {what}; the languages are: {', '.join(langs)}")
        return np.array([mix.weights.get(lang, 0.0) for lang in langs])
    alpha = 1.0 if mix.policy == "natural" else mix.alpha
    return np.power(hours, alpha, out=np.zeros_like(hours), where=hours > 0)


def usable(index: SegmentIndex, min_duration: float, max_duration: float) -> npt.NDArray[np.bool_]:
    """Return which segments can be trained on (N,): duration inside the limits, transcript not empty."""
    durations = index.durations
    empty = (index.columns["flags"] & EMPTY_TEXT).astype(bool)
    keep: npt.NDArray[np.bool_] = (durations >= min_duration) & (durations <= max_duration) & ~empty
    return keep


def explain(index: SegmentIndex, mix: MixConfig, keep: npt.NDArray[np.bool_] | None = None) -> list[MixRow]:
    """Return one row a language, before anything is trained; `keep` (N,) leaves segments out."""
    kept: Any = slice(None) if keep is None else keep
    lang_ids = np.asarray(index.lang_ids)[kept]
    counts = np.bincount(lang_ids, minlength=len(index.langs))
    hours = np.bincount(lang_ids, np.asarray(index.durations, np.float64)[kept], len(index.langs)) / 3600
    ratios = repeats(hours, index.langs, mix)
    total = max(float((ratios * hours).sum()), 1e-12)
    columns = zip(index.langs, counts, hours, ratios, strict=True)
    return [
        MixRow(
            lang, int(n), float(h), round(n * ratio), float(ratio * h), float(ratio * h) / total, float(ratio)
        )
        for lang, n, h, ratio in columns
    ]
