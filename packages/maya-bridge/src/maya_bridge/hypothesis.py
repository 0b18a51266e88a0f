"""A hypothesis of the LLM, and what is known of how it came about."""

from dataclasses import dataclass, field

from maya_bridge.decoding.result import Candidate
from maya_encoder.hypothesis import Hypothesis


@dataclass(frozen=True)
class SpeechHypothesis(Hypothesis):
    """The text of one utterance; `head` is `llm`, or `ctc` where all of the text is the CTC head's."""

    fallback: str | None = None
    """Why the text, or a part of it, is the CTC head's or empty: silence, loop, leak or hallucination."""
    doubt: str | None = None
    """What a check found wrong with the LLM's text, whatever became of it."""
    passes: int = 0
    """Calls of the LLM that the utterance took part in."""
    nbest: list[Candidate] = field(default_factory=list)
    """Of a beam search, best first; empty for audio that was cut into pieces."""
