"""One Conformer block: half a feed-forward, attention, convolution, the other half (arXiv 2005.08100)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_encoder.attention import RelPositionAttention, Scope
from maya_encoder.dropout import Dropout
from maya_encoder.layout import Layout

ConvNorm = Literal["batch_norm", "layer_norm"]


class FeedForward(nn.Module):
    """Two linear layers around SiLU."""

    def __init__(self, hidden_size: int, expansion: int, dropout: float = 0.0, use_bias: bool = True) -> None:
        super().__init__()
        self.linear1 = nn.Linear(hidden_size, expansion * hidden_size, bias=use_bias)
        self.linear2 = nn.Linear(expansion * hidden_size, hidden_size, bias=use_bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (N, D) to rows."""
        out: Tensor = self.linear2(self.dropout(_silu(self.linear1(x))))
        return out


class Convolution(nn.Module):
    """Gated pointwise, depthwise over time, norm, SiLU, pointwise.

    The norm is called `batch_norm` in checkpoints, whichever it is. Batch norm learns from real frames alone,
    so that training does not depend on padding; NeMo counts padding in.
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

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Rows (N, D) to rows; padding is cleared before the depthwise convolution can spread it."""
        x = F.glu(_pointwise(self.pointwise_conv1, x), dim=-1)
        x = layout.join([_depthwise(self.depthwise_conv, layout.cleared(b)) for b in layout.blocks(x)])
        return _pointwise(self.pointwise_conv2, _silu(self._normalized(x, layout.valid)))

    def _normalized(self, x: Tensor, valid: Tensor | None) -> Tensor:
        norm = self.batch_norm
        if valid is None or not self.training or isinstance(norm, nn.LayerNorm):
            out: Tensor = norm(x)
            return out
        return batch_norm_of_valid(norm, x, valid.flatten())


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

    def forward(self, x: Tensor, layout: Layout, scope: Scope) -> Tensor:
        """Transform frames.

        Args:
            x: rows of frames, (N, D).
            layout: whose the rows are.
            scope: which frames look at which.

        Returns:
            Rows, (N, D).
        """
        x = torch.add(x, self.dropout(self.feed_forward1(self.norm_feed_forward1(x))), alpha=0.5)
        x = x + self.dropout(self.self_attn(self.norm_self_att(x), layout, scope))
        x = x + self.dropout(self.conv(self.norm_conv(x), layout))
        x = torch.add(x, self.dropout(self.feed_forward2(self.norm_feed_forward2(x))), alpha=0.5)
        out: Tensor = self.norm_out(x)
        return out


def batch_norm_of_valid(norm: nn.Module, x: Tensor, valid: Tensor) -> Tensor:
    """Batch norm in training, with the statistics of those rows of (N, D) where `valid` (N,) is true.

    Rows are weighted, not picked: an accelerator need not wait for their number. Norms of other classes,
    which share statistics between processes, do get them picked.
    """
    if not isinstance(norm, nn.BatchNorm1d):
        return torch.zeros_like(x).index_put((valid,), norm(x[valid]).to(x.dtype))
    weight = valid[:, None].float()  # (N, 1)
    count = weight.sum().clamp(min=1)
    mean = (x * weight).sum(0) / count  # (D,)
    centred = x - mean
    var = (centred.square() * weight).sum(0) / count
    _remember(norm, mean.detach(), var.detach() * count / (count - 1).clamp(min=1))
    return (centred * (torch.rsqrt(var + norm.eps) * norm.weight) + norm.bias).to(x.dtype)


def _remember(norm: nn.BatchNorm1d, mean: Tensor, var: Tensor) -> None:
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    momentum = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_(var.to(norm.running_var.dtype), momentum)


def _silu(x: Tensor) -> Tensor:
    # Nobody else has `x`; without a backward pass it can be written over.
    return F.silu(x, inplace=not torch.is_grad_enabled())


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
