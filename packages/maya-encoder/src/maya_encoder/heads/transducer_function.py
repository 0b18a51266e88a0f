"""The transducer loss as one autograd function.

Only a few numbers of a lattice cell matter to the sum over alignments: the log-probability of the blank, that
of the next token and, for TDT, those of the durations. They are computed a chunk of cells at a time, and the
logits dropped. The sum tells which share of the alignments passes each cell; the backward pass computes the
logits again, but only of the cells that any alignment passes: most of them at first, few in a trained model.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from maya_encoder.heads.joint_cells import Joint, cells_where
from maya_encoder.heads.joint_gradient import JointGradient
from maya_encoder.heads.kernels import Kernels, kernels_for
from maya_encoder.heads.lattice import NEVER
from maya_encoder.heads.targets import Targets
from maya_encoder.heads.transducer_paths import CellScores, CellShares, path_shares

if TYPE_CHECKING:
    from maya_encoder.heads.transducer_loss import TransducerSettings

CPU_VALUES, DEVICE_VALUES = 2**23, 2**26
CPU_CELLS = 4096  # the hidden layer of more does not stay in the cache


class TransducerLoss(Function):
    """Encoder part (B, T, J), label part (B, U+1, J), weight (V + N, J), bias (V + N,) to losses (B,)."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, encoder_part: Tensor, label_part: Tensor, weight: Tensor, bias: Tensor, *rest: Any
    ) -> Tensor:
        targets, settings = rest
        seed = int(torch.randint(2**31, ())) if settings.dropout else 0
        kernels = kernels_for(encoder_part.device, settings.backend)
        joint = Joint((encoder_part, label_part), (weight, bias), settings, seed)
        scores, log_sum = _score_cells(joint, targets, settings, kernels)
        lens = (targets.encoder_out_lens, targets.token_lens)
        with_shares = any(ctx.needs_input_grad)
        nll, shares = path_shares(scores, settings, lambda arcs: kernels.path_sums(arcs, *lens, with_shares))
        ctx.save_for_backward(encoder_part, label_part, weight, bias, log_sum, *shares)
        ctx.targets, ctx.settings, ctx.seed, ctx.kernels = targets, settings, seed, kernels
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_nll: Tensor) -> Any:  # noqa: D102
        encoder_part, label_part, weight, bias, log_sum, *shares = ctx.saved_tensors
        with torch.autocast(grad_nll.device.type, enabled=False):
            joint = Joint((encoder_part, label_part), (weight, bias), ctx.settings, ctx.seed)
            wanted = ctx.needs_input_grad
            gradient = JointGradient(joint, any(wanted[:2]), any(wanted[2:4]))
            _add_cells(gradient, ctx, log_sum, CellShares(*shares), grad_nll)
        return *gradient.of_parts(encoder_part, label_part), *gradient.of_output(weight, bias), None, None


def _score_cells(
    joint: Joint, targets: Targets, settings: "TransducerSettings", kernels: Kernels
) -> tuple[CellScores, Tensor]:
    """Log-probabilities of all cells, and the log-sum of the label logits of each (B, T, U+1)."""
    own = targets.own_cells(joint.num_frames // len(targets.tokens))
    found = joint.table.new_full((3 + len(settings.durations), own.numel()), NEVER)
    size = _cells_at_once(joint, settings)
    space = joint.space(size)
    for cells in cells_where(own, targets.next_tokens()).chunks(size):
        hidden = joint.hidden(cells)
        columns = list(kernels.score_rows(joint.logits(hidden, space), joint.rows(cells)))
        if settings.durations:
            columns.extend(joint.duration_log_probs(hidden).unbind(1))
        found.index_copy_(1, cells.place, torch.stack(columns))
    log_sum, blank, label = found[:3].view(-1, *own.shape)
    durations = found[3:].view(-1, *own.shape)
    at_end = torch.arange(own.size(2), device=own.device) >= targets.token_lens.view(-1, 1, 1)
    return CellScores(blank, label.masked_fill_(at_end, NEVER), durations), log_sum


def _add_cells(
    gradient: JointGradient, ctx: Any, log_sum: Tensor, shares: CellShares, grad_nll: Tensor
) -> None:
    """The gradient of every cell that any alignment passes."""
    joint, settings = gradient.joint, ctx.settings
    passing = shares.blank + shares.label
    rounding = torch.finfo(passing.dtype).eps / 128
    used = ~(passing <= rounding) & (grad_nll != 0).view(-1, 1, 1)
    size = _cells_at_once(joint, settings)
    space = joint.space(size)
    for cells in cells_where(used, ctx.targets.next_tokens()).chunks(size):
        blank, label, sums = (x.flatten()[cells.place] for x in (shares.blank, shares.label, log_sum))
        scale = grad_nll[cells.utterance]
        hidden = joint.hidden(cells)
        logits = joint.logits(hidden, space)
        found = [ctx.kernels.gradient_rows(logits, joint.rows(cells), sums, blank * scale, label * scale)]
        if settings.durations:
            taken = (shares.durations.flatten(1)[:, cells.place] * scale).T  # (n, N)
            probs = joint.duration_log_probs(hidden).exp_()
            found.append(probs.mul_(taken.sum(1, keepdim=True)).sub_(taken).to(joint.factors))
        gradient.add(cells, hidden, found)


def _cells_at_once(joint: Joint, settings: "TransducerSettings") -> int:
    width = len(joint.output.weights[0]) + joint.table.size(1)
    if settings.max_values is not None:
        return max(1, settings.max_values // width)
    if joint.table.device.type == "cpu":
        return max(1, min(CPU_CELLS, CPU_VALUES // width))
    return max(1, DEVICE_VALUES // width)
