"""An acoustic model as a plugin of the kind `transcribers`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.audio import Audio
from maya_encoder.checkpoint import load
from maya_encoder.hypothesis import Hypothesis
from maya_encoder.transcribe_options import Options, settings_of

PLUGIN_RATE = 16000
"""Samples a second of the arrays that a transcriber plugin gets."""


@dataclass(kw_only=True)
class AcousticTranscriber:
    """Transcribes with a head of an acoustic model, or of the acoustic half of a SpeechLLM."""

    name: str = "maya-acoustic"
    """Entry-point name."""
    head: str | None = None
    """Who writes; None for tdt, else rnnt, else ctc."""
    frontend: str | None = None
    """`modern` or `legacy` features; None for what the checkpoint says."""
    beam: int = 1
    """Sequences that the search keeps; 1 is the greedy search."""
    chunk_duration: float | None = None
    """Seconds of the pieces in which longer audio is heard; None for one piece."""

    def build(self, model: str | Path, device: str = "cpu") -> "LoadedTranscriber":
        """The transcriber of `model`, whatever `maya_encoder.load` opens."""
        options: Options = {"beam": self.beam}
        if self.chunk_duration is not None:
            options["chunk_duration"] = self.chunk_duration
        loaded = load(model, self.frontend, device)
        settings_of(options, loaded.tokenizer, None)
        loaded.head(self.head)
        return LoadedTranscriber(loaded, self.head, options)


class LoadedTranscriber:
    """A loaded model with its chosen head."""

    def __init__(self, model: AcousticModel, head: str | None = None, options: Options | None = None) -> None:
        self.model = model
        self.head = head
        self.options: Options = {} if options is None else options

    def transcribe(
        self, audio: Sequence[Audio], langs: str | Sequence[str], batch_size: int = 16
    ) -> list[Hypothesis]:
        """One hypothesis for each item of `audio`, in its order; arrays are of 16 kHz."""
        return self.model.transcribe(
            audio,
            sampling_rate=PLUGIN_RATE,
            langs=langs,
            head=self.head,
            batch_size=batch_size,
            **self.options,
        )
