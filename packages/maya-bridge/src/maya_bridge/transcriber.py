"""The `maya-llm` transcriber plugin: any code that knows the plugin group can run a SpeechLLM folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from maya_bridge.speech_llm import DECODES, SpeechLLM
from maya_encoder.audio import Audio
from maya_encoder.hypothesis import Hypothesis


class LoadedSpeechLLM:
    """A model with its way of decoding."""

    def __init__(self, model: SpeechLLM, decode: str):
        self.model = model
        self.decode = decode

    def transcribe(
        self, audio: Sequence[Audio], langs: str | Sequence[str], batch_size: int = 16
    ) -> list[Hypothesis]:
        """Return a hypothesis for each file or array, in their order."""
        return self.model.transcribe(audio, langs, batch_size=batch_size, decode=self.decode)


@dataclass(kw_only=True)
class SpeechLLMTranscriber:
    """Config of the `maya-llm` transcriber."""

    name: str = "maya-llm"
    """Plugin name."""
    decode: Literal["greedy", "ctc", "rnnt", "tdt"] = "greedy"
    """greedy: the LLM's text. ctc, rnnt, tdt: that head of the acoustic model."""

    def __post_init__(self) -> None:
        if self.decode not in DECODES:
            raise ValueError(f"`decode` must be one of {', '.join(DECODES)}, got {self.decode}")

    def build(self, model: str, device: str = "cpu") -> LoadedSpeechLLM:
        """Load the folder `model`."""
        from maya_bridge.checkpoint import load

        return LoadedSpeechLLM(load(model, device), self.decode)
