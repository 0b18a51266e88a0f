"""The best alignment of given tokens through a transducer's lattice, batched, exact for RNNT and TDT."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from maya_encoder.decoding.arcs import NEVER, arcs_of
from maya_encoder.decoding.protocols import Transducer

Array = np.ndarray[Any, Any]


class _Scores(NamedTuple):
    """Log-probabilities of one frame; position u has u tokens before it."""

    blank: Tensor
    """The blank with each of its moves (B, U+1, moves)."""
    label: Tensor
    """The next token with each of its moves (B, U+1, moves); never at the last position."""


class _Ways(NamedTuple):
    """The best ways to each frame and position, (frames, B, U+1) each."""

    reached: Tensor
    """Their scores."""
    came_by: Tensor
    """How each came to its frame: twice the frames it moved, and 1 more by a label; 0 for none."""
    began: Tensor
    """The position before the labels that stayed at this frame."""


@torch.no_grad()
def transducer_viterbi(
    head: Transducer,
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    tokens: Tensor,
    token_lens: Tensor,
    forbidden: Tensor | None = None,
) -> Tensor:
    """The frame (B, U) at which the best path writes each token; 0 in the padding, and where no path exists.

    Args:
        head: RNNT or TDT.
        encoder_out: encoder output (B, T, D).
        encoder_out_lens: valid frames (B,).
        tokens: (B, U), padded with any label.
        token_lens: valid tokens (B,).
        forbidden: what to add to the token logits of each utterance (B, V), or None.
    """
    encoder_part = head.joint.enc(encoder_out)  # (B, T, J)
    label_part = head.joint.pred(head.prediction(tokens))  # (B, U+1, J)
    shape, longest = label_part.shape[:2], max(1, *head.durations, 1)
    ways = _no_ways(encoder_part.size(1) + longest + 1, shape, tokens.device)
    for t in range(encoder_part.size(1)):
        left = (encoder_out_lens - t).unsqueeze(1).expand(shape)
        scores = _scores(head, (encoder_part[:, t : t + 1], label_part), left, tokens, forbidden)
        here, ways.began[t] = _stay(ways.reached[t], scores.label[..., 0])
        for move in range(1, longest + 1):
            _reach(ways, t, move, here + scores.blank[..., move], is_label=False)
            by_label = (here + scores.label[..., move]).roll(1, dims=1)
            by_label[:, 0] = NEVER
            _reach(ways, t, move, by_label, is_label=True)
    return _frames(ways, encoder_out_lens, token_lens, tokens)


def _no_ways(num_frames: int, shape: tuple[int, ...], device: torch.device) -> _Ways:
    reached = torch.full((num_frames, *shape), NEVER, dtype=torch.float64, device=device)
    reached[0, :, 0] = 0
    nowhere = torch.zeros(reached.shape, dtype=torch.int64, device=device)
    return _Ways(reached, nowhere, nowhere.clone())


def _scores(
    head: Transducer, parts: tuple[Tensor, Tensor], left: Tensor, tokens: Tensor, forbidden: Tensor | None
) -> _Scores:
    arcs = arcs_of(head, *parts, left, None if forbidden is None else forbidden.unsqueeze(1))
    blank = arcs.tokens[..., -1:] + arcs.blank_moves
    label = arcs.tokens[:, :-1].gather(2, tokens.unsqueeze(2)) + arcs.label_moves[:, :-1]
    padding = torch.full_like(blank[:, :1], NEVER)
    return _Scores(blank.double(), torch.cat([label, padding], dim=1).double())


def _stay(reached: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """The best way to each position (B, U+1) of a frame with labels that stay, and where these began.

    A run of labels scores the difference of two running sums, so its best beginning is a running maximum.
    """
    before = label[:, :-1].cumsum(dim=1)
    before = torch.cat([torch.zeros_like(label[:, :1]), before], dim=1)
    if not bool(before.isfinite().all()):  # labels of this transducer never stay
        return reached, torch.arange(label.size(1), device=label.device).expand_as(label)
    best, began = (reached - before).cummax(dim=1)
    return best + before, began


def _reach(ways: _Ways, frame: int, move: int, score: Tensor, is_label: bool) -> None:
    reached = ways.reached[frame + move]
    better = score > reached
    reached.copy_(torch.where(better, score, reached))
    ways.came_by[frame + move].masked_fill_(better, 2 * move + is_label)


def _frames(ways: _Ways, lens: Tensor, token_lens: Tensor, tokens: Tensor) -> Tensor:
    """The frame (B, U) of each token on the best paths to the ends."""
    frames = torch.zeros_like(tokens, device="cpu")
    came_by, began = ways.came_by.cpu().numpy(), ways.began.cpu().numpy()
    for row, end in enumerate(zip(lens.tolist(), token_lens.tolist(), strict=True)):
        for u, t in _trace(came_by[:, row], began[:, row], *end):
            frames[row, u] = t
    return frames.to(tokens.device)


def _trace(came_by: Array, began: Array, t: int, u: int) -> Iterator[tuple[int, int]]:
    """Position and frame of each token on the best path to frame `t` and position `u`, backwards."""
    while t > 0 and (way := int(came_by[t, u])):
        t, u = t - way // 2, u - way % 2
        if way % 2:
            yield u, t
        first = int(began[t, u])
        yield from ((position, t) for position in range(first, u))
        u = first
