"""Greedy CTC decoding: the best label of each frame, runs merged, blanks dropped."""

import torch
import torch.nn.functional as F
from torch import Tensor

from maya_encoder.decoding.decoded import DecodedTokens, rows_of
from maya_encoder.lengths import valid_mask


@torch.no_grad()
def ctc_greedy(log_probs: Tensor, lens: Tensor) -> list[DecodedTokens]:
    """The tokens of each utterance; the score is that of the best alignment, blanks included.

    Args:
        log_probs: (B, T, V), normalised; the blank is the last id.
        lens: valid frames (B,).
    """
    batch, num_frames, vocab_size = log_probs.shape
    if not num_frames:
        return [DecodedTokens() for _ in range(batch)]
    valid = valid_mask(lens, num_frames)  # (B, T)
    best, labels = log_probs.max(dim=-1)
    labels = labels.masked_fill(~valid, vocab_size - 1)
    starts = F.pad(labels[:, 1:] != labels[:, :-1], (1, 0), value=True)
    run = starts.cumsum(dim=1) - 1  # which run of equal labels a frame is in
    peaks = torch.full_like(best, -torch.inf).scatter_reduce(1, run, best, "amax")
    run_lens = torch.zeros_like(run).scatter_add(1, run, torch.ones_like(run))
    frames = torch.arange(num_frames, device=labels.device).expand_as(labels)
    tokens = labels.masked_fill(~starts | (labels == vocab_size - 1), -1)
    scores = best.masked_fill(~valid, 0.0).sum(dim=1)
    return rows_of(tokens, frames, frames + run_lens.gather(1, run), peaks.gather(1, run), scores)
