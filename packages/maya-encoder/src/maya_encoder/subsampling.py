"""Strided convolutions that turn features into fewer, wider frames. Padding stays out at every stride.

Layouts and parameter names are NeMo's: (B, C, T, F) inside, flattened channel-major before the projection.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from maya_encoder.layout import Layout, outside_graphs
from maya_encoder.lengths import valid_mask

CACHED_VALUES = 2**22
"""Values after the first convolution that a CPU computes at a time: 16 MiB, which its allocator keeps."""
LARGEST_VALUES = 2**29
"""The same elsewhere, for memory: an hour of audio has more."""


def subsampled_lens(lens: Tensor, factor: int) -> Tensor:
    """Frames that are left of `lens` after halving, rounded up, until `factor` is reached."""
    for _ in range(int(math.log2(factor))):
        lens = (lens + 1) // 2
    return lens


class Subsampling(nn.Module):
    """A stack of convolutions with stride 2, each followed by ReLU, and a projection to the encoder's width.

    Args:
        stages: the convolutions of each stride; only the first of a stage looks along time.
        num_mels: mel bins of the features.
        hidden_size: width of the frames that leave.
        masked: clear padding before each stride, as models do that go with the modern front end. Without it,
            biases fill the padding and the last valid frames see them.
        chunk: frames that leave, computed at a time; 0 for what suits the device, -1 for all. The result is
            the same.
    """

    def __init__(
        self,
        stages: list[list[nn.Conv2d]],
        num_mels: int,
        hidden_size: int,
        masked: bool = True,
        chunk: int = 0,
    ) -> None:
        super().__init__()
        self.factor = 2 ** len(stages)
        self.masked = masked
        self.chunk = chunk
        self.conv = nn.Sequential(*(layer for stage in stages for layer in (*stage, nn.ReLU(inplace=True))))
        self.channels = stages[-1][-1].out_channels
        self.out = nn.Linear(self.channels * math.ceil(num_mels / self.factor), hidden_size)

    def forward(self, features: Tensor, feature_lens: Tensor, layout: Layout) -> Tensor:
        """Rows of frames, (N, D).

        Args:
            features: (B, T, F).
            feature_lens: valid frames, (B,).
            layout: of the frames that leave.
        """
        if features.device.type == "cpu":  # where a compiler would undo what is done here about memory
            x = outside_graphs(self._rows, features, feature_lens, layout)
        else:
            x = self._rows(features, feature_lens, layout)
        out: Tensor = self.out(x)
        return out

    def _rows(self, features: Tensor, feature_lens: Tensor, layout: Layout) -> Tensor:
        """Rows (N, C F')."""
        if layout.lens is None or not self.masked:
            return layout.rows(self._convolved(features, feature_lens if self.masked else None))
        # each utterance by itself: no padding, nothing to clear
        lens = feature_lens.tolist()
        alone = [row[None, :length] for row, length in zip(features, lens, strict=True)]
        return layout.join([self._convolved(row, None) for row in alone])

    def _convolved(self, features: Tensor, lens: Tensor | None) -> Tensor:
        """(B, T, F) to (B, T / factor, C F')."""
        out = []
        for start, stop in self._chunks(features):
            # One frame more on the left, whose own left is cut off: it is computed for the others' sake.
            first = max(0, start - 1) * self.factor
            piece = features[:, first : stop * self.factor]
            x = self._stack(piece, None if lens is None else (lens - first).clamp(min=0))
            out.append(x[:, start - max(0, start - 1) :])
        return out[0] if len(out) == 1 else torch.cat(out, dim=1)

    def _chunks(self, features: Tensor) -> Iterator[tuple[int, int]]:
        num_utterances, num_frames, num_bins = features.shape
        num_frames = -(-num_frames // self.factor)
        size = self.chunk if self.chunk >= 0 else num_frames
        if size == 0:
            values = num_utterances * self.channels * num_bins * self.factor // 4
            held = CACHED_VALUES if features.device.type == "cpu" else LARGEST_VALUES
            size = max(1, held // values)
        for start in range(0, num_frames, size):
            yield start, min(start + size, num_frames)

    def _stack(self, features: Tensor, lens: Tensor | None) -> Tensor:
        x = _cleared(features[:, None], lens)  # (B, 1, T, F)
        if x.device.type == "cpu":  # its convolutions are twice as fast with channels last
            x = x.to(memory_format=torch.channels_last)
        for layer in self.conv:
            if isinstance(layer, nn.ReLU) and lens is not None:
                lens = subsampled_lens(lens, 2)
                x = _cleared(x, lens)
            x = layer(x)
        return x.transpose(1, 2).flatten(2)


class DepthwiseConv2d(nn.Conv2d):
    """A stride within each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, F) to (B, C, T / 2, F / 2)."""
        # Through flatten, the gradient comes back with the strides that DDP's buckets have.
        out: Tensor = self._conv_forward(x, self.weight.flatten().view_as(self.weight), self.bias)
        return out


def depthwise_striding(num_stages: int, channels: int) -> list[list[nn.Conv2d]]:
    """FastConformer's stages: one full convolution, then depthwise and pointwise pairs."""
    return [[_first(channels)], *(_separable(channels) for _ in range(num_stages - 1))]


def full_striding(num_stages: int, channels: int) -> list[list[nn.Conv2d]]:
    """The classic Conformer's stages: full convolutions throughout."""
    later = [[nn.Conv2d(channels, channels, 3, stride=2, padding=1)] for _ in range(num_stages - 1)]
    return [[_first(channels)], *later]


def _first(channels: int) -> nn.Conv2d:
    return nn.Conv2d(1, channels, 3, stride=2, padding=1)


def _separable(channels: int) -> list[nn.Conv2d]:
    return [DepthwiseConv2d(channels), nn.Conv2d(channels, channels, 1)]


def _cleared(x: Tensor, lens: Tensor | None) -> Tensor:
    return x if lens is None else x * valid_mask(lens, x.shape[2])[:, None, :, None].to(x.dtype)
