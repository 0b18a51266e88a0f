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
def _walk(
    stay,
    move,
    stay_frames,
    move_frames,
    lens,
    token_lens,
    sums,
    batch,
    num_frames,
    positions,
    STAYS: tl.constexpr,
    MOVES: tl.constexpr,
    INSTANT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    back = tl.program_id(1)  # 1 for the sums from each cell to the end
    sign = 1 - 2 * back
    own_frames = tl.load(lens + row)
    last = tl.load(token_lens + row)
    place = tl.arange(0, BLOCK)
    position = tl.where(back == 1, last - place, place)
    inside = place <= last
    writes = inside & (place > 0)
    sums += (back * batch + row) * num_frames * positions
    for step in range(own_frames):
        frame = tl.where(back == 1, own_frames - 1 - step, step) + tl.zeros((BLOCK,), tl.int64)
        reached = tl.where(place + step + back == 0, 0.0, LOWEST).to(tl.float64)
        for k in tl.static_range(STAYS):
            source = frame - sign * tl.load(stay_frames + k)
            known = inside & (source >= 0) & (source < own_frames)
            at_end = (source == own_frames) & (place == 0)  # only the way back gets there
            arc = (k * batch + row) * num_frames + tl.where(back == 1, frame, source)
            value = tl.load(sums + source * positions + position, mask=known, other=LOWEST)
            value = tl.where(at_end, 0.0, value)
            log_prob = tl.load(stay + arc * positions + position, mask=known | at_end, other=0.0)
            reached = _add_logs(reached, value + log_prob)
        factor = tl.full((BLOCK,), LOWEST, tl.float64)
        for m in tl.static_range(MOVES):
            source = frame - sign * tl.load(move_frames + m)
            arc = (m * batch + row) * num_frames + tl.where(back == 1, frame, source)
            leaves = arc * positions + tl.where(back == 1, position, position - 1)
            if m == INSTANT:
                factor = tl.load(move + leaves, mask=writes, other=LOWEST).to(tl.float64)
            else:
                known = writes & (source >= 0) & (source < own_frames)
                value = tl.load(sums + source * positions + position - sign, mask=known, other=LOWEST)
                log_prob = tl.load(move + leaves, mask=known, other=0.0)
                reached = _add_logs(reached, value + log_prob)
        _, reached = tl.associative_scan((factor, reached), 0, _join)
        tl.store(sums + frame * positions + position, reached, mask=inside)
        tl.debug_barrier()  # other threads of the program read what this one wrote


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
    batch,
    num_frames,
    positions,
    STAYS: tl.constexpr,
    MOVES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    frame = tl.program_id(1) + tl.zeros((BLOCK,), tl.int64)
    own_frames = tl.load(lens + row)
    last = tl.load(token_lens + row)
    position = tl.arange(0, BLOCK)
    inside = (position <= last) & (frame < own_frames)
    before = sums + row * num_frames * positions
    after = sums + (batch + row) * num_frames * positions
    total = tl.load(after, mask=own_frames > 0, other=LOWEST)
    possible = inside & (total + tl.zeros((BLOCK,), tl.float64) > LOWEST / 2)
    here = tl.load(before + frame * positions + position, mask=possible, other=LOWEST) - total
    for k in tl.static_range(STAYS):
        target = frame + tl.load(stay_frames + k)
        arc = ((k * batch + row) * num_frames + frame) * positions + position
        rest = tl.load(
            after + target * positions + position, mask=possible & (target < own_frames), other=LOWEST
        )
        rest = tl.where((target == own_frames) & (position == last), 0.0, rest)
        log_prob = tl.load(stay + arc, mask=possible, other=LOWEST)
        tl.store(stay_share + arc, tl.exp((here + log_prob + rest).to(tl.float32)), mask=possible)
    for m in tl.static_range(MOVES):
        target = frame + tl.load(move_frames + m)
        arc = ((m * batch + row) * num_frames + frame) * positions + position
        known = possible & (target < own_frames) & (position < last)
        rest = tl.load(after + target * positions + position + 1, mask=known, other=LOWEST)
        log_prob = tl.load(move + arc, mask=known, other=LOWEST)
        tl.store(move_share + arc, tl.exp((here + log_prob + rest).to(tl.float32)), mask=possible)


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
    shape = (batch, num_frames, positions)
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
