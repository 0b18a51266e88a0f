"""What one cell of a transducer's lattice offers: log-probabilities of tokens, and how far each leads on.

An RNN transducer is a token-and-duration transducer (TDT, Xu et al. 2023) whose labels last 0 frames and
whose blank lasts 1, so that the beam is written once.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from maya_encoder.decoding.protocols import Transducer

NEVER = float("-inf")


class Arcs(NamedTuple):
    """The choices in cells of any shape."""

    tokens: Tensor
    """Log-probabilities (..., V), the blank last."""
    label_moves: Tensor
    """Log-probability that a label moves 0, 1, .. frames on (..., moves)."""
    blank_moves: Tensor
    """The same of the blank; never 0."""


def arcs_of(
    head: Transducer, encoder_part: Tensor, label_part: Tensor, left: Tensor, forbidden: Tensor | None
) -> Arcs:
    """The choices where projected parts (..., J) meet, in single precision.

    Args:
        head: RNNT or TDT.
        encoder_part: projected encoder output.
        label_part: projected prediction network output.
        left: frames to the end of the utterance (...); longer moves end there.
        forbidden: what to add to the token logits, broadcast; or None.
    """
    logits = head.joint(encoder_part, label_part).float()
    tokens = logits[..., : head.blank_id + 1]
    if forbidden is not None:
        tokens = tokens + forbidden
    tokens = tokens.log_softmax(dim=-1)
    if not head.durations:
        stay = torch.tensor([0.0, NEVER], device=logits.device).expand(*tokens.shape[:-1], 2)
        return Arcs(tokens, stay, stay.flip(-1))
    durations = logits[..., head.blank_id + 1 :].log_softmax(dim=-1)
    lasting = torch.tensor(head.durations, device=logits.device)
    longest = max(1, *head.durations, 1)
    reached = torch.minimum(lasting, left.unsqueeze(-1))
    return Arcs(tokens, _moves(durations, reached, longest), _moves(durations, reached.clamp(min=1), longest))


def arcs_where(
    alive: Tensor,
    head: Transducer,
    encoder_part: Tensor,
    label_part: Tensor,
    left: Tensor,
    forbidden: Tensor | None,
) -> Arcs:
    """As `arcs_of` where `alive` (B, K); elsewhere nothing is possible, nor on the CPU computed."""
    if alive.device.type != "cpu" or bool(alive.all()):
        return arcs_of(head, encoder_part, label_part, left, forbidden)

    def living(part: Tensor) -> Tensor:
        return part.expand(*alive.shape, part.size(-1))[alive]

    only = None if forbidden is None else living(forbidden)
    found = arcs_of(head, living(encoder_part), living(label_part), left[alive], only)
    every = [field.new_full((*alive.shape, field.size(-1)), NEVER) for field in found]
    for target, field in zip(every, found, strict=True):
        target[alive] = field
    return Arcs(*every)


def _moves(durations: Tensor, reached: Tensor, longest: int) -> Tensor:
    """Log-probability of each move of 0 .. `longest` frames, summed over the durations that make it."""
    lists = [durations.masked_fill(reached != move, NEVER).logsumexp(dim=-1) for move in range(longest + 1)]
    return torch.stack(lists, dim=-1)
