"""The convolution over time that some projectors begin with: one position for `stride` encoder frames."""

from typing import cast

from torch import Tensor, nn

from maya_bridge.projectors import Lens, valid_mask


def strided_conv(dim: int, stride: int) -> nn.Conv1d:
    """Return a convolution that sees all frames, with a neighbour on each side at least."""
    padding = max(1, stride - 1)
    return nn.Conv1d(dim, dim, kernel_size=2 * padding + 1, stride=stride, padding=padding)


def convolved(conv: nn.Conv1d, frames: Tensor, lens: Tensor) -> Tensor:
    """Return (B, Q, D) of frames (B, T, D); padding is zeroed first, so it never leaks."""
    padding = ~valid_mask(lens, frames.shape[1])
    clean = frames.masked_fill(padding[..., None], 0)
    return cast(Tensor, conv(clean.transpose(1, 2))).transpose(1, 2)


def strided_lens(lens: Lens, stride: int) -> Lens:
    """Return ceil(lens / stride): the last frames are filled up with zeros, not dropped."""
    return (lens + stride - 1) // stride
