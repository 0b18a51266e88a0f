"""How fast a system was: seconds of audio a second of work (RTFx), and under which settings.

RTFx is the audio of all utterances over the work on them: the transcribe calls, features and decoding
included, file reading not. Utterances marked as warm-up are left out. A figure without batch size,
precision and device says little, so they are shown where the lines have them (`batch_size`, `dtype`,
`device`).
"""

from dataclasses import dataclass, field
from typing import Any

from maya_eval.hypotheses import Hypothesis

SETTINGS = ("batch_size", "dtype", "device", "warmup_batches")
WARMUP = "warmup"


@dataclass
class Speed:
    """Sums over the utterances that give both `duration` and `elapsed`."""

    audio_seconds: float = 0.0
    work_seconds: float = 0.0
    utterances: int = 0
    warmup: int = 0
    """Utterances left out because the system was warming up."""
    settings: dict[str, list[str]] = field(default_factory=dict)
    """Values of batch size, precision, device and warm-up, as far as the lines name them."""

    def add(self, row: Hypothesis) -> None:
        """Counts one utterance."""
        if row.duration is None or row.elapsed is None:
            return
        if row.extra.get(WARMUP):
            self.warmup += 1
            return
        self.audio_seconds += row.duration
        self.work_seconds += row.elapsed
        self.utterances += 1
        for name in SETTINGS:
            value = row.column(name)
            if value and value not in (values := self.settings.setdefault(name, [])):
                values.append(value)

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio a second of work; None where no time was taken."""
        return self.audio_seconds / self.work_seconds if self.work_seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as JSON takes them."""
        return {
            "rtfx": self.rtfx,
            "audio_seconds": self.audio_seconds,
            "work_seconds": self.work_seconds,
            "utterances": self.utterances,
            "warmup_utterances": self.warmup,
            **{name: ", ".join(self.settings.get(name, [])) or None for name in SETTINGS},
        }

    def sentence(self) -> str:
        """Returns the figure with what it was measured under."""
        told = [f"{name.replace('_', ' ')} {', '.join(values)}" for name, values in self.settings.items()]
        left_out = f", {self.warmup} warm-up left out" if self.warmup else ""
        rtfx = "-" if self.rtfx is None else f"{self.rtfx:.1f}"
        return (
            f"RTFx {rtfx}: seconds of audio a second of work, {self.utterances} utterances{left_out}; "
            f"{'; '.join(told) or 'batch size, dtype and device not told'}"
        )
