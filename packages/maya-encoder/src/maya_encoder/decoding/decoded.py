"""What every decoder returns: tokens, where they lie, and how sure the model was of each."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class DecodedTokens:
    """The tokens of one utterance; all lists are of the same length."""

    tokens: list[int] = field(default_factory=list)
    """Token ids, without blanks."""
    frames: list[int] = field(default_factory=list)
    """First encoder frame of each token; never decreasing."""
    end_frames: list[int] = field(default_factory=list)
    """The frame after the last one of each token."""
    log_probs: list[float] = field(default_factory=list)
    """Log-probability of each token: where it was written (transducer), or at its surest frame (CTC)."""
    confidences: list[float] = field(default_factory=list)
    """How sure the model was of each token, in [0, 1]: the probability behind `log_probs`."""
    score: float = 0.0
    """Log-probability of the whole as its decoder counts it: of one alignment (greedy, forced alignment) or
    of all that were found (beam), with language model and boosting where they took part."""

    @classmethod
    def of(cls, places: "list[Place]", score: float) -> "DecodedTokens":
        """The tokens at `places`, in order."""
        tokens, frames, ends, log_probs = zip(*places, strict=True) if places else ((), (), (), ())
        sure = [min(1.0, math.exp(log_prob)) for log_prob in log_probs]
        return cls(list(tokens), list(frames), list(ends), list(log_probs), sure, score)


Place = tuple[int, int, int, float]
"""Token, its first frame, the frame after its last, its log-probability."""


def rows_of(
    tokens: Tensor, frames: Tensor, end_frames: Tensor, log_probs: Tensor, scores: Tensor
) -> list[DecodedTokens]:
    """One result for each row; `tokens` below zero are no tokens.

    Args:
        tokens: (B, N), in order of time; the next three are of the same shape.
        frames: first frame of each.
        end_frames: frame after the last of each.
        log_probs: log-probability of each.
        scores: of the utterances (B,).
    """
    whole = torch.stack([tokens, frames, end_frames]).cpu()  # one copy from the device, not three
    rows = zip(whole.transpose(0, 1), log_probs.double().cpu(), scores.tolist(), strict=True)
    found = []
    for integers, row_log_probs, score in rows:
        kept = integers[0] >= 0
        places = zip(*integers[:, kept].tolist(), row_log_probs[kept].tolist(), strict=True)
        found.append(DecodedTokens.of([(a, b, c, d) for a, b, c, d in places], score))
    return found
