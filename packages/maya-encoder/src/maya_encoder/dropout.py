"""Dropout with a cheap mask on the CPU, where torch spends more on random numbers than on the matrices."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 2**16
_DRAWS = 4  # 16-bit draws in one 64-bit random number


class Dropout(nn.Module):
    """`nn.Dropout`, with the rate rounded to a multiple of 2**-16 on the CPU."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def extra_repr(self) -> str:
        """The rate, as `print(model)` shows it."""
        return f"rate={self.rate}"

    def forward(self, x: Tensor) -> Tensor:
        """Zero a random share of `x` while training and scale the rest, so that the mean stays."""
        if not self.training or self.rate == 0.0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        return x * keep_mask(x, round(self.rate * _LEVELS))


def keep_mask(like: Tensor, dropped_levels: int) -> Tensor:
    """What to multiply with: 0 for `dropped_levels` of 65536 cells, the others such that the mean is 1."""
    count = like.numel()
    draws = torch.empty((count + _DRAWS - 1) // _DRAWS, dtype=torch.int64).random_(-(2**63), None)
    levels = draws.view(torch.int16)[:count].to(torch.float32)  # evenly over -32768 .. 32767
    keep = levels.ge_(dropped_levels - _LEVELS // 2).mul_(_LEVELS / (_LEVELS - dropped_levels))
    return keep.view(like.shape).to(like.dtype)
