"""The sum over all alignments of a transducer lattice, and each arc's share of it, along anti-diagonals.

A path goes from cell (0, 0) to the virtual cell (T, U) behind the last one. A `stay` arc writes nothing and
goes on by some frames; a `move` arc writes the next token and goes on by some frames, maybe none. RNNT
(Graves 2012, section 2.4) has one arc of each kind, of 1 and 0 frames; TDT (arXiv 2304.06795) has one for
each duration. Cells with the same t + u do not depend on each other, so a batch takes T + U vector steps.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

NEVER = float("-inf")


class Arcs(NamedTuple):
    """Log-probabilities of the arcs that leave each cell; -inf outside an utterance's own cells."""

    stay: Tensor
    """(K, B, T, U+1), one lattice for each of `stay_frames`."""
    move: Tensor
    """(M, B, T, U+1), one lattice for each of `move_frames`."""
    stay_frames: tuple[int, ...] = (1,)
    """Frames that a `stay` arc goes on by, each 1 or more."""
    move_frames: tuple[int, ...] = (0,)
    """Frames that a `move` arc goes on by, each 0 or more."""


class PathSums(NamedTuple):
    """What the paths of each utterance add up to."""

    nll: Tensor
    """Negative log of the sum over all paths (B,); zero where there is none."""
    stay: Tensor
    """Share of that sum, in [0, 1], that takes each `stay` arc; shaped like the arcs."""
    move: Tensor
    """The same for the `move` arcs."""


class _Arc(NamedTuple):
    """One kind of arc on the anti-diagonals (N, B, U+1), and where it leads."""

    log_prob: Tensor
    diagonals: int
    positions: int


def path_sums(arcs: Arcs, encoder_out_lens: Tensor, token_lens: Tensor, with_shares: bool = True) -> PathSums:
    """Sum over all paths; the shares are empty if not asked for.

    Args:
        arcs: log-probabilities of the arcs.
        encoder_out_lens: frames of each utterance (B,).
        token_lens: tokens of each utterance (B,).
        with_shares: whether the shares of the arcs are wanted, as for a gradient.
    """
    on_diagonals = _on_diagonals(arcs, encoder_out_lens)
    before, after = _walk(on_diagonals, encoder_out_lens + token_lens, token_lens)
    total = after[0, :, 0]
    possible = total != NEVER
    nll = torch.where(possible, -total, 0.0).to(arcs.stay.dtype)
    if not with_shares:
        return PathSums(nll, nll.new_empty(0), nll.new_empty(0))
    before -= total.where(possible, torch.zeros_like(total)).unsqueeze(-1)
    shape = arcs.stay.shape[1:]
    shares = [_unskew(_share(arc, before, after), shape).to(nll.dtype) for arc in on_diagonals]
    num_stays = len(arcs.stay)
    return PathSums(nll, torch.stack(shares[:num_stays]), torch.stack(shares[num_stays:]))


def _on_diagonals(arcs: Arcs, encoder_out_lens: Tensor) -> list[_Arc]:
    """The arcs one by one, without those that lead out of the utterance."""
    dtype = torch.float32 if arcs.stay.device.type == "mps" else torch.float64
    frame = torch.arange(arcs.stay.size(2), device=arcs.stay.device).view(1, -1, 1)
    left = encoder_out_lens.view(-1, 1, 1) - frame  # (B, T, 1)
    found = []
    for log_prob, frames in zip(arcs.stay, arcs.stay_frames, strict=True):
        inside = log_prob if frames == 1 else log_prob.masked_fill(left < frames, NEVER)
        found.append(_Arc(_skew(inside.to(dtype)), frames, 0))
    for log_prob, frames in zip(arcs.move, arcs.move_frames, strict=True):
        inside = log_prob if frames == 0 else log_prob.masked_fill(left <= frames, NEVER)
        found.append(_Arc(_skew(inside.to(dtype)), frames + 1, 1))
    return found


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


def _walk(arcs: list[_Arc], last: Tensor, token_lens: Tensor) -> tuple[Tensor, Tensor]:
    """Log-sums over the paths from the start to each cell, and from each cell to the end, each (N, B, U+1).

    Both obey one recursion, the second with diagonals and positions reversed, so one pass does both. An arc
    to the next position is a shift by one in the flat row; none leaves a last one, so utterances stay apart.
    """
    diagonals, batch, positions = arcs[0].log_prob.shape
    margin = max(arc.diagonals for arc in arcs)
    start = arcs[0].log_prob.new_full((diagonals, 2, batch, positions), NEVER)
    start[0, 0, :, 0] = 0
    rows = torch.arange(batch, device=start.device)
    start[diagonals - 1 - last, 1, rows, positions - 1 - token_lens] = 0
    sums = F.pad(start.flatten(1), (1, 0, margin, 0), value=NEVER)  # (margin + N, 1 + 2 * B * (U+1))
    ahead = [_ahead(arc) for arc in arcs]
    steps = [(arc.diagonals, slice(1 - arc.positions, sums.size(1) - arc.positions)) for arc in arcs]
    for here in range(1, diagonals):
        terms = [
            sums[margin + here - back, cells] + log_prob[here]
            for (back, cells), log_prob in zip(steps, ahead, strict=True)
        ]
        target = sums[margin + here, 1:]
        torch.maximum(target, _log_sum(terms), out=target)  # `start` is the only other way into a cell
    before, after = sums[margin:, 1:].view(start.shape).unbind(1)
    return before, after.flip(0, 2)


def _ahead(arc: _Arc) -> Tensor:
    """The arc's log-probability at the cell it leads to, in both directions (N, 2 * B * (U+1))."""
    forward = arc.log_prob.roll((arc.diagonals, arc.positions), (0, 2))
    return torch.stack([forward, arc.log_prob.flip(0, 2)], dim=1).flatten(1)


def _log_sum(terms: list[Tensor]) -> Tensor:
    if len(terms) == 2:
        return torch.logaddexp(*terms)
    return torch.stack(terms).logsumexp(dim=0)


def _share(arc: _Arc, before: Tensor, after: Tensor) -> Tensor:
    """Overwrites the arc's log-probabilities with its share of all paths."""
    share, back, moved = arc.log_prob, arc.diagonals, arc.positions
    cells = slice(0, share.size(2) - moved)
    share[:-back, :, cells] += before[:-back, :, cells] + after[back:, :, moved:]
    return share.exp_()
