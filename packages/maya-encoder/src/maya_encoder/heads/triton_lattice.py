# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"
# ruff: noqa: PLR0913, PLR0917 - a kernel gets its pointers and sizes one by one
"""`lattice.path_sums` as two Triton kernels.

One program walks one utterance in one direction, frame after frame. The arcs that write a token and stay at
the frame are a linear recurrence over its positions, which an associative scan solves in log U steps.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from maya_encoder.heads.lattice import Arcs, PathSums

LOWEST = tl.constexpr(-1e30)  # the log of nothing; finite, so that differences of two are no NaN


@triton.jit
def _add_logs(left, right):
    """In double precision; what the smaller one adds is less than 1, where single precision will do."""
    behind = (tl.minimum(left, right) - tl.maximum(left, right)).to(tl.float32)
    return tl.maximum(left, right) + tl.log(1.0 + tl.exp(behind)).to(tl.float64)


@triton.jit
def _join(left_factor, left_sum, right_factor, right_sum):
    return left_factor + right_factor, _add_logs(left_sum + right_factor, right_sum)


@triton.jit
def _by_staying(
    reached,
    stay,
    stays,
    sums,
    frame,
    place,
    position,
    last,
    end,
    plane,
    width,
    sign,
    STAYS: tl.constexpr,
):
    """What is reached at `frame`, with the arcs in that write no token."""
    for k in tl.static_range(STAYS):
        source = frame - sign * tl.load(stays + k)
        known = (place <= last) & (source >= 0) & (source < end)
        at_end = (source == end) & (place == 0)  # only the way back gets there
        value = tl.load(sums + source * width + position, mask=known, other=LOWEST)
        value = tl.where(at_end, 0.0, value)
        arc = k * plane + tl.where(sign < 0, frame, source) * width + position
        reached = _add_logs(reached, value + tl.load(stay + arc, mask=known | at_end, other=0.0))
    return reached


@triton.jit
def _by_writing(
    reached,
    move,
    moves,
    sums,
    frame,
    position,
    writes,
    end,
    plane,
    width,
    sign,
    MOVES: tl.constexpr,
    INSTANT: tl.constexpr,
):
    """The same with those that write one and move on; and those that write one and stay."""
    factor = tl.full(position.shape, LOWEST, tl.float64)
    for m in tl.static_range(MOVES):
        source = frame - sign * tl.load(moves + m)
        leaves = m * plane + tl.where(sign < 0, frame, source) * width + position - (1 + sign) // 2
        if m == INSTANT:
            factor = tl.load(move + leaves, mask=writes, other=LOWEST).to(tl.float64)
        else:
            known = writes & (source >= 0) & (source < end)
            value = tl.load(sums + source * width + position - sign, mask=known, other=LOWEST)
            reached = _add_logs(reached, value + tl.load(move + leaves, mask=known, other=0.0))
    return factor, reached


@triton.jit
def _walk(
    stay,
    move,
    stays,
    moves,
    lens,
    token_lens,
    sums,
    num_frames,
    width,
    STAYS: tl.constexpr,
    MOVES: tl.constexpr,
    INSTANT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    back = tl.program_id(1)  # 1 for the sums from each cell to the end
    end, last = tl.load(lens + row), tl.load(token_lens + row)
    place, sign = tl.arange(0, BLOCK), 1 - 2 * back
    position = tl.where(back == 1, last - place, place)
    plane = tl.num_programs(0).to(tl.int64) * num_frames * width
    own = row * num_frames * width
    sums += back * plane + own
    writes = (place <= last) & (place > 0)
    for step in range(end):
        frame = tl.where(back == 1, end - 1 - step, step) + tl.zeros((BLOCK,), tl.int64)
        reached = tl.where(place + step + back == 0, 0.0, LOWEST).to(tl.float64)
        reached = _by_staying(
            reached, stay + own, stays, sums, frame, place, position, last, end, plane, width, sign, STAYS
        )
        factor, reached = _by_writing(
            reached, move + own, moves, sums, frame, position, writes, end, plane, width, sign, MOVES, INSTANT
        )
        _, reached = tl.associative_scan((factor, reached), 0, _join)
        tl.store(sums + frame * width + position, reached, mask=place <= last)
        tl.debug_barrier()  # other threads of the program read what this one wrote


@triton.jit
def _put_share(share, arcs, arc, around, known, possible):
    """The share of the paths that take an arc, of which the log-probability of all else is `around`."""
    log_prob = tl.load(arcs + arc, mask=known, other=LOWEST)
    tl.store(share + arc, tl.exp((around + log_prob).to(tl.float32)), mask=possible)


@triton.jit
def _share(
    stay,
    move,
    stay_frames,
    move_frames,
    lens,
    token_lens,
    sums,
    stay_share,
    move_share,
    num_frames,
    positions,
    STAYS: tl.constexpr,
    MOVES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, position = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    frame = tl.program_id(1) + tl.zeros((BLOCK,), tl.int64)
    own_frames, last = tl.load(lens + row), tl.load(token_lens + row)
    plane = tl.num_programs(0).to(tl.int64) * num_frames * positions
    cell = (row * num_frames + frame) * positions + position
    after = sums + plane + row * num_frames * positions
    total = tl.load(after, mask=own_frames > 0, other=LOWEST)
    inside = (position <= last) & (frame < own_frames)
    possible = inside & (total + tl.zeros((BLOCK,), tl.float64) > LOWEST / 2)
    here = tl.load(sums + cell, mask=possible, other=LOWEST) - total
    for k in tl.static_range(STAYS):
        target = frame + tl.load(stay_frames + k)
        known = possible & (target < own_frames)
        rest = tl.load(after + target * positions + position, mask=known, other=LOWEST)
        rest = tl.where((target == own_frames) & (position == last), 0.0, rest)
        _put_share(stay_share, stay, k * plane + cell, here + rest, possible, possible)
    for m in tl.static_range(MOVES):
        target = frame + tl.load(move_frames + m)
        known = possible & (target < own_frames) & (position < last)
        rest = tl.load(after + target * positions + position + 1, mask=known, other=LOWEST)
        _put_share(move_share, move, m * plane + cell, here + rest, known, possible)


def path_sums(arcs: Arcs, encoder_out_lens: Tensor, token_lens: Tensor, with_shares: bool = True) -> PathSums:
    """As `lattice.path_sums`."""
    stay, move = arcs.stay.contiguous(), arcs.move.contiguous()
    _, batch, num_frames, positions = stay.shape
    frames = [torch.tensor(x, device=stay.device) for x in (arcs.stay_frames, arcs.move_frames)]
    lens = (encoder_out_lens.to(stay.device), token_lens.to(stay.device))
    sums = torch.full(
        (2, batch, num_frames, positions), LOWEST.value, dtype=torch.float64, device=stay.device
    )
    block = triton.next_power_of_2(positions)
    sizes = {
        "STAYS": len(stay),
        "MOVES": len(move),
        "BLOCK": block,
        "num_warps": min(max(block // 128, 1), 8),
    }
    instant = arcs.move_frames.index(0) if 0 in arcs.move_frames else -1
    shape = (num_frames, positions)
    _walk[(batch, 2)](stay, move, *frames, *lens, sums, *shape, INSTANT=instant, num_stages=1, **sizes)
    total = sums[1, :, 0, 0]
    nll = torch.where(total > LOWEST.value / 2, -total, 0.0).to(stay.dtype)
    broken = stay.isnan().any(0).flatten(1).any(1) | move.isnan().any(0).flatten(1).any(1)
    nll = nll.masked_fill(broken, float("nan"))  # the maximum of a number and NaN is the number
    if not with_shares:
        return PathSums(nll, nll.new_empty(0), nll.new_empty(0))
    shares = (torch.zeros_like(stay), torch.zeros_like(move))
    _share[(batch, num_frames)](stay, move, *frames, *lens, sums, *shares, *shape, **sizes)
    return PathSums(nll, *shares)
