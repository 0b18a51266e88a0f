"""Strided convolutions that turn features into fewer, wider frames. Padding stays out at every stride.

Layouts and parameter names are NeMo's: (B, C, T, F) inside, flattened channel-major before the projection.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from maya_encoder.lengths import padding_mask


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
    """

    def __init__(
        self, stages: list[list[nn.Conv2d]], num_mels: int, hidden_size: int, masked: bool = True
    ) -> None:
        super().__init__()
        self.factor = 2 ** len(stages)
        self.masked = masked
        self.conv = nn.Sequential(*(layer for stage in stages for layer in (*stage, nn.ReLU())))
        channels = stages[-1][-1].out_channels
        num_bins = math.ceil(num_mels / self.factor)
        self.out = nn.Linear(channels * num_bins, hidden_size)

    def forward(self, features: Tensor, feature_lens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F) and lengths to (B, T / factor, D) and lengths."""
        x, lens = self._clear(features[:, None], feature_lens), feature_lens  # (B, 1, T, F)
        for layer in self.conv:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                lens = subsampled_lens(lens, 2)
                x = self._clear(x, lens)
        return self.out(x.transpose(1, 2).flatten(2)), lens  # (B, T', D)

    def _clear(self, x: Tensor, lens: Tensor) -> Tensor:
        mask = padding_mask(lens, x.shape[2]) if self.masked else None
        return x if mask is None else x * mask[:, None, :, None].to(x.dtype)


class PatchConv2d(nn.Conv2d):
    """A stride over one input channel; a matrix product of patches where torch's own kernel is slow.

    That is training on a CPU. The result is laid out with channels last, and what follows runs faster for it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T, F) to (B, C, T / 2, F / 2)."""
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        patches = F.pad(x[:, 0], (1, 1, 1, 1)).unfold(1, 3, 2).unfold(2, 3, 2).flatten(3)  # (B, T, F, 9)
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def depthwise_striding(num_stages: int, channels: int) -> list[list[nn.Conv2d]]:
    """FastConformer's stages: one full convolution, then depthwise and pointwise pairs."""
    return [[PatchConv2d(channels)], *(_separable(channels) for _ in range(num_stages - 1))]


def full_striding(num_stages: int, channels: int) -> list[list[nn.Conv2d]]:
    """The classic Conformer's stages: full convolutions throughout."""
    later = [[nn.Conv2d(channels, channels, 3, stride=2, padding=1)] for _ in range(num_stages - 1)]
    return [[PatchConv2d(channels)], *later]


def _separable(channels: int) -> list[nn.Conv2d]:
    depthwise = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels)
    return [depthwise, nn.Conv2d(channels, channels, 1)]
