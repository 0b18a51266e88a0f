"""Noise for training: wrong input tokens, swapped and dropped speech positions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from maya_bridge.projectors import valid_mask


@dataclass(kw_only=True)
class Corruption:
    """Shares of positions that are spoilt in training, so that the LLM does not trust its past too much."""

    token_swap: float = 0.1
    """Share of teacher-forced input tokens that are replaced by random ones."""
    frame_swap: float = 0.03
    """Share of speech positions that are replaced by one of the batch."""
    frame_drop: float = 0.01
    """Share of speech positions that are removed."""

    def __post_init__(self) -> None:
        for key in ("token_swap", "frame_swap", "frame_drop"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"`{key}` must be at least 0 and below 1, got {getattr(self, key)}")


def swap_tokens(
    input_ids: Tensor, text_ids: Tensor, share: float, generator: torch.Generator | None
) -> Tensor:
    """Return `input_ids` with a share of them replaced by random members of `text_ids`."""
    swapped = torch.rand(input_ids.shape, generator=generator).to(input_ids.device) < share
    chosen = torch.randint(len(text_ids), input_ids.shape, generator=generator).to(text_ids.device)
    return torch.where(swapped, text_ids[chosen].to(input_ids.device), input_ids)


def corrupt_speech(
    speech_embeds: Tensor, lens: Tensor, corruption: Corruption, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Swap and drop speech positions (B, Q, H); the first position of an utterance always stays."""
    shape, device = speech_embeds.shape[:2], speech_embeds.device
    valid = valid_mask(lens, shape[1])
    draws = torch.rand(2, *shape, generator=generator).to(device)
    if corruption.frame_swap and bool(valid.any()):
        donors = speech_embeds[valid]  # (sum of lens, H)
        chosen = torch.randint(len(donors), shape, generator=generator).to(device)
        swapped = (draws[0] < corruption.frame_swap) & valid
        speech_embeds = torch.where(swapped[..., None], donors[chosen], speech_embeds)
    kept = valid & (draws[1] >= corruption.frame_drop)
    kept[:, :1] = valid[:, :1]
    return close_gaps(speech_embeds, kept)


def close_gaps(values: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Move the kept positions of each row to its front; return the moved values and the new lengths."""
    order = kept.logical_not().to(torch.uint8).argsort(dim=1, stable=True)  # (B, Q)
    index = order if values.dim() == 2 else order[..., None].expand_as(values)
    return values.gather(1, index), kept.sum(dim=1)
