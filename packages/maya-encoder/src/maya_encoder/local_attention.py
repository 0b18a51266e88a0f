"""Attention within a window, in memory that grows with the number of frames and not with its square.

Queries are taken in blocks; a block sees the keys from `left` before its first to `right` behind its last
query. Its position scores, one for each distance in the window, are laid out so that every row begins one key
further to the right: what lies outside the window is then the filling of the layout itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from maya_encoder.attention import FullAttention, Heads, position_scores, score_floor

MAX_SCORES = 2**24
"""Scores of all heads that are held at a time."""
MIN_BLOCK = 16
"""Queries of a block, at least: the window of keys is copied for each block."""


@dataclass(frozen=True)
class LocalAttention:
    """Every frame looks at `left` frames before it, itself and `right` frames behind it."""

    positions: Tensor
    """From `relative_positions(left, -right)`: (left + 1 + right, D)."""
    left: int
    right: int
    valid: Tensor | None = None
    """True on real frames, (B, T); None where all are."""

    def attend(self, heads: Heads, embeds: Tensor, dropout: float) -> Tensor:
        """Mixed values, (b, t, A, D / A)."""
        num_utterances, num_frames, num_heads, _ = heads.key.shape
        if num_frames <= min(self.left, self.right):  # the window holds all
            middle = embeds[self.left - num_frames + 1 : self.left + num_frames + 1]
            hidden = None if self.valid is None else ~self.valid[:, None, None]  # (b, 1, 1, t)
            return FullAttention(self.positions, hidden).attend(heads, middle, dropout)
        size = max(MIN_BLOCK, (self.left + self.right) // 2)
        window = self.left + size + self.right
        num_blocks = -(-num_frames // size)
        behind = num_blocks * size - num_frames
        content, position = (_padded(x, 0, behind) for x in (heads.content, heads.position))
        key, value = (_padded(x, self.left, behind + self.right) for x in (heads.key, heads.value))
        real = self._real(heads.key, behind)  # (b, frames of `key`)
        step = max(1, MAX_SCORES // (num_utterances * num_heads * size * window))
        mixed = []
        for first in range(0, num_blocks, step):
            last = min(first + step, num_blocks)
            queries, keys = slice(first * size, last * size), slice(first * size, (last - 1) * size + window)
            part = Heads(content[:, queries], position[:, queries], key[:, keys], value[:, keys])
            mixed.append(self._attend_blocks(part, real[:, keys], embeds, size, dropout))
        return torch.cat(mixed, dim=1)[:, :num_frames]

    def _attend_blocks(self, heads: Heads, real: Tensor, embeds: Tensor, size: int, dropout: float) -> Tensor:
        """Mixed values (b, n size, A, D / A) of n blocks, from the keys of all their windows."""
        window = self.left + size + self.right
        blocks = (-1, size, *heads.content.shape[2:])
        content, position = heads.content.reshape(blocks), heads.position.reshape(blocks)
        bias = shift_to_window(position_scores(position, embeds), window)  # (b n, A, size, window)
        outside = ~real.unfold(1, window, size).flatten(0, 1)[:, None, None]  # (b n, 1, 1, window)
        bias = bias.masked_fill(outside, score_floor(bias.dtype))
        # unfold puts the window last: (b, n, A, D / A, window)
        key, value = (
            x.unfold(1, window, size).flatten(0, 1).transpose(2, 3) for x in (heads.key, heads.value)
        )
        mixed = F.scaled_dot_product_attention(
            content.transpose(1, 2), key, value, attn_mask=bias, dropout_p=dropout
        )  # (b n, A, size, D / A)
        return mixed.transpose(1, 2).reshape(len(real), -1, *heads.content.shape[2:])

    def _real(self, key: Tensor, behind: int) -> Tensor:
        real = self.valid
        if real is None:
            real = torch.ones(key.shape[:2], dtype=torch.bool, device=key.device)
        return F.pad(real, (self.left, behind + self.right))


def shift_to_window(scores: Tensor, window: int) -> Tensor:
    """Scores by distance (..., t, P) to scores by key of the window (..., t, W).

    Row a finds its distances, the furthest to the left first, in columns a to a + P - 1, and a floor in the
    others: rows of W + 1 numbers, read as rows of W, each begin one further to the right.
    """
    num_queries, num_distances = scores.shape[-2:]
    rows = F.pad(scores, (0, window + 1 - num_distances), value=score_floor(scores.dtype))
    return rows.flatten(-2)[..., : num_queries * window].view(*scores.shape[:-1], window)


def _padded(x: Tensor, before: int, behind: int) -> Tensor:
    return F.pad(x, (0, 0, 0, 0, before, behind))
