"""An acoustic model as a plugin of the kind `transcribers`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.audio import Audio
from maya_encoder.checkpoint import load
from maya_encoder.hypothesis import Hypothesis


@dataclass(kw_only=True)
class AcousticTranscriber:
    """Transcribes with a head of an acoustic model, or of the acoustic half of a SpeechLLM."""

    name: str = "maya-acoustic"
    """Entry-point name."""
    head: str | None = None
    """Who writes; None for the transducer where there is one."""

    def build(self, model: str | Path, device: str = "cpu") -> "LoadedTranscriber":
        """The transcriber of the model folder `model`."""
        loaded = load(model, device)
        loaded.head(self.head)
        return LoadedTranscriber(loaded, self.head)


class LoadedTranscriber:
    """A loaded model with its chosen head."""

    def __init__(self, model: AcousticModel, head: str | None = None) -> None:
        self.model = model
        self.head = head

    def transcribe(
        self, audio: Sequence[Audio], langs: str | Sequence[str], batch_size: int = 16
    ) -> list[Hypothesis]:
        """One hypothesis for each item of `audio`, in its order."""
        return self.model.transcribe(audio, langs, batch_size, self.head)
