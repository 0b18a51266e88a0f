"""Windowed Q-Former: learned queries read a fixed window of frames, so order and length stay exact."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_bridge.projectors import (
    Lens,
    ProjectorOutput,
    UnitStates,
    check_positive,
    scaled_mlp,
    valid_mask,
)


class Attention(nn.Module):
    """Multi-head attention from queries (N, Q, D) to memory (N, W, D); `valid` (N, W) hides padding."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(hidden_size, hidden_size)
        self.to_kv = nn.Linear(hidden_size, 2 * hidden_size)
        self.to_out = nn.Linear(hidden_size, hidden_size)

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def forward(self, queries: Tensor, memory: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (N, Q, D)."""
        keys, values = self.to_kv(memory).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(
            self._split(self.to_q(queries)),
            self._split(keys),
            self._split(values),
            attn_mask=None if valid is None else valid[:, None, None],
        )  # (N, A, Q, D / A)
        return self.to_out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class QFormerLayer(nn.Module):
    """Self-attention among the queries, cross-attention to the window, feed-forward; pre-norm."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.norm_self = nn.LayerNorm(hidden_size)
        self.self_attention = Attention(hidden_size, num_heads)
        self.norm_cross = nn.LayerNorm(hidden_size)
        self.cross_attention = Attention(hidden_size, num_heads)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(hidden_size),
            nn.Linear(hidden_size, 4 * hidden_size),
            nn.SiLU(),
            nn.Linear(4 * hidden_size, hidden_size),
        )

    def forward(self, queries: Tensor, window: Tensor, valid: Tensor) -> Tensor:
        """Return the updated queries (N, Q, D)."""
        normed = self.norm_self(queries)
        queries = queries + self.self_attention(normed, normed)
        queries = queries + self.cross_attention(self.norm_cross(queries), window, valid)
        return queries + self.feed_forward(queries)  # type: ignore[no-any-return]


class WindowQFormer(nn.Module):
    """Each window of frames gives `num_queries` speech positions."""

    needs: frozenset[str] = frozenset()
    exact_lens = True

    def __init__(self, config: "QFormer", in_dim: int, out_dim: int, embed_rms: float):
        super().__init__()
        size = config.hidden_size
        self.window = config.window
        self.num_queries = config.num_queries
        self.input = nn.Sequential(nn.LayerNorm(in_dim), nn.Linear(in_dim, size))
        self.place = nn.Parameter(torch.randn(config.window, size) * 0.02)
        self.queries = nn.Parameter(torch.randn(config.num_queries, size) * 0.5)
        self.layers = nn.ModuleList(QFormerLayer(size, config.num_heads) for _ in range(config.num_layers))
        self.output = scaled_mlp(size, out_dim, out_dim, embed_rms)

    def out_lens(self, lens: Lens) -> Lens:
        """Return `num_queries` for every window that is begun."""
        return (lens + self.window - 1) // self.window * self.num_queries

    def forward(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        ctc_log_probs: Tensor | None = None,
        units: UnitStates | None = None,
    ) -> ProjectorOutput:
        """Project the frames; the padding of the last window is masked, not attended."""
        size, frames = encoder_out.shape[:2]
        missing = -frames % self.window
        valid = valid_mask(encoder_out_lens, frames + missing).view(-1, self.window)  # (B * N, W)
        # A window of padding only would be a softmax over nothing; its output is cut off by the lengths.
        valid = valid | ~valid.any(dim=1, keepdim=True)
        padded = F.pad(self.input(encoder_out), (0, 0, 0, missing))
        windows = padded.reshape(-1, self.window, padded.shape[-1]) + self.place  # (B * N, W, hidden)
        queries = self.queries.expand(len(windows), -1, -1)
        for layer in self.layers:
            queries = layer(queries, windows, valid)
        speech_embeds = self.output(queries)  # (B * N, num_queries, H)
        speech_embeds = speech_embeds.reshape(size, -1, speech_embeds.shape[-1])  # (B, Q, H)
        return ProjectorOutput(speech_embeds, self.out_lens(encoder_out_lens))


@dataclass(kw_only=True)
class QFormer:
    """Config of the `qformer` projector."""

    name: str = "qformer"
    """Plugin name."""
    window: int = 8
    """Encoder frames in a window."""
    num_queries: int = 4
    """Speech positions for each window."""
    num_layers: int = 2
    """Transformer layers."""
    hidden_size: int = 512
    """Width inside the Q-Former."""
    num_heads: int = 8
    """Attention heads; must divide `hidden_size`."""

    def __post_init__(self) -> None:
        check_positive(
            window=self.window,
            num_queries=self.num_queries,
            num_layers=self.num_layers,
            hidden_size=self.hidden_size,
            num_heads=self.num_heads,
        )
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide `hidden_size` {self.hidden_size}, got {self.num_heads}"
            )

    def build(
        self,
        in_dim: int,
        out_dim: int,
        embed_rms: float,
        vocab_size: int | None = None,
        state_dim: int | None = None,
    ) -> WindowQFormer:
        """Return the module."""
        return WindowQFormer(self, in_dim, out_dim, embed_rms)
