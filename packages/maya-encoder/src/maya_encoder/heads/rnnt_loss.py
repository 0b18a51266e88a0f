"""The transducer loss (Graves 2012, section 2.4), exact, without the (B, T, U+1, V) tensor.

Only two log-probabilities of a lattice cell matter: that of the blank and that of the next label. They are
computed utterance by utterance and a block of frames at a time, and again for the gradient where the blocks
are too many to keep. `lattice.py` then sums over the alignments.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from maya_encoder.heads.lattice import NEVER, lattice_nll


class JointSettings(NamedTuple):
    """How the joint network mixes its two inputs."""

    activation: str = "relu"
    dropout: float = 0.0
    max_values: int = 2**24
    """Logits and hidden values that may exist at once; more are computed again for the gradient."""


DEFAULT_JOINT = JointSettings()


class Targets(NamedTuple):
    """Labels and lengths of a batch."""

    encoder_out_lens: Tensor
    tokens: Tensor
    token_lens: Tensor
    forbidden: Tensor | None = None
    """What to add to the logits of each utterance (B, V)."""


class Activation(NamedTuple):
    """A function in place, and its gradient from (gradient, output)."""

    forward_: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]


def _relu_backward(grad: Tensor, output: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.threshold_backward(grad, output, 0)  # one pass over memory
    return found


def _tanh_backward(grad: Tensor, output: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.tanh_backward(grad, output)
    return found


ACTIVATIONS = {
    "relu": Activation(Tensor.relu_, _relu_backward),
    "tanh": Activation(Tensor.tanh_, _tanh_backward),
}


class Hidden(NamedTuple):
    """The joint's hidden layer for a block, each (t, u, J)."""

    active: Tensor
    scale: Tensor | None
    """What dropout multiplies it by."""
    dropped: Tensor


class Block(NamedTuple):
    """A run of frames of one utterance, against all of its label positions."""

    row: int
    frames: slice
    positions: slice


def rnnt_loss(
    encoder_part: Tensor,
    label_part: Tensor,
    output: tuple[Tensor, Tensor],
    targets: Targets,
    settings: JointSettings = DEFAULT_JOINT,
) -> Tensor:
    """Negative log-likelihood (B,) of the targets; zero for an utterance without frames.

    Args:
        encoder_part: projected encoder output (B, T, J).
        label_part: projected prediction network output (B, U+1, J).
        output: weight (V, J) and bias (V,) of the joint's last layer; the blank is the last row.
        targets: `encoder_out_lens` (B,), `tokens` (B, U), `token_lens` (B,), `forbidden` (B, V) or None.
        settings: activation and dropout between the sum of the two parts and the last layer.
    """
    blank, label = cell_log_probs(encoder_part, label_part, output, targets, settings)
    return lattice_nll(blank, label, targets.encoder_out_lens, targets.token_lens)


def cell_log_probs(
    encoder_part: Tensor,
    label_part: Tensor,
    output: tuple[Tensor, Tensor],
    targets: Targets,
    settings: JointSettings = DEFAULT_JOINT,
) -> tuple[Tensor, Tensor]:
    """Log-probability of the blank and of the next label in every cell, twice (B, T, U+1); -inf outside."""
    tensors: tuple[Tensor, ...] = (encoder_part, label_part, *output)
    if not torch.is_grad_enabled():
        tensors = tuple(tensor.detach() for tensor in tensors)  # or the function would keep its blocks
    apply: Callable[..., tuple[Tensor, Tensor]] = _CellLogProbs.apply
    return apply(*tensors, targets, settings)


class _CellLogProbs(Function):
    @staticmethod
    def forward(ctx: Any, encoder_part: Tensor, label_part: Tensor, weight: Tensor, *rest: Any) -> Any:
        bias, targets, settings = rest
        max_cells = max(1, settings.max_values // sum(weight.shape))
        blocks = list(_blocks(targets, max_cells))
        blank = encoder_part.new_full((len(encoder_part), encoder_part.size(1), label_part.size(1)), NEVER)
        label = blank.clone()
        ctx.seed = int(torch.randint(2**62, ())) if settings.dropout else 0
        keep = any(ctx.needs_input_grad) and sum(_num_cells(block) for block in blocks) <= max_cells
        ctx.kept = []
        hidden_blocks = _hidden(encoder_part, label_part, blocks, settings, ctx.seed)
        for block, hidden in zip(blocks, hidden_blocks, strict=True):
            log_probs = _log_probs(hidden.dropped, weight, _bias(bias, targets, block))  # (t, u, V)
            where = (block.row, block.frames, block.positions)
            blank[where] = log_probs[..., -1]
            next_token = _next_token(targets.tokens, block)
            label[where][:, :-1] = log_probs[:, :-1].gather(-1, next_token)[..., 0]
            if keep:
                ctx.kept.append((hidden, log_probs.exp_()))
        ctx.save_for_backward(encoder_part, label_part, weight, bias)
        ctx.targets, ctx.settings, ctx.blocks = targets, settings, blocks
        return blank, label

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_blank: Tensor, grad_label: Tensor) -> Any:
        tensors = ctx.saved_tensors
        grads = [torch.zeros_like(tensor) for tensor in tensors]
        slope = ACTIVATIONS[ctx.settings.activation].backward
        for block, (hidden, probs) in zip(ctx.blocks, ctx.kept or _again(ctx, *tensors), strict=True):
            where = (block.row, block.frames, block.positions)
            next_token = _next_token(ctx.targets.tokens, block)
            grad_logits = _grad_logits(probs, grad_blank[where], grad_label[where], next_token)
            grad_hidden = (grad_logits @ tensors[2]).view_as(hidden.active)
            if hidden.scale is not None:
                grad_hidden.mul_(hidden.scale)
            grad_hidden = slope(grad_hidden, hidden.active)  # (t, u, J)
            grads[0][block.row, block.frames] += grad_hidden.sum(dim=1)
            grads[1][block.row, block.positions] += grad_hidden.sum(dim=0)
            grads[2].addmm_(grad_logits.T, hidden.dropped.flatten(0, 1))
            grads[3] += grad_logits.sum(dim=0)
        ctx.kept = []
        return *grads, None, None


def _again(
    ctx: Any, encoder_part: Tensor, label_part: Tensor, weight: Tensor, bias: Tensor
) -> Iterator[tuple[Hidden, Tensor]]:
    hidden_blocks = _hidden(encoder_part, label_part, ctx.blocks, ctx.settings, ctx.seed)
    for block, hidden in zip(ctx.blocks, hidden_blocks, strict=True):
        yield hidden, _log_probs(hidden.dropped, weight, _bias(bias, ctx.targets, block)).exp_()


def _bias(bias: Tensor, targets: Targets, block: Block) -> Tensor:
    return bias if targets.forbidden is None else bias + targets.forbidden[block.row]


def _blocks(targets: Targets, max_cells: int) -> Iterator[Block]:
    lens = zip(targets.encoder_out_lens.tolist(), targets.token_lens.tolist(), strict=True)
    for row, (num_frames, num_tokens) in enumerate(lens):
        step = max(1, max_cells // (num_tokens + 1))
        for start in range(0, num_frames, step):
            yield Block(row, slice(start, min(start + step, num_frames)), slice(0, num_tokens + 1))


def _num_cells(block: Block) -> int:
    return int((block.frames.stop - block.frames.start) * block.positions.stop)


def _hidden(
    encoder_part: Tensor, label_part: Tensor, blocks: list[Block], settings: JointSettings, seed: int
) -> Iterator[Hidden]:
    """The joint's hidden layer for each block; the same seed drops the same values."""
    generator = torch.Generator(encoder_part.device).manual_seed(seed) if settings.dropout else None
    activate = ACTIVATIONS[settings.activation].forward_
    for row, frames, positions in blocks:
        active = activate(encoder_part[row, frames].unsqueeze(1) + label_part[row, positions])  # (t, u, J)
        if generator is None:
            yield Hidden(active, None, active)
        else:
            scale = torch.empty_like(active).bernoulli_(1 - settings.dropout, generator=generator)
            scale /= 1 - settings.dropout
            yield Hidden(active, scale, active * scale)


def _log_probs(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    logits = F.linear(hidden, weight, bias)
    return logits.sub_(logits.logsumexp(dim=-1, keepdim=True))


def _next_token(tokens: Tensor, block: Block) -> Tensor:
    next_token = tokens[block.row, : block.positions.stop - 1]
    return next_token.expand(block.frames.stop - block.frames.start, -1).unsqueeze(-1)  # (t, u-1, 1)


def _grad_logits(probs: Tensor, grad_blank: Tensor, grad_label: Tensor, next_token: Tensor) -> Tensor:
    """Gradient of the logits (t*u, V); `probs` is overwritten."""
    grad_logits = probs.mul_(-(grad_blank + grad_label).unsqueeze(-1))
    grad_logits[..., -1] += grad_blank
    grad_logits[:, :-1].scatter_add_(-1, next_token, grad_label[:, :-1].unsqueeze(-1))
    return grad_logits.flatten(0, 1)
