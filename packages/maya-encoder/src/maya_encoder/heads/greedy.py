"""Greedy transducer decoding, all utterances of a batch at once.

The labels so far change only when a label is written, so each round scores a window of frames against one
history and jumps to the first frame whose best guess is a label. The result is that of going frame by frame.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from maya_encoder.heads.rnnt import RNNTHead

WINDOW = 4  # frames scored at once; frames after the label found are scored again


@torch.no_grad()
def greedy_decode(
    head: "RNNTHead", encoder_out: Tensor, encoder_out_lens: Tensor, forbidden: Tensor | None = None
) -> list[list[int]]:
    """Labels of each utterance of `encoder_out` (B, T, D).

    Args:
        head: the transducer.
        encoder_out: encoder output (B, T, D).
        encoder_out_lens: valid frames (B,).
        forbidden: what to add to the logits of each utterance (B, V), or None.
    """
    encoder_part = head.joint.enc(encoder_out)  # (B, T, J)
    states, history = head.prediction.start(len(encoder_out))
    label_part = head.joint.pred(states)  # (B, J)
    frame = torch.zeros_like(encoder_out_lens)
    written_here = torch.zeros_like(frame)
    written = []
    while bool((frame < encoder_out_lens).any()):
        label, skipped = _next_label(head, _window(encoder_part, frame), label_part, forbidden)
        found = (label != head.blank_id) & (frame + skipped < encoder_out_lens)
        written.append(torch.where(found, label, -1))
        written_here = torch.where(skipped > 0, 0, written_here) + found.long()
        full = written_here >= head.config.max_symbols
        frame = frame + skipped + full.long()
        written_here = written_here.masked_fill(full, 0)
        if bool(found.any()):
            states, new_history = head.prediction.step(label, history)
            history = _choose(found, new_history, history)
            label_part = _choose(found, head.joint.pred(states), label_part)
    if not written:
        return [[] for _ in encoder_out]
    return [[label for label in row if label >= 0] for row in torch.stack(written, dim=1).tolist()]


def _window(encoder_part: Tensor, frame: Tensor) -> Tensor:
    ahead = torch.arange(WINDOW, device=frame.device)
    index = (frame.unsqueeze(1) + ahead).clamp(max=encoder_part.size(1) - 1)  # (B, W)
    rows = torch.arange(len(frame), device=frame.device).unsqueeze(1)
    return encoder_part[rows, index]


def _next_label(
    head: "RNNTHead", window: Tensor, label_part: Tensor, forbidden: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The first label of each window (the blank if it has none) and the frames before it, each (B,)."""
    logits = head.joint(window, label_part.unsqueeze(1))  # (B, W, V)
    if forbidden is not None:
        logits = logits + forbidden.unsqueeze(1)
    best = logits.argmax(dim=-1)
    is_label = best != head.blank_id
    first = is_label.int().argmax(dim=1, keepdim=True)
    label = best.gather(1, first)[:, 0]
    return label, torch.where(is_label.any(dim=1), first[:, 0], window.size(1))


def _choose(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(mask.view(-1, *[1] * (new.dim() - 1)), new, old)
