"""The sum over all alignments of a transducer lattice, and its gradient, along anti-diagonals.

A path goes from cell (0, 0) by blanks (a frame on) and labels (a position on) to the blank of the last cell.
Cells with the same t + u do not depend on each other, so a batch takes T + U vector steps.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

NEVER = float("-inf")
NEGLIGIBLE = 1e-20  # smaller shares of an alignment are zero: denormal numbers make products ten times slower


def lattice_nll(blank: Tensor, label: Tensor, encoder_out_lens: Tensor, token_lens: Tensor) -> Tensor:
    """Negative log of the sum over all alignments (B,), from two lattices (B, T, U+1)."""
    nll: Tensor = _LatticeNLL.apply(  # type: ignore[no-untyped-call]
        blank, label, encoder_out_lens, token_lens
    )
    return nll


class _LatticeNLL(Function):
    @staticmethod
    def forward(ctx: Any, blank: Tensor, label: Tensor, encoder_out_lens: Tensor, token_lens: Tensor) -> Any:
        dtype = torch.float32 if blank.device.type == "mps" else torch.float64
        stay, move = _skew(blank.to(dtype)), _skew(label.to(dtype))  # (N, B, U+1), N = T+U+1 diagonals
        before, after = _path_sums(stay, move, encoder_out_lens + token_lens, token_lens)
        total = after[0, :, 0]
        possible = total > NEVER
        if any(ctx.needs_input_grad):
            before -= total.where(possible, torch.zeros_like(total)).unsqueeze(-1)
            stay[:-1] += before[:-1] + after[1:]
            move[:-1, :, :-1] += before[:-1, :, :-1] + after[1:, :, 1:]
            used = (F.threshold(x.exp_(), NEGLIGIBLE, 0.0) for x in (stay, move))
            ctx.save_for_backward(*(_unskew(x, blank.shape).to(blank.dtype) for x in used))
        return torch.where(possible, -total, 0.0).to(blank.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_nll: Tensor) -> Any:
        stay, move = ctx.saved_tensors
        scale = -grad_nll.view(-1, 1, 1)
        return stay * scale, move * scale, None, None


def _skew(lattice: Tensor) -> Tensor:
    """(B, T, U+1) as anti-diagonals (T+U+1, B, U+1): cell (t, u) lies at [t + u, :, u]; -inf elsewhere."""
    batch, num_frames, positions = lattice.shape
    diagonals = num_frames + positions
    padded = F.pad(lattice.transpose(1, 2), (0, diagonals + 1 - num_frames), value=NEVER)  # (B, U+1, N+1)
    skewed = padded.flatten(1)[:, : positions * diagonals].view(batch, positions, diagonals)
    return skewed.permute(2, 0, 1).contiguous()


def _unskew(skewed: Tensor, shape: torch.Size) -> Tensor:
    batch, num_frames, positions = shape
    diagonals = len(skewed)
    rows = F.pad(skewed.permute(1, 2, 0).flatten(1), (0, positions))  # (B, (U+1) * (N+1))
    return rows.view(batch, positions, diagonals + 1)[..., :num_frames].transpose(1, 2)


def _path_sums(stay: Tensor, move: Tensor, last: Tensor, token_lens: Tensor) -> tuple[Tensor, Tensor]:
    """Log-sums over the paths from the start to each cell, and from each cell to the end, each (N, B, U+1).

    Both obey one recursion, the second with diagonals and positions reversed, so one pass does both. A label
    is a shift by one in the flat row; -inf at each first position keeps utterances apart.
    """
    diagonals, batch, positions = stay.shape
    start = torch.full((diagonals, 2, batch, positions), NEVER, dtype=stay.dtype, device=stay.device)
    start[0, 0, :, 0] = 0
    rows = torch.arange(batch, device=stay.device)
    start[diagonals - 1 - last, 1, rows, positions - 1 - token_lens] = 0
    stays = torch.stack([stay.roll(1, 0), stay.flip(0, 2)], dim=1).flatten(1)
    moves = torch.stack([move.roll((1, 1), (0, 2)), move.flip(0, 2)], dim=1)
    moves[..., 0] = NEVER
    sums = F.pad(start.flatten(1), (1, 0), value=NEVER)
    steps = zip(sums[:-1], sums[1:], stays[1:], moves.flatten(1)[1:], strict=True)
    for previous, here, stays_here, moves_here in steps:
        reached = torch.logaddexp(previous[1:] + stays_here, previous[:-1] + moves_here)
        torch.maximum(here[1:], reached, out=here[1:])
    before, after = sums[:, 1:].view(start.shape).unbind(1)
    return before, after.flip(0, 2)
