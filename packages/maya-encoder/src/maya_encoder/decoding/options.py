"""How to decode: the search and what helps it."""

from dataclasses import dataclass
from typing import Literal

from maya_encoder.decoding.fusion import Fusion, Scorer


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """Settings of `decode`; the defaults are the greedy search."""

    strategy: Literal["greedy", "beam"] = "greedy"
    """The best guess at every step, or the best of several sequences."""
    beam_size: int = 4
    """Sequences that a beam keeps at each frame."""
    lm: Scorer | None = None
    """Language model over tokens or words, see `load_lm`; beam only."""
    lm_weight: float = 0.3
    """What the language model's log-probabilities are multiplied by."""
    token_bonus: float = 0.0
    """Added for each token, against the preference of language models for short texts."""
    boost: Scorer | None = None
    """Phrases to prefer, see `boost_phrases`; beam only."""
    candidates: int = 32
    """Most tokens, the acoustically best, that a beam may continue with at a frame."""
    expansion_steps: int = 2
    """Most tokens that a transducer's beam writes at one frame."""
    expansion_beta: int = 2
    """Sequences that a transducer's beam may keep beyond `beam_size` within a frame."""
    expansion_gamma: float = 2.3
    """A transducer's labels that are worse than the sequence's best choice by more than this are left out."""

    def __post_init__(self) -> None:
        if self.strategy not in ("greedy", "beam"):
            raise ValueError(f"`strategy` must be greedy or beam, got {self.strategy!r}")
        for name in ("beam_size", "candidates", "expansion_steps"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {value}")
        for name in ("lm_weight", "expansion_beta", "expansion_gamma"):
            if not (value := getattr(self, name)) >= 0:
                raise ValueError(f"`{name}` must be 0 or more, got {value}")
        if self.strategy == "greedy" and (self.lm is not None or self.boost is not None):
            named = "lm" if self.lm is not None else "boost"
            raise ValueError(f"`{named}` needs the strategy beam, got greedy")

    @property
    def fusion(self) -> Fusion:
        """Language model and boosting as one."""
        weighted = [(self.lm, self.lm_weight), (self.boost, 1.0)]
        return Fusion(
            [(scorer, weight) for scorer, weight in weighted if scorer is not None], self.token_bonus
        )
