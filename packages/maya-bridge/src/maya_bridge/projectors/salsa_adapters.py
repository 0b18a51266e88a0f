"""How an LLM position reads unit states: one, a window of them, or as far ahead as a predictor says."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def rms(x: Tensor) -> Tensor:
    """Return the root mean square over the last dimension, in float32, kept as a dimension of 1."""
    return x.float().square().mean(dim=-1, keepdim=True).sqrt()


class SwiGLUReader(nn.Module):
    """A gated bottleneck over the one state that a position has."""

    def __init__(self, state_dim: int, hidden_size: int, bottleneck: int):
        super().__init__()
        self.enter = nn.Linear(state_dim, 2 * bottleneck)
        self.leave = nn.Linear(bottleneck, hidden_size)

    def forward(self, hidden: Tensor, states: Tensor, valid: Tensor) -> Tensor:
        """Return what is to be added (B, L, H) of states (B, L, 1, Z); `hidden` and `valid` are not read."""
        gate, value = self.enter(states[:, :, 0]).chunk(2, dim=-1)
        return self.leave(F.silu(gate) * value)  # type: ignore[no-any-return]


class WindowReader(nn.Module):
    """Attention from the LLM's hidden state to the states of the next units."""

    def __init__(self, state_dim: int, hidden_size: int, bottleneck: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(hidden_size, bottleneck)
        # A bias of the keys would move all scores of a query alike, and so never learn.
        self.to_k = nn.Linear(state_dim, bottleneck, bias=False)
        self.to_v = nn.Linear(state_dim, bottleneck)
        self.leave = nn.Linear(bottleneck, hidden_size)

    def forward(self, hidden: Tensor, states: Tensor, valid: Tensor) -> Tensor:
        """Return what is to be added (B, L, H) of the `valid` (B, L, W) among states (B, L, W, Z)."""
        batch, size, window = valid.shape
        split = (batch * size, -1, self.num_heads, self.to_q.out_features // self.num_heads)
        query = self.to_q(hidden / rms(hidden).clamp(min=1e-6).to(hidden.dtype))
        read = F.scaled_dot_product_attention(
            query.reshape(split).transpose(1, 2),
            self.to_k(states).reshape(split).transpose(1, 2),
            self.to_v(states).reshape(split).transpose(1, 2),
            attn_mask=valid.view(batch * size, 1, 1, window),
        )  # (B L, A, 1, bottleneck / A)
        return self.leave(read.reshape(batch, size, -1))  # type: ignore[no-any-return]


class SkipPredictor(nn.Module):
    """Says how many units ahead to read, and reads that mixture of states."""

    def __init__(self, state_dim: int, max_skip: int):
        super().__init__()
        self.scores = nn.Sequential(nn.Linear(state_dim, 64), nn.SiLU(), nn.Linear(64, max_skip))

    def forward(self, states: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixed state (B, L, 1, Z) of states (B, L, W, Z), and the log-probabilities (B, L, W)."""
        scores = cast(Tensor, self.scores(states[:, :, 0]))
        log_probs = scores.masked_fill(~valid, torch.finfo(scores.dtype).min).log_softmax(dim=-1)
        return log_probs.exp()[:, :, None] @ states, log_probs


def skip_loss(log_probs: Tensor, unit_index: Tensor) -> Tensor:
    """Return the mean cross-entropy (a scalar) of the units that the next LLM token finishes.

    Positions whose next token finishes no unit, or more than can be skipped, are left out; so is padding,
    over which the index (B, L) stays.
    """
    skipped = unit_index[:, 1:] - unit_index[:, :-1]  # (B, L - 1)
    wanted = (skipped >= 1) & (skipped <= log_probs.shape[-1])
    target = (skipped - 1).clamp(0, log_probs.shape[-1] - 1)
    losses = -log_probs[:, :-1].float().gather(2, target[..., None])[..., 0]
    return losses.masked_fill(~wanted, 0).sum() / wanted.sum().clamp(min=1)


class GatedAdapter(nn.Module):
    """A reader whose output comes in at the scale of the hidden states, through a gate that starts shut.

    Hidden states of a deep LLM grow a thousandfold over its layers; a plain addition would go unnoticed late
    and drown the text early.
    """

    def __init__(self, reader: nn.Module):
        super().__init__()
        self.reader = reader
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, hidden: Tensor, states: Tensor, valid: Tensor) -> Tensor:
        """Return `hidden` (B, L, H) with the states mixed in, in its own number format."""
        read = self.reader(hidden.to(states.dtype), states, valid).float()
        change = (
            torch.tanh(self.gate.float()) * rms(hidden).detach() * F.rms_norm(read, read.shape[-1:], eps=1e-6)
        )
        return hidden + change.to(hidden.dtype)
