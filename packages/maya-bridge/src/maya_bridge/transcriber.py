"""The `maya-llm` transcriber plugin: any code that knows the plugin group can run a SpeechLLM folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from maya_bridge.decoding.options import DecodeOptions
from maya_bridge.transcription import HEADS, check_decode
from maya_encoder.audio import Audio
from maya_encoder.hypothesis import Hypothesis

if TYPE_CHECKING:
    from maya_bridge.speech_llm import SpeechLLM


class LoadedSpeechLLM:
    """A model with its way of decoding."""

    def __init__(self, model: "SpeechLLM", decode: str, options: DecodeOptions | None = None):
        self.model = model
        self.decode = decode
        self.options = options

    def transcribe(
        self, audio: Sequence[Audio], langs: str | Sequence[str], batch_size: int = 16
    ) -> Sequence[Hypothesis]:
        """Return a hypothesis for each file or array, in their order."""
        return self.model.transcribe(
            audio, langs, batch_size=batch_size, decode=self.decode, options=self.options
        )


@dataclass(kw_only=True)
class SpeechLLMTranscriber:
    """Config of the `maya-llm` transcriber."""

    name: str = "maya-llm"
    """Plugin name."""
    decode: Literal["greedy", "beam", "speculative", "ctc", "rnnt", "tdt"] = "greedy"
    """greedy, beam, speculative: the LLM's text. ctc, rnnt, tdt: that head of the acoustic model."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of `DecodeOptions`: beam_size, hallucination, script, hotwords, ..."""

    def __post_init__(self) -> None:
        check_decode(self.decode)
        if self.options and self.decode in HEADS:
            raise ValueError(
                f"`options` are about the LLM's text, and `decode` is {self.decode}; leave them out"
            )
        self._decode_options()

    def _decode_options(self) -> DecodeOptions:
        try:
            return DecodeOptions(**self.options)
        except TypeError as error:
            raise ValueError(f"`options` must be fields of DecodeOptions: {error}") from None

    def build(self, model: str, device: str = "cpu") -> LoadedSpeechLLM:
        """Load the folder `model`."""
        from maya_bridge.checkpoint import load

        options = None if self.decode in HEADS else self._decode_options()
        return LoadedSpeechLLM(load(model, device), self.decode, options)
