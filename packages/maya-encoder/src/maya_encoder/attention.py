"""Self-attention with relative positions (Transformer-XL, arXiv 1901.02860, appendix B).

The content term is left to the fused kernel; the position term goes in as its bias, with a floor where a
frame may not look. How far frames look is a scope: `FullAttention` here, or `LocalAttention`.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_encoder.layout import Layout

Context = tuple[int, int]
"""Frames that a frame sees to its left and to its right; -1 for all."""
ContextStyle = Literal["regular", "chunked_limited"]


class Heads(NamedTuple):
    """What the scores of one block of utterances are made of, each (b, t, A, D / A)."""

    content: Tensor
    """Queries of the content term, q + u."""
    position: Tensor
    """Queries of the position term, q + v."""
    key: Tensor
    value: Tensor


class Scope(Protocol):
    """Which frames a frame looks at, and how far away they are."""

    @property
    def positions(self) -> Tensor:
        """Sinusoids of the distances that occur, (P, D)."""
        ...

    def attend(self, heads: Heads, embeds: Tensor, dropout: float) -> Tensor:
        """Mixed values (b, t, A, D / A); `embeds` are the scaled and projected positions, (P, A, D / A)."""
        ...


@dataclass(frozen=True)
class FullAttention:
    """Every frame looks at the whole utterance, or at all that is not hidden from it."""

    positions: Tensor
    """From `relative_positions(T - 1, -T)`: (2 T, D). The distance -T never occurs, but with its row the
    shift is a view."""
    hidden: Tensor | None = None
    """True where a query may not look at a key; broadcasts to (B, A, T, T)."""

    def attend(self, heads: Heads, embeds: Tensor, dropout: float) -> Tensor:
        """Mixed values, (b, t, A, D / A); with fewer frames than T, the middle of the positions is used."""
        num_frames, longest = heads.key.shape[1], len(embeds) // 2
        embeds = embeds[longest - num_frames : longest + num_frames]  # (2 t, A, D / A)
        bias = shift_to_pairs(position_scores(heads.position, embeds))  # (b, A, t, t)
        if self.hidden is not None:
            bias = bias.masked_fill(self.hidden[..., :num_frames, :num_frames], score_floor(bias.dtype))
        query, key, value = (x.transpose(1, 2) for x in (heads.content, heads.key, heads.value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
        return mixed.transpose(1, 2)


class RelPositionAttention(nn.Module):
    """Multi-head attention whose scores are ((q + u) k + (q + v) p) / sqrt(D / A)."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float = 0.0, use_bias: bool = True) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"`hidden_size` must be a multiple of num_heads={num_heads}, got {hidden_size}")
        self.num_heads = num_heads
        self.head_size = hidden_size // num_heads
        self.dropout = dropout
        self.linear_q = nn.Linear(hidden_size, hidden_size, bias=use_bias)
        self.linear_k = nn.Linear(hidden_size, hidden_size, bias=use_bias)
        self.linear_v = nn.Linear(hidden_size, hidden_size, bias=use_bias)
        self.linear_out = nn.Linear(hidden_size, hidden_size, bias=use_bias)
        self.linear_pos = nn.Linear(hidden_size, hidden_size, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(num_heads, self.head_size))
        self.pos_bias_v = nn.Parameter(torch.zeros(num_heads, self.head_size))

    def forward(self, x: Tensor, layout: Layout, scope: Scope) -> Tensor:
        """Mix frames of an utterance.

        Args:
            x: rows of frames, (N, D).
            layout: whose the rows are.
            scope: which frames look at which.

        Returns:
            Rows, (N, D).
        """
        query = self._split(self.linear_q(x))  # (N, A, D / A)
        content = query + self.pos_bias_u.to(query.dtype)
        position = query + self.pos_bias_v.to(query.dtype)
        key, value = self._split(self.linear_k(x)), self._split(self.linear_v(x))
        embeds = self._split(self.linear_pos(scope.positions.to(x.dtype))) * self.head_size**-0.5
        dropout = self.dropout if self.training else 0.0
        blocks = zip(*(layout.blocks(part) for part in (content, position, key, value)), strict=True)
        mixed = layout.join([scope.attend(Heads(*block), embeds, dropout) for block in blocks])
        out: Tensor = self.linear_out(mixed.flatten(1))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.view(len(x), self.num_heads, self.head_size)


def relative_positions(first: int, last: int, hidden_size: int, device: torch.device) -> Tensor:
    """Sinusoids of the distances `first` down to `last`, (P, D): sines on even, cosines on odd channels."""
    distances = torch.arange(first, last - 1, -1.0, device=device)[:, None]
    rates = 10000.0 ** (-torch.arange(0, hidden_size, 2, device=device) / hidden_size)
    angles = distances * rates  # (P, D / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def position_scores(position: Tensor, embeds: Tensor) -> Tensor:
    """Scores by distance (b, A, t, P) of queries (b, t, A, D / A) and embedded distances (P, A, D / A)."""
    num_utterances, num_frames = position.shape[:2]
    # One product a head: a head's distances are the same for every utterance.
    scores: Tensor = position.flatten(0, 1).transpose(0, 1) @ embeds.permute(1, 2, 0)  # (A, b t, P)
    return scores.view(-1, num_utterances, num_frames, len(embeds)).transpose(0, 1)


def shift_to_pairs(scores: Tensor) -> Tensor:
    """Scores by distance (..., T, 2 T) to scores by pair of frames (..., T, T), without a copy.

    Query i finds its key j at column T - 1 - i + j: in memory, each row starts one element earlier.
    """
    num_frames = scores.shape[-2]
    rows = scores.flatten(-2)[..., num_frames - 1 : -1]
    return rows.view(*scores.shape[:-1], 2 * num_frames - 1)[..., :num_frames]


def score_floor(dtype: torch.dtype) -> float:
    """A score that leaves nothing after the softmax. Finite: a row of it gives a plain mean and not NaN."""
    return torch.finfo(dtype).min / 2


def hidden_pairs(
    num_frames: int, context: Context, style: ContextStyle, device: torch.device
) -> Tensor | None:
    """True where the query of a row may not look at the key of a column, (T, T); None where all may look.

    Args:
        num_frames: T.
        context: frames to the left and to the right.
        style: `regular` counts from each frame; with `chunked_limited` frames come in chunks of right + 1,
            see their whole chunk and left / (right + 1) chunks before it.
        device: where the result is wanted.
    """
    left, right = context
    frames = torch.arange(num_frames, device=device)
    if style == "chunked_limited" and right >= 0:
        frames, left, right = frames // (right + 1), left // (right + 1), 0
    if left < 0 and right < 0:
        return None
    behind = frames[:, None] - frames  # (T, T): how far the key is to the left of the query
    too_early = behind > left if left >= 0 else torch.zeros_like(behind, dtype=torch.bool)
    return too_early | (behind < -right) if right >= 0 else too_early
