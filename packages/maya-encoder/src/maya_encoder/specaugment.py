"""SpecAugment (arXiv 1904.08779): bands of mel bins and stretches of time are set to the mean."""

import torch
from torch import Generator, Tensor, nn


class SpecAugment(nn.Module):
    """Random masks for every utterance of a batch at once; the caller applies it in training only.

    Args:
        num_freq_masks: bands of mel bins.
        freq_width: a band is narrower than this, in bins.
        num_time_masks: stretches of time.
        time_width: a stretch is shorter than this fraction of the utterance.
    """

    def __init__(
        self,
        num_freq_masks: int = 2,
        freq_width: int = 27,
        num_time_masks: int = 10,
        time_width: float = 0.05,
    ) -> None:
        super().__init__()
        if not 0 <= time_width <= 1:
            raise ValueError(f"`time_width` must be between 0 and 1, got {time_width}")
        for name, value in (("num_freq_masks", num_freq_masks), ("num_time_masks", num_time_masks)):
            if value < 0:
                raise ValueError(f"`{name}` must be 0 or more, got {value}")
        if freq_width < 1:
            raise ValueError(f"`freq_width` must be 1 or more, got {freq_width}")
        self.num_freq_masks = num_freq_masks
        self.freq_width = freq_width
        self.num_time_masks = num_time_masks
        self.time_width = time_width

    def forward(self, features: Tensor, feature_lens: Tensor, generator: Generator | None = None) -> Tensor:
        """Features (B, T, F) with masked cells at 0, which is the mean after normalisation.

        Args:
            features: (B, T, F).
            feature_lens: valid frames, (B,).
            generator: source of randomness; its device may differ from the features'.
        """
        num_utterances, num_frames, num_bins = features.shape
        bins = torch.full((num_utterances,), float(num_bins), device=features.device)
        frames = feature_lens.to(features.device, torch.float32)
        widest_band = bins.clamp(max=self.freq_width)
        hidden_bins = _spans(bins, widest_band, self.num_freq_masks, num_bins, generator)  # (B, F)
        longest = (frames * self.time_width).floor()
        hidden_frames = _spans(frames, longest, self.num_time_masks, num_frames, generator)  # (B, T)
        return features.masked_fill(hidden_frames[:, :, None] | hidden_bins[:, None, :], 0.0)


def _spans(lens: Tensor, widest: Tensor, count: int, size: int, generator: Generator | None) -> Tensor:
    """True on `count` random spans inside [0, lens), each of a whole width below `widest`: (B, size)."""
    device = generator.device if generator is not None else lens.device
    draws = torch.rand(2, len(lens), count, generator=generator, device=device).to(lens.device)
    width = (draws[0] * widest[:, None]).floor()  # (B, count)
    start = (draws[1] * (lens[:, None] - width + 1)).floor()
    cells = torch.arange(size, device=lens.device)[:, None, None]  # (size, 1, 1)
    return ((cells >= start) & (cells < start + width)).any(-1).transpose(0, 1)
