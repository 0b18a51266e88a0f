"""Rows of joint logits, one a lattice cell: what the loss needs of them, and their gradient. Plain torch.

`triton_rows.py` has the same two functions in one pass each.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """What a chunk of n cells adds to its logits and looks for in them."""

    bias: Tensor
    """Of the output layer (1, V), or one for each utterance (B, V)."""
    utterance: Tensor
    """Utterance of each cell (n,)."""
    token: Tensor
    """Next token of each cell (n,)."""
    blank_id: int
    factors: torch.dtype
    """What the gradient is wanted in."""


def score_rows(logits: Tensor, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Log-sum of each row, and log-probability of its blank and of its next token, each (n,).

    Args:
        logits: products (n, V) without bias; overwritten.
        rows: the cells.
    """
    _add_bias(logits, rows)
    blank_logit = logits[:, rows.blank_id].clone()
    torch.log_softmax(logits, dim=-1, out=logits)
    blank = logits[:, rows.blank_id].clone()
    return blank_logit - blank, blank, logits.gather(1, rows.token.unsqueeze(1))[:, 0]


def gradient_rows(logits: Tensor, rows: Rows, log_sum: Tensor, blank: Tensor, label: Tensor) -> Tensor:
    """Gradient (n, V) of the negative log-likelihoods by the logits.

    Args:
        logits: products (n, V) without bias; overwritten.
        rows: the cells.
        log_sum: what `score_rows` found (n,).
        blank: share of the alignments that take the cell's blank, times the gradient by the loss (n,).
        label: the same for the cell's label (n,).
    """
    _add_bias(logits, rows)
    logits.sub_(log_sum.unsqueeze(1)).exp_().mul_((blank + label).unsqueeze(1))
    logits[:, rows.blank_id] -= blank
    return logits.scatter_add_(1, rows.token.unsqueeze(1), -label.unsqueeze(1)).to(rows.factors)


def _add_bias(logits: Tensor, rows: Rows) -> None:
    logits.add_(rows.bias if len(rows.bias) == 1 else rows.bias.index_select(0, rows.utterance))
