"""Self-attention with relative positions (Transformer-XL, appendix B), over the whole utterance.

The content term is left to the fused kernel; the position term and the padding go in as its additive mask.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Far below any score and inside the range of float16. Finite, so that a row without one valid key gives a
# plain mean and not NaN.
MASKED_SCORE = -10000.0


def relative_positions(num_frames: int, hidden_size: int, device: torch.device) -> Tensor:
    """Sinusoids of the distances T-1 down to -T: (2 T, D), sines on even channels, cosines on odd ones.

    The distance -T never occurs; its row makes the shift in `shift_to_pairs` a view.
    """
    distances = torch.arange(num_frames - 1, -num_frames - 1, -1.0, device=device)[:, None]
    rates = 10000.0 ** (-torch.arange(0, hidden_size, 2, device=device) / hidden_size)
    angles = distances * rates  # (2 T, D / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def shift_to_pairs(scores: Tensor) -> Tensor:
    """Scores by distance (..., T, 2 T) to scores by pair of frames (..., T, T), without a copy.

    Query i finds its key j at column T - 1 - i + j: in memory, each row starts one element earlier.
    """
    num_frames = scores.shape[-2]
    rows = scores.flatten(-2)[..., num_frames - 1 : -1]
    rows = rows.view(*scores.shape[:-1], 2 * num_frames - 1)
    return rows[..., :num_frames]


def score_mask(valid_mask: Tensor | None) -> Tensor | None:
    """What to add to attention scores so that no frame looks at padding: (B, 1, 1, T), or None."""
    if valid_mask is None:
        return None
    zeros = torch.zeros(valid_mask.shape, device=valid_mask.device)
    return zeros.masked_fill(~valid_mask, MASKED_SCORE)[:, None, None, :]


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

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix frames.

        Args:
            x: frames, (B, T, D).
            positions: from `relative_positions`, (2 T, D).
            mask: added to the scores, broadcast to (B, A, T, T); from `score_mask`.

        Returns:
            Frames, (B, T, D).
        """
        query = self._split(self.linear_q(x))  # (B, T, A, D / A)
        key = self._split(self.linear_k(x)).transpose(1, 2)  # (B, A, T, D / A)
        value = self._split(self.linear_v(x)).transpose(1, 2)
        bias = self._position_scores((query + self.pos_bias_v).transpose(1, 2), positions)
        attended = F.scaled_dot_product_attention(
            (query + self.pos_bias_u).transpose(1, 2),
            key,
            value,
            attn_mask=bias if mask is None else bias + mask.to(bias.dtype),
            dropout_p=self.dropout if self.training else 0.0,
        )  # (B, A, T, D / A)
        out: Tensor = self.linear_out(attended.transpose(1, 2).flatten(2))
        return out

    def _position_scores(self, query: Tensor, positions: Tensor) -> Tensor:
        embeds = self._split(self.linear_pos(positions.to(query.dtype)))  # (2 T, A, D / A)
        by_distance = (query * self.head_size**-0.5) @ embeds.permute(1, 2, 0)  # (B, A, T, 2 T)
        return shift_to_pairs(by_distance)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.num_heads, self.head_size)
