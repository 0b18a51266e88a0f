"""What a transcription is, once it has left the model."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Word:
    """One word with its place in the audio."""

    text: str
    start: float
    """Seconds from the beginning of the audio."""
    end: float
    """Seconds; later than `start`."""
    confidence: float
    """How sure the model was, in [0, 1]."""


@dataclass(frozen=True)
class Hypothesis:
    """The text of one utterance."""

    text: str
    lang: str | None
    """Language it was written in; None where none was asked for."""
    head: str
    """Who wrote it: a head's name, or the decoder's."""
    duration: float
    """Seconds of audio."""
    tokens: list[int] = field(default_factory=list)
    """Token ids of the text, without blanks."""
    score: float = 0.0
    """Log-probability of the text, as its decoder counts it."""
    words: list[Word] = field(default_factory=list)
    """The text's words in order; empty where the writer does not tell times."""
