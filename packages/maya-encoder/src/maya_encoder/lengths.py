"""Lengths to masks. Lengths cross the public API; masks live inside modules and are True on real frames."""

import torch
from torch import Tensor


def valid_mask(lens: Tensor, num_frames: int) -> Tensor:
    """True where a frame is real.

    Args:
        lens: valid frames of each utterance, (B,).
        num_frames: the padded length T.

    Returns:
        Booleans of shape (B, T).
    """
    return torch.arange(num_frames, device=lens.device) < lens[:, None]  # (B, T)
