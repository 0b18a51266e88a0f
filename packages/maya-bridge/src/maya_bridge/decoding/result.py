"""What a search gives back."""

from dataclasses import dataclass, field, replace

from maya_encoder.hypothesis import Word


@dataclass(frozen=True)
class Candidate:
    """One text of an n-best list."""

    text: str
    ids: list[int]
    """Tokens of the LLM, without <eos>."""
    llm_score: float
    """Log-probability of the tokens and <eos>."""
    ctc_score: float = 0.0
    """Log-probability that the CTC head gives to the text."""
    score: float = 0.0
    """Both together, as the list is sorted by."""


@dataclass(frozen=True)
class Decoded:
    """The text of one utterance."""

    ids: list[int]
    """Tokens of the LLM, without <eos>; empty for a text of the CTC head."""
    text: str
    """In native script."""
    score: float = 0.0
    """Log-probability of the tokens, and of <eos> where it was written."""
    passes: int = 0
    """Calls of the LLM that this utterance took part in, that for the prompt counted."""
    fallback: str | None = None
    """Why the text is the CTC head's or empty: silence, gate (so sure a draft that the LLM was not asked),
    loop, leak (of hotwords) or hallucination; None where it is the LLM's."""
    doubt: str | None = None
    """What a check found wrong with the LLM's text, whatever became of it."""
    finished: bool = True
    """Whether the text ended by <eos>, not by a cap or a guard."""
    nbest: list[Candidate] = field(default_factory=list)
    """Of a beam search, best first."""
    words: list[Word] = field(default_factory=list)
    """The words with times and confidence, where there is a CTC head to tell them."""

    def with_text(self, text: str, reason: str) -> "Decoded":
        """Return the same with another's text."""
        return replace(self, ids=[], text=text, fallback=reason, doubt=reason)

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability of a token, <eos> counted."""
        return self.score / (len(self.ids) + self.finished) if self.ids or self.finished else 0.0
