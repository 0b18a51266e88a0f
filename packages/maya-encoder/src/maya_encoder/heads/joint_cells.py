"""The joint network on a list of lattice cells, a chunk at a time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maya_encoder.heads.activations import ACTIVATIONS, dropout_scale
from maya_encoder.heads.cell_rows import Rows

if TYPE_CHECKING:
    from maya_encoder.heads.transducer_loss import TransducerSettings

ALIGNMENT = 8  # tensor cores want rows of a multiple of 16 bytes
BANNED = -1e30  # bias of the rows that only fill up


class Cells(NamedTuple):
    """n cells of a (B, T, U+1) lattice, each (n,)."""

    place: Tensor
    """In the flat lattice."""
    utterance: Tensor
    frame: Tensor
    """Place in the flat (B, T)."""
    position: Tensor
    """Place in the flat (B, U+1)."""
    token: Tensor
    """The next token; any at the last position."""

    def chunks(self, size: int) -> "Iterator[Cells]":
        """The same cells, `size` at a time."""
        for start in range(0, len(self.place), size):
            yield Cells(*(column[start : start + size] for column in self))


def cells_where(mask: Tensor, next_tokens: Tensor) -> Cells:
    """The cells where `mask` (B, T, U+1) holds, in order; `next_tokens` is (B, U+1)."""
    _, num_frames, positions = mask.shape
    utterance, frame, token_position = mask.nonzero().unbind(1)
    frame = frame + utterance * num_frames
    position = token_position + utterance * positions
    return Cells(
        frame * positions + token_position, utterance, frame, position, next_tokens.flatten()[position]
    )


class Hidden(NamedTuple):
    """The joint's hidden layer in n cells, each (n, J)."""

    active: Tensor
    scale: Tensor | None
    """What dropout multiplies it by."""
    dropped: Tensor


class Output(NamedTuple):
    """The joint's last layer, laid out for products."""

    weights: tuple[Tensor, ...]
    """Of the labels (V, J), filled up to whole vectors of the tensor cores where these are used; for TDT also
    of the durations (N, J)."""
    label_bias: Tensor
    """(1, V), or (B, V) where each utterance may write its own ids only."""
    duration_bias: Tensor
    """(N,)."""
    blank_id: int


class Joint:
    """Hidden layer and logits of any cells of a batch.

    Sums are held in single precision, or double for double inputs. Factors of products are too, but bfloat16
    inputs on a CUDA device are multiplied by its tensor cores, which add up in single precision.
    """

    def __init__(
        self,
        parts: tuple[Tensor, Tensor],
        output: tuple[Tensor, Tensor],
        settings: "TransducerSettings",
        seed: int,
    ) -> None:
        rows = torch.cat([part.flatten(0, 1) for part in parts])
        self.factors = factor_dtype(rows)
        sums = torch.float64 if rows.dtype == torch.float64 else torch.float32
        self.table = rows.to(sums)  # (B * T + B * (U+1), J)
        self.num_frames = parts[0].size(0) * parts[0].size(1)
        self.output = _lay_out(*output, settings, self.factors)
        self.activation = ACTIVATIONS[settings.activation]
        self.dropout = settings.dropout
        self.seed = seed

    def hidden(self, cells: Cells) -> Hidden:
        """The hidden layer; dropout drops the same values of the same cell at every call."""
        pairs = torch.stack([cells.frame, cells.position + self.num_frames], dim=1)
        active = self.activation.forward_(F.embedding_bag(pairs, self.table, mode="sum"))  # (n, J)
        if not self.dropout:
            return Hidden(active, None, active.to(self.factors))
        scale = dropout_scale(cells.place, active.size(1), self.dropout, self.seed)
        return Hidden(active, scale, (active * scale).to(self.factors))

    def logits(self, hidden: Hidden, space: Tensor) -> Tensor:
        """Label logits (n, V) without bias, in `space` where that serves."""
        return product(hidden.dropped, self.output.weights[0].T, space)

    def duration_log_probs(self, hidden: Hidden) -> Tensor:
        """Log-probabilities of the durations (n, N)."""
        logits = product(hidden.dropped, self.output.weights[1].T)
        return logits.add_(self.output.duration_bias).log_softmax(dim=-1)

    def space(self, num_cells: int) -> Tensor:
        """Room for the logits of a chunk."""
        return self.table.new_empty(num_cells, len(self.output.weights[0]))

    def rows(self, cells: Cells) -> Rows:
        """What belongs to the logits of the cells."""
        output = self.output
        return Rows(output.label_bias, cells.utterance, cells.token, output.blank_id, self.factors)


def _lay_out(weight: Tensor, bias: Tensor, settings: "TransducerSettings", dtype: torch.dtype) -> Output:
    num_labels = len(weight) - len(settings.durations)
    weight, bias = weight.to(dtype), bias.to(torch.promote_types(dtype, torch.float32))
    labels, biases = weight[:num_labels], bias[:num_labels].unsqueeze(0)
    if settings.forbidden is not None:
        biases = biases + settings.forbidden.to(biases.dtype)
    if dtype == torch.bfloat16 and (missing := -num_labels % ALIGNMENT):
        labels = F.pad(labels, (0, 0, 0, missing))
        biases = F.pad(biases, (0, missing), value=BANNED)
    weights = (labels, weight[num_labels:]) if settings.durations else (labels,)
    return Output(weights, biases, bias[num_labels:], num_labels - 1)


def factor_dtype(parts: Tensor) -> torch.dtype:
    """What the factors of matrix products are held in."""
    if parts.dtype == torch.bfloat16 and parts.is_cuda:
        return torch.bfloat16
    return torch.float64 if parts.dtype == torch.float64 else torch.float32


def product(left: Tensor, right: Tensor, space: Tensor | None = None) -> Tensor:
    """Matrix product in single precision, or double for double factors."""
    if left.dtype == torch.bfloat16 and left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    if left.dtype == torch.bfloat16:
        return torch.mm(left.float(), right.float())
    return torch.mm(left, right, out=None if space is None else space[: len(left)])
