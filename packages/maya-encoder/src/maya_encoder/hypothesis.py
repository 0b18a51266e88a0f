"""What a transcription is, once it has left the model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """The text of one utterance."""

    text: str
    lang: str
    head: str
    """Who wrote it: a head's name, or the decoder's."""
    duration: float
    """Seconds of audio."""
