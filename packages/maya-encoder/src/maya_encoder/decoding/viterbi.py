"""The best CTC alignment of given tokens (Graves et al. 2006), batched, exact."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maya_encoder.decoding.decoded import DecodedTokens, Place

NEVER = float("-inf")

Array = np.ndarray[Any, Any]


class DoesNotFit(ValueError):
    """More tokens than frames can hold; the message has both numbers."""


def frames_needed(tokens: Sequence[int]) -> int:
    """Fewest frames that can hold `tokens`: one each, and a blank between equal neighbours."""
    return len(tokens) + sum(a == b for a, b in pairwise(tokens))


@torch.no_grad()
def ctc_viterbi(log_probs: Tensor, lens: Tensor, tokens: Sequence[Sequence[int]]) -> list[DecodedTokens]:
    """Where each of `tokens` lies on the best path; the score is that of this path.

    Args:
        log_probs: (B, T, V), normalised; the blank is the last id.
        lens: valid frames (B,).
        tokens: of each utterance, without blanks.

    Raises:
        DoesNotFit: an utterance has fewer frames than its tokens need.
    """
    num_frames = lens.tolist()
    for row, available in zip(tokens, num_frames, strict=True):
        if (needed := frames_needed(row)) > available:
            raise DoesNotFit(f"the text needs {needed} frames or more, the audio has {available}")
    labels, jumps = _states(tokens, log_probs)
    path, path_log_probs = _best_path(log_probs, lens, labels, jumps)
    rows = zip(tokens, num_frames, path.cpu().numpy(), path_log_probs.double().cpu().numpy(), strict=True)
    return [_places(list(row), states[:n], values[:n]) for row, n, states, values in rows]


def _states(tokens: Sequence[Sequence[int]], log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (B, 2U+1), with blanks around the tokens, and whether the blank before may be left out."""
    blank = log_probs.size(-1) - 1
    labels = torch.full((len(tokens), 2 * max(map(len, tokens), default=0) + 1), blank)
    for states, row in zip(labels, tokens, strict=True):
        states[1 : 2 * len(row) : 2] = torch.tensor(row, dtype=torch.int64)
    jumps = torch.zeros_like(labels, dtype=torch.bool)
    jumps[:, 2:] = (labels[:, 2:] != labels[:, :-2]) & (labels[:, 2:] != blank)
    return labels.to(log_probs.device), jumps.to(log_probs.device)


def _best_path(log_probs: Tensor, lens: Tensor, labels: Tensor, jumps: Tensor) -> tuple[Tensor, Tensor]:
    """The state of each frame (B, T), and the log-probability of its label there (B, T)."""
    batch, num_states = labels.shape
    num_frames = int(lens.max()) if batch else 0
    best = torch.full(
        (batch, num_states + 2), NEVER, device=labels.device
    )  # two columns before the first state
    best[:, 2] = 0  # as if a blank came before the first frame
    steps = torch.zeros(num_frames, batch, num_states, dtype=torch.uint8, device=labels.device)
    for t in range(num_frames):
        stay, step, jump = best[:, 2:], best[:, 1:-1], best[:, :-2]
        ways = torch.stack([stay, step, jump.masked_fill(~jumps, NEVER)])  # (3, B, 2U+1)
        reached, steps[t] = _strongest(ways)
        reached = reached + log_probs[:, t].float().gather(1, labels)
        best[:, 2:] = torch.where((t < lens).unsqueeze(1), reached, best[:, 2:])
    return _walk_back(best[:, 2:], steps, lens, labels, log_probs)


def _strongest(ways: Tensor) -> tuple[Tensor, Tensor]:
    values, index = ways.max(dim=0)
    return values, index.to(torch.uint8)


def _walk_back(
    best: Tensor, steps: Tensor, lens: Tensor, labels: Tensor, log_probs: Tensor
) -> tuple[Tensor, Tensor]:
    num_tokens = (labels != log_probs.size(-1) - 1).sum(dim=1)
    last = torch.stack([2 * num_tokens, (2 * num_tokens - 1).clamp(min=0)], dim=1)  # (B, 2)
    state = last.gather(1, best.gather(1, last).argmax(dim=1, keepdim=True))[:, 0]
    path = torch.zeros(len(steps), len(labels), dtype=torch.int64, device=labels.device)
    for t in reversed(range(len(steps))):
        path[t] = state
        back = steps[t].gather(1, state.unsqueeze(1))[:, 0].long()
        state = state - back * (t < lens)
    path = path.T  # (B, T)
    values = log_probs[:, : len(steps)].gather(2, labels.gather(1, path).unsqueeze(2))[..., 0]
    return path, values


def _places(tokens: list[int], states: Array, log_probs: Array) -> DecodedTokens:
    wanted = 2 * np.arange(len(tokens)) + 1
    first, end = np.searchsorted(states, wanted), np.searchsorted(states, wanted, side="right")
    peaks = [float(log_probs[a:b].max()) for a, b in zip(first, end, strict=True)]
    places: list[Place] = list(zip(tokens, first.tolist(), end.tolist(), peaks, strict=True))
    return DecodedTokens.of(places, float(log_probs.sum()))
