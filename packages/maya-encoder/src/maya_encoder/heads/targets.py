"""What a batch should say: tokens, and the lengths of both sides."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Targets(NamedTuple):
    """Tokens and lengths of a batch."""

    encoder_out_lens: Tensor
    """(B,)."""
    tokens: Tensor
    """(B, U), int64; padding may hold anything."""
    token_lens: Tensor
    """(B,)."""

    def cleared(self) -> "Targets":
        """The same with zeros for padding."""
        columns = torch.arange(self.tokens.size(1), device=self.tokens.device)
        return self._replace(tokens=self.tokens.masked_fill(columns >= self.token_lens.unsqueeze(1), 0))

    def own_cells(self, num_frames: int) -> Tensor:
        """Whether a cell (B, T, U+1) of the transducer's lattice lies within its utterance."""
        frames = torch.arange(num_frames, device=self.tokens.device)
        positions = torch.arange(self.tokens.size(1) + 1, device=self.tokens.device)
        in_time = frames < self.encoder_out_lens.unsqueeze(1)  # (B, T)
        return in_time.unsqueeze(2) & (positions <= self.token_lens.unsqueeze(1)).unsqueeze(1)

    def next_tokens(self) -> Tensor:
        """The next token at each position (B, U+1); 0 where there is none."""
        return F.pad(self.cleared().tokens, (0, 1))


def check_targets(targets: Targets, num_frames: int, blank_id: int) -> None:
    """Refuse lengths beyond their tensors and tokens that are no labels; asks the device once.

    Raises:
        ValueError: names the value and what would be right.
    """
    lens, tokens, token_lens = targets.cleared()
    if not len(lens):
        return
    lowest, highest = tokens.aminmax() if tokens.numel() else (tokens.sum(), tokens.sum())
    found = torch.stack([lens.max().long(), token_lens.max().long(), lowest, highest]).tolist()
    if found[0] > num_frames:
        raise ValueError(
            f"`encoder_out_lens` must be at most {num_frames}, the frames there are, got {found[0]}"
        )
    if found[1] > tokens.size(1):
        raise ValueError(
            f"`token_lens` must be at most {tokens.size(1)}, the tokens there are, got {found[1]}"
        )
    if found[2] < 0 or found[3] >= blank_id:
        wrong = found[2] if found[2] < 0 else found[3]
        raise ValueError(f"`tokens` must be ids from 0 to {blank_id - 1}, below the blank, got {wrong}")
