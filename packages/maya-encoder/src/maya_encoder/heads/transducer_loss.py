"""The transducer loss, exact, without the (B, T, U+1, V) tensor.

RNNT is that of Graves 2012; TDT, the token-and-duration transducer, that of arXiv 2304.06795.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from maya_encoder.heads import Reduction, reduce_loss
from maya_encoder.heads.activations import ACTIVATIONS
from maya_encoder.heads.kernels import Backend
from maya_encoder.heads.targets import Targets, check_targets
from maya_encoder.heads.transducer_function import TransducerLoss


@dataclass(frozen=True, eq=False, kw_only=True)
class TransducerSettings:
    """What the loss is made of, besides the tensors."""

    durations: tuple[int, ...] = ()
    """TDT: frames that a step may go on by, in the order of the output layer's last rows. Empty for RNNT."""
    reduction: Reduction = "none"
    """`none` gives (B,); `mean_batch`, `mean_volume` (sum by number of tokens) and `sum` give one number."""
    fastemit_lambda: float = 0.0
    """FastEmit (arXiv 2010.11148): the gradient of every label's log-probability counts 1 + lambda times. The
    value stays the negative log-likelihood; NeMo's kernels report it times 1 + lambda."""
    sigma: float = 0.0
    """TDT: taken off the log-probability of every label and blank, so that fewer and longer steps win."""
    omega: float = 0.0
    """TDT: weight of the plain RNNT loss of the same logits, without sigma, in the sum. NeMo draws one of
    the two losses for a batch with this probability; this is what it draws on average."""
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    """Activation of the joint's hidden layer."""
    dropout: float = 0.0
    """Share of the hidden layer's values dropped."""
    forbidden: Tensor | None = None
    """What to add to the label logits of each utterance (B, V), very negative for foreign ids."""
    max_values: int | None = None
    """Logits and hidden values that may exist at once; by default 8 million on a CPU, else 64."""
    backend: Backend = "auto"
    """`auto` takes Triton's kernels on CUDA where Triton is installed, plain torch otherwise."""

    def __post_init__(self) -> None:
        if self.durations and (min(self.durations) < 0 or not any(self.durations)):
            raise ValueError(f"`durations` must be frames from 0 up, not all 0, got {self.durations}")
        if len(set(self.durations)) < len(self.durations):
            raise ValueError(f"`durations` must be different, got {self.durations}")
        if not self.durations and (self.sigma or self.omega):
            raise ValueError("`sigma` and `omega` belong to TDT: give `durations`, or leave both at 0")
        if self.sigma < 0:
            raise ValueError(f"`sigma` must be 0 or more, got {self.sigma}")
        if not 0 <= self.omega <= 1:
            raise ValueError(f"`omega` must be from 0 to 1, got {self.omega}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be at least 0 and less than 1, got {self.dropout}")
        if self.max_values is not None and self.max_values < 1:
            raise ValueError(f"`max_values` must be 1 or more, got {self.max_values}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"`activation` must be relu, tanh or sigmoid, got {self.activation!r}")


RNNT = TransducerSettings()


def transducer_loss(
    encoder_part: Tensor,
    label_part: Tensor,
    output: tuple[Tensor, Tensor],
    encoder_out_lens: Tensor,
    tokens: Tensor,
    token_lens: Tensor,
    settings: TransducerSettings = RNNT,
) -> Tensor:
    """Negative log-likelihood of the tokens: (B,), or reduced as the settings say.

    The joint network's logits are `output(activation(encoder_part[b, t] + label_part[b, u]))`; V counts the
    blank, the last label, after which comes one logit for each duration of TDT. Value and gradient are exact
    up to rounding: cells that less than 1e-9 of the alignments pass (2e-18 in double precision) are left out
    of the gradient. Sums are in single precision at least, whatever the inputs are in. An utterance that
    cannot be written, as one without frames, has loss 0 and no gradient.

    Args:
        encoder_part: projected encoder output (B, T, J).
        label_part: projected prediction network output (B, U+1, J), for no token up to all of them.
        output: weight (V + N, J) and bias (V + N,) of the joint's last layer, N the number of durations.
        encoder_out_lens: frames of each utterance (B,).
        tokens: target ids (B, U), each from 0 to V-2; padding may hold anything.
        token_lens: tokens of each utterance (B,).
        settings: durations, reduction and all else.

    Raises:
        ValueError: shapes that do not fit together, a length beyond its tensor, or a token that is no label.
    """
    targets = Targets(encoder_out_lens, tokens.long(), token_lens)
    _check_shapes(encoder_part, label_part, output, tokens)
    check_targets(targets, encoder_part.size(1), len(output[0]) - len(settings.durations) - 1)
    nll = nll_of((encoder_part, label_part), output, targets, settings)
    return reduce_loss(nll, token_lens, settings.reduction)


def nll_of(
    parts: tuple[Tensor, Tensor],
    output: tuple[Tensor, Tensor],
    targets: Targets,
    settings: TransducerSettings,
) -> Tensor:
    """The loss of each utterance (B,), for shapes and targets that were checked."""
    tensors: tuple[Tensor, ...] = (*parts, *output)
    if not torch.is_grad_enabled():
        tensors = tuple(tensor.detach() for tensor in tensors)  # or the function would compute shares
    with torch.autocast(parts[0].device.type, enabled=False):
        nll: Tensor = TransducerLoss.apply(*tensors, targets, settings)  # type: ignore[no-untyped-call]
    return nll


def _check_shapes(
    encoder_part: Tensor, label_part: Tensor, output: tuple[Tensor, Tensor], tokens: Tensor
) -> None:
    batch, _, width = encoder_part.shape
    if label_part.shape != (batch, tokens.size(1) + 1, width):
        wanted = (batch, tokens.size(1) + 1, width)
        raise ValueError(
            f"`label_part` must be {wanted}, one more than the tokens, got {tuple(label_part.shape)}"
        )
    weight, bias = output
    if weight.size(1) != width or bias.shape != weight.shape[:1]:
        found = (tuple(weight.shape), tuple(bias.shape))
        raise ValueError(f"`output` must be a weight (V, {width}) and a bias (V,), got {found}")
