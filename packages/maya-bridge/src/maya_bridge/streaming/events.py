"""What a stream tells, and what it asks for in order to go on."""

from collections.abc import Generator
from dataclasses import dataclass, field

from maya_encoder.audio import Waveform
from maya_encoder.hypothesis import Hypothesis, Word


@dataclass(frozen=True)
class Delta:
    """Partial text of the open segment."""

    segment: int
    """Number of the segment in its stream, from 0."""
    delta: str
    """What became stable since the last event; the deltas of a segment joined are its stable text."""
    stable: str
    """Text that stays; every later `stable` of the segment begins with it."""
    tail: str
    """Text behind it that may still change; it begins with a space where it follows `stable`."""
    start: float
    """Second of the stream at which the segment begins."""
    end: float
    """Second up to which was heard."""

    @property
    def text(self) -> str:
        """All that was heard of the segment."""
        return self.stable + self.tail


@dataclass(frozen=True)
class Done:
    """The end of a segment."""

    segment: int
    text: str
    """The final text: the polished one where polish was asked for, else `heard`."""
    heard: str
    """What the head heard; it begins with all that was ever stable, and equals the joined deltas."""
    start: float
    end: float
    words: list[Word] = field(default_factory=list)
    """Words of `text`, with seconds of the stream."""


Event = Delta | Done


@dataclass(frozen=True)
class Listen:
    """Audio that must be transcribed before the stream can go on."""

    waveform: Waveform
    """Samples (S,) of 16 kHz."""
    lang: str
    decode: str
    hotwords: tuple[str, ...] = ()
    final: bool = False
    """Whether the text is needed; where not, no answer skips this partial result."""


Steps = Generator[Event | Listen, Hypothesis | None, None]
"""Events as they come, and questions that are answered by `send`."""
