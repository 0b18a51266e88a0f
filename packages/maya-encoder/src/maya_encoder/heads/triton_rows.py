# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"
# ruff: noqa: PLR0913, PLR0917 - a kernel gets its pointers and sizes one by one
"""The functions of `cell_rows.py` as Triton kernels: one pass over the logits forward, one backward."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from maya_encoder.heads import cell_rows
from maya_encoder.heads.cell_rows import Rows

WIDEST = 4096  # columns that one program holds at once


@triton.jit
def _score(
    logits, bias, utterance, token, log_sum, blank, label, width, bias_stride, blank_id, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    logits += row * width
    bias += tl.load(utterance + row) * bias_stride
    highest = tl.full((), float("-inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    for start in range(0, width, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        inside = columns < width
        values = tl.load(logits + columns, mask=inside, other=float("-inf"))
        values += tl.load(bias + columns, mask=inside, other=0.0)
        raised = tl.maximum(highest, tl.max(values, axis=0))
        total = total * tl.exp(highest - raised) + tl.sum(tl.exp(values - raised), axis=0)
        highest = raised
    found = highest + tl.log(total)
    next_token = tl.load(token + row)
    tl.store(log_sum + row, found)
    tl.store(blank + row, tl.load(logits + blank_id) + tl.load(bias + blank_id) - found)
    tl.store(label + row, tl.load(logits + next_token) + tl.load(bias + next_token) - found)


@triton.jit
def _gradient(
    logits,
    grad,
    bias,
    utterance,
    token,
    log_sum,
    blank,
    label,
    width,
    bias_stride,
    blank_id,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < width
    bias += tl.load(utterance + row) * bias_stride
    values = tl.load(logits + row * width + columns, mask=inside, other=float("-inf"))
    values += tl.load(bias + columns, mask=inside, other=0.0)
    blank_share, label_share = tl.load(blank + row), tl.load(label + row)
    found = tl.exp(values - tl.load(log_sum + row)) * (blank_share + label_share)
    found -= tl.where(columns == blank_id, blank_share, 0.0)
    found -= tl.where(columns == tl.load(token + row), label_share, 0.0)
    tl.store(grad + row * width + columns, found.to(grad.dtype.element_ty), mask=inside)


def score_rows(logits: Tensor, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """As `cell_rows.score_rows`; the logits stay as they are."""
    if logits.dtype != torch.float32:
        return cell_rows.score_rows(logits, rows)
    log_sum, blank, label = (logits.new_empty(len(logits)) for _ in range(3))
    width = logits.size(1)
    block = min(triton.next_power_of_2(width), WIDEST)
    _score[(len(logits),)](
        logits,
        rows.bias,
        rows.utterance,
        rows.token,
        log_sum,
        blank,
        label,
        width,
        _bias_stride(rows),
        rows.blank_id,
        BLOCK=block,
        num_warps=8,
    )
    return log_sum, blank, label


def gradient_rows(logits: Tensor, rows: Rows, log_sum: Tensor, blank: Tensor, label: Tensor) -> Tensor:
    """As `cell_rows.gradient_rows`; in place unless the gradient is wanted in another dtype."""
    if logits.dtype != torch.float32:
        return cell_rows.gradient_rows(logits, rows, log_sum, blank, label)
    grad = logits if rows.factors == logits.dtype else torch.empty_like(logits, dtype=rows.factors)
    width = logits.size(1)
    block = min(triton.next_power_of_2(width), WIDEST)
    _gradient[(len(logits), triton.cdiv(width, block))](
        logits,
        grad,
        rows.bias,
        rows.utterance,
        rows.token,
        log_sum,
        blank,
        label,
        width,
        _bias_stride(rows),
        rows.blank_id,
        BLOCK=block,
        num_warps=8,
    )
    return grad


def _bias_stride(rows: Rows) -> int:
    return rows.bias.size(1) if len(rows.bias) > 1 else 0
