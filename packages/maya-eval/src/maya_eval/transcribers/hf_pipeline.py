"""Any model that the speech recognition pipeline of `transformers` opens: Whisper, wav2vec2 (extra `hf`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maya_eval.audio import SAMPLING_RATE
from maya_eval.transcribers import Transcript, by_language, float_samples, languages_of

DTYPES = ("float32", "float16", "bfloat16", "auto")


@dataclass(kw_only=True)
class HfPipeline:
    """The automatic speech recognition pipeline of `transformers`."""

    name: str = "hf-pipeline"
    """Entry-point name."""
    dtype: str = "float32"
    """What it computes in: float32, float16, bfloat16, or auto (as the checkpoint says)."""
    chunk_length_s: float = 0.0
    """Seconds of a chunk for long recordings; 0 hands over each recording whole."""
    num_beams: int = 1
    """Beams of a model that generates; a CTC model has none."""
    max_new_tokens: int | None = None
    """Tokens at most an utterance of a model that generates; None leaves it to the checkpoint."""
    tell_language: bool = True
    """Whether a multilingual Whisper is told the language; otherwise it recognises it."""

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        if self.dtype not in DTYPES:
            raise ValueError(f"`dtype` must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.chunk_length_s < 0:
            raise ValueError(f"`chunk_length_s` must be 0 or more, got {self.chunk_length_s}")
        if self.num_beams < 1:
            raise ValueError(f"`num_beams` must be 1 or more, got {self.num_beams}")

    def build(self, model: str, device: str = "cpu") -> "LoadedPipeline":
        """Returns the pipeline of the model folder (or hub name) `model`; no code of the model's is run."""
        try:
            from transformers import pipeline
        except ImportError as error:
            raise ImportError("hf-pipeline needs transformers; pip install 'maya-eval[hf]'") from error
        loaded = pipeline("automatic-speech-recognition", model=model, device=device, dtype=self.dtype)
        tokenizer: Any = loaded.tokenizer
        if tokenizer is not None and tokenizer.pad_token is None:  # without one, nothing can be batched
            tokenizer.pad_token = tokenizer.eos_token
        return LoadedPipeline(loaded, self)


class LoadedPipeline:
    """A pipeline with its settings."""

    def __init__(self, pipeline: Any, config: HfPipeline) -> None:
        """Takes the pipeline and how to call it."""
        self.pipeline, self.config = pipeline, config
        self.dtype = str(pipeline.model.dtype).removeprefix("torch.")

    def transcribe(
        self, audio: Sequence[Any], langs: str | Sequence[str], batch_size: int = 16
    ) -> list[Transcript]:
        """Returns one transcript for each item of `audio` (samples at 16 kHz), in its order."""
        found: list[Transcript | None] = [None] * len(audio)
        for lang, positions in by_language(languages_of(langs, len(audio))):
            inputs = [{"raw": float_samples(audio[at]), "sampling_rate": SAMPLING_RATE} for at in positions]
            outputs = self.pipeline(inputs, batch_size=batch_size, **self._arguments(lang))
            for at, output in zip(positions, outputs, strict=True):
                found[at] = Transcript(output["text"].strip())
        return [item for item in found if item is not None]

    def _arguments(self, lang: str) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        if self.config.chunk_length_s:
            arguments["chunk_length_s"] = self.config.chunk_length_s
        if self.pipeline.model.can_generate():
            generate: dict[str, Any] = {"num_beams": self.config.num_beams}
            if self.config.max_new_tokens is not None:
                generate["max_new_tokens"] = self.config.max_new_tokens
            arguments["generate_kwargs"] = generate | self._language(lang)
        return arguments

    def _language(self, lang: str) -> dict[str, str]:
        """What a multilingual Whisper is told; a language that it does not know is left for it to find."""
        known = getattr(self.pipeline.model.generation_config, "lang_to_id", None) or {}
        if not known:
            return {}
        told = self.config.tell_language and f"<|{lang}|>" in known
        return {"task": "transcribe"} | ({"language": lang} if told else {})
