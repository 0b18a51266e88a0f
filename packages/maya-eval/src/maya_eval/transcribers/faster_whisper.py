"""Whisper by CTranslate2, as `faster-whisper` runs it (extra `faster-whisper`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from maya_eval.transcribers import Transcript, float_samples, languages_of


@dataclass(kw_only=True)
class FasterWhisper:
    """A Whisper model in CTranslate2's format."""

    name: str = "faster-whisper"
    """Entry-point name."""
    compute_type: str = "default"
    """What it computes in: default (as the files are), int8, int8_float16, float16, float32, ..."""
    beam_size: int = 1
    """Beams; 1 is greedy."""
    tell_language: bool = True
    """Whether it is told the language; otherwise it recognises it, and the lines get `pred_lang`."""
    temperature_fallback: bool = False
    """Whether a text that looks wrong is sampled again at rising temperature, which is not repeatable."""
    vad_filter: bool = False
    """Whether silence is cut out before it listens."""
    cpu_threads: int = 0
    """Threads on a CPU; 0 leaves it to CTranslate2."""

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        for name, least in (("beam_size", 1), ("cpu_threads", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be {least} or more, got {getattr(self, name)}")

    def build(self, model: str, device: str = "cpu") -> "LoadedWhisper":
        """Returns the model of the folder (or name) `model`."""
        try:
            whisper = import_module("faster_whisper")
        except ImportError as error:
            raise ImportError(
                "faster-whisper is not installed; pip install 'maya-eval[faster-whisper]'"
            ) from error
        kind, _, number = device.partition(":")
        loaded = whisper.WhisperModel(
            model,
            device=kind,
            device_index=int(number or 0),
            compute_type=self.compute_type,
            cpu_threads=self.cpu_threads,
        )
        return LoadedWhisper(loaded, self)


class LoadedWhisper:
    """A loaded model with its settings; it takes one utterance after the other, whatever the batch size."""

    def __init__(self, model: Any, config: FasterWhisper) -> None:
        """Takes the model and how to call it."""
        self.whisper, self.config = model, config
        self.dtype = str(getattr(getattr(model, "model", None), "compute_type", config.compute_type))
        self.known = frozenset(model.supported_languages)

    def transcribe(
        self, audio: Sequence[Any], langs: str | Sequence[str], batch_size: int = 16
    ) -> list[Transcript]:
        """Returns one transcript for each item of `audio` (samples at 16 kHz), in its order."""
        chosen = languages_of(langs, len(audio))
        return [self._one(samples, lang) for samples, lang in zip(audio, chosen, strict=True)]

    def _one(self, samples: Any, lang: str) -> Transcript:
        told = lang if self.config.tell_language and lang in self.known else None
        segments, info = self.whisper.transcribe(
            float_samples(samples),
            language=told,
            task="transcribe",
            beam_size=self.config.beam_size,
            temperature=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0] if self.config.temperature_fallback else 0.0,
            vad_filter=self.config.vad_filter,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        text = "".join(segment.text for segment in segments)
        return Transcript(text.strip(), None if told else info.language)
