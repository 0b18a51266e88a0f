"""One Conformer block: half a feed-forward, attention, convolution, the other half (arXiv 2005.08100)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_encoder.attention import RelPositionAttention
from maya_encoder.dropout import Dropout

ConvNorm = Literal["batch_norm", "layer_norm"]


class FeedForward(nn.Module):
    """Two linear layers around SiLU."""

    def __init__(self, hidden_size: int, expansion: int, dropout: float = 0.0, use_bias: bool = True) -> None:
        super().__init__()
        self.linear1 = nn.Linear(hidden_size, expansion * hidden_size, bias=use_bias)
        self.linear2 = nn.Linear(expansion * hidden_size, hidden_size, bias=use_bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        out: Tensor = self.linear2(self.dropout(F.silu(self.linear1(x))))
        return out


class Convolution(nn.Module):
    """Gated pointwise, depthwise over time, norm, SiLU, pointwise.

    Frames stay (B, T, D) throughout: a pointwise convolution is a linear layer and batch norm takes (B T, D).
    The norm is called `batch_norm` in checkpoints, whichever it is.
    """

    def __init__(
        self, hidden_size: int, kernel: int, norm: ConvNorm = "batch_norm", use_bias: bool = True
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"`conv_kernel` must be odd, got {kernel}")
        self.pointwise_conv1 = nn.Conv1d(hidden_size, 2 * hidden_size, 1, bias=use_bias)
        self.depthwise_conv = nn.Conv1d(
            hidden_size, hidden_size, kernel, padding=kernel // 2, groups=hidden_size, bias=use_bias
        )
        self.batch_norm = nn.BatchNorm1d(hidden_size) if norm == "batch_norm" else nn.LayerNorm(hidden_size)
        self.pointwise_conv2 = nn.Conv1d(hidden_size, hidden_size, 1, bias=use_bias)

    def forward(self, x: Tensor, valid_mask: Tensor | None = None) -> Tensor:
        """(B, T, D) to (B, T, D); padding is cleared before the depthwise convolution can spread it."""
        x = F.glu(_pointwise(self.pointwise_conv1, x), dim=-1)
        if valid_mask is not None:
            x = x * valid_mask[..., None].to(x.dtype)
        x = _depthwise(self.depthwise_conv, x)
        x = self.batch_norm(x.flatten(0, 1)).view_as(x)
        return _pointwise(self.pointwise_conv2, F.silu(x))


class ConformerBlock(nn.Module):
    """The four modules with their norms and residuals, and a closing norm."""

    def __init__(
        self,
        attention: RelPositionAttention,
        conv: Convolution,
        ff: tuple[FeedForward, FeedForward],
        dropout: float,
    ) -> None:
        super().__init__()
        hidden_size = attention.linear_out.out_features
        self.norm_feed_forward1 = nn.LayerNorm(hidden_size)
        self.feed_forward1 = ff[0]
        self.norm_self_att = nn.LayerNorm(hidden_size)
        self.self_attn = attention
        self.norm_conv = nn.LayerNorm(hidden_size)
        self.conv = conv
        self.norm_feed_forward2 = nn.LayerNorm(hidden_size)
        self.feed_forward2 = ff[1]
        self.norm_out = nn.LayerNorm(hidden_size)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor | None = None, valid_mask: Tensor | None = None
    ) -> Tensor:
        """Transform frames.

        Args:
            x: frames, (B, T, D).
            positions: from `relative_positions`, (2 T, D).
            mask: from `score_mask`.
            valid_mask: True on real frames, (B, T); None where all are.

        Returns:
            Frames, (B, T, D).
        """
        x = torch.add(x, self.dropout(self.feed_forward1(self.norm_feed_forward1(x))), alpha=0.5)
        x = x + self.dropout(self.self_attn(self.norm_self_att(x), positions, mask))
        x = x + self.dropout(self.conv(self.norm_conv(x), valid_mask))
        x = torch.add(x, self.dropout(self.feed_forward2(self.norm_feed_forward2(x))), alpha=0.5)
        out: Tensor = self.norm_out(x)
        return out


def _pointwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    return F.linear(x, conv.weight.squeeze(-1), conv.bias)


def _depthwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    # As a two-dimensional convolution with channels last this needs no copy, and takes a CPU half the time.
    planes = x.transpose(1, 2)[:, :, None]  # (B, D, 1, T)
    kernel = conv.kernel_size[0]
    # Through flatten, the gradient comes back with the strides that DDP's buckets have.
    weight = conv.weight.flatten().view(-1, 1, 1, kernel)
    out = F.conv2d(planes, weight, conv.bias, padding=(0, kernel // 2), groups=conv.groups)
    return out[:, :, 0].transpose(1, 2)
