"""Frames of a batch as rows, so that frames of padding need not be computed.

Linear layers and layer norms see one frame at a time: they take rows (N, D). Attention and convolution take
one block of rows after the other, each of utterances of one length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from maya_encoder.lengths import valid_mask

T = TypeVar("T")

MIN_PADDED_SHARE = 0.08
"""Less padding than this is computed along: cutting a batch into utterances costs time as well."""


@dataclass(frozen=True)
class Layout:
    """Which rows belong to which utterance.

    Either every utterance has the same number of rows, and `valid` tells which are real; or `lens` is given
    and each utterance has just that many.
    """

    num_utterances: int
    num_frames: int
    """Frames of the padded batch, T."""
    valid: Tensor | None = None
    """True on real frames, (B, T); None where no row is padding."""
    lens: tuple[int, ...] | None = None
    """Rows of each utterance, where padding has none."""

    def rows(self, frames: Tensor) -> Tensor:
        """(B, T, D) to (N, D)."""
        if self.lens is None:
            return frames.flatten(0, 1)
        return torch.cat([row[:length] for row, length in zip(frames, self.lens, strict=True)])

    def frames(self, rows: Tensor) -> Tensor:
        """(N, D) to (B, T, D), with zeros behind each utterance."""
        if self.lens is None:
            return self.cleared(rows.view(self.num_utterances, self.num_frames, -1))
        frames = pad_sequence(list(torch.split(rows, list(self.lens))), batch_first=True)  # (B, longest, D)
        return F.pad(frames, (0, 0, 0, self.num_frames - frames.shape[1]))

    def spread(self, vectors: Tensor) -> Tensor:
        """A vector for each utterance (B, D) to one for each of its rows (N, D)."""
        repeats = self.num_frames if self.lens is None else torch.tensor(self.lens, device=vectors.device)
        return vectors.repeat_interleave(repeats, dim=0)

    def blocks(self, rows: Tensor) -> list[Tensor]:
        """(N, ...) to blocks (b, t, ...) that hold utterances of one length."""
        if self.lens is None:
            return [rows.view(self.num_utterances, self.num_frames, *rows.shape[1:])]
        return [block[None] for block in torch.split(rows, list(self.lens))]

    def join(self, blocks: Sequence[Tensor]) -> Tensor:
        """What `blocks` took apart: (N, ...)."""
        rows = [block.flatten(0, 1) for block in blocks]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def cleared(self, block: Tensor) -> Tensor:
        """A block (b, t, D) with zeros where frames are padding."""
        return block if self.valid is None else block * self.valid[..., None].to(block.dtype)


def lay_out(lens: Tensor, num_frames: int) -> Layout:
    """Rows without padding where it pays and lengths can be read without waiting, else all rows.

    Args:
        lens: real frames of each utterance, (B,). Only lengths on the CPU are looked at: asking an
            accelerator is a synchronisation.
        num_frames: frames of the padded batch, T.
    """
    if lens.device.type != "cpu":
        return Layout(len(lens), num_frames, valid_mask(lens, num_frames))
    # A graph would be compiled for every set of lengths.
    return outside_graphs(_lay_out, lens, num_frames, not torch.compiler.is_compiling())


def _lay_out(lens: Tensor, num_frames: int, may_leave_out: bool) -> Layout:
    host: list[int] = lens.tolist()
    if min(host) >= num_frames:
        return Layout(len(lens), num_frames)
    padded_share = 1 - sum(host) / (len(host) * num_frames)
    if min(host) < 1 or padded_share < MIN_PADDED_SHARE or not may_leave_out:
        return Layout(len(lens), num_frames, valid_mask(lens, num_frames))
    return Layout(len(lens), num_frames, lens=tuple(host))


def outside_graphs(function: Callable[..., T], *args: Any) -> T:
    """`function(*args)`, which does not become part of a graph that is being compiled."""
    if torch.compiler.is_compiling():
        function = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return function(*args)
