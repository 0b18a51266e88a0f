"""Make a trained encoder deeper without changing what it computes.

A new layer starts as identity: the last projection of each of its residual branches is zero. What closes a
layer, `norm_out`, is no identity, but normalising twice is the same as once where nothing comes between. So
the gains and offsets of the layer before go to the last new layer behind it, and in between frames are
normalised to one scale s. With v the variance of a frame, this is off by the factor
1 + eps (1 / v - 1 / s^2) / 2: s is measured such that the difference vanishes for frames of noise, and so is
far below 1e-5 for those of speech.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar, cast, get_args

import torch
from torch import Tensor, nn

from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.fastconformer import FastConformer
from maya_encoder.modes import evaluation_view

How = Literal["interpolate", "duplicate"]
Module = TypeVar("Module", bound=nn.Module)

NOISE_FRAMES = 400
"""Feature frames of noise that scales are measured on."""

BRANCH_ENDS = (
    "feed_forward1.linear2",
    "self_attn.linear_out",
    "conv.pointwise_conv2",
    "feed_forward2.linear2",
)
"""The last projection of each residual branch."""


def expand_layers(model: Module, num_layers: int = 32, how: How = "interpolate") -> Module:
    """A deeper copy of `model` with the same output, also in training mode without dropout.

    New layers are spread evenly between the old ones. Their branches learn from the first step on: their last
    projections at once, what lies before them once those have left zero. Stochastic depth should be off while
    they are young: a dropped layer leaves its norm out.

    Args:
        model: an AcousticModel or a FastConformer; it is not changed.
        num_layers: layers of the copy.
        how: fill the branches with means of the neighbours (`interpolate`) or as in the layer before
            (`duplicate`).

    Raises:
        ValueError: the encoder has that many layers already, or `how` is unknown.
    """
    if how not in get_args(How):
        raise ValueError(f"`how` must be {' or '.join(get_args(How))}, got {how!r}")
    deeper = copy.deepcopy(model)
    encoder = cast(FastConformer, deeper.encoder if isinstance(deeper, AcousticModel) else deeper)
    old = list(encoder.layers)
    if num_layers <= len(old):
        raise ValueError(
            f"`num_layers` must be more than the {len(old)} that the encoder has, got {num_layers}"
        )
    layers: list[nn.Module] = []
    scales = _frame_scales(encoder)
    for place, count in enumerate(new_layers_behind(len(old), num_layers)):
        added = _identities(old, place, count, how)
        if added:
            before: Any = old[place]
            _hand_over(before.norm_out, [layer.norm_out for layer in added], scales[place])
        layers += [old[place], *added]
    encoder.layers = nn.ModuleList(layers)
    _share_biases(encoder)
    encoder.config = replace(encoder.config, num_layers=num_layers)
    if isinstance(deeper, AcousticModel):
        deeper.config = replace(deeper.config, encoder=encoder.config)
    return deeper


def new_layers_behind(num_old: int, num_layers: int) -> list[int]:
    """How many new layers come behind each old one: evenly, and between two old ones where possible."""
    added = num_layers - num_old
    counts = [0] * num_old
    for k in range(added):
        counts[max(0, (k + 1) * num_old // (added + 1) - 1)] += 1
    return counts


@torch.no_grad()
def _frame_scales(encoder: FastConformer) -> list[float]:
    """The deviation of frames before the closing norm of each layer, for features of noise."""
    found: list[float] = []

    def measure(norm: Any, inputs: tuple[Tensor]) -> None:
        found.append(_scale(inputs[0], norm.eps))

    layers: list[Any] = list(encoder.layers)
    hooks = [layer.norm_out.register_forward_pre_hook(measure) for layer in layers]
    weight = encoder.pre_encode.out.weight
    num_mels = weight.shape[1] // encoder.pre_encode.channels * encoder.subsampling_factor
    noise = torch.randn(1, NOISE_FRAMES, num_mels, generator=torch.Generator().manual_seed(0))
    try:
        evaluation_view(encoder)(noise.to(weight), torch.tensor([NOISE_FRAMES], device=weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _scale(frames: Tensor, eps: float) -> float:
    return float((frames.float().var(-1, correction=0) + eps).reciprocal().mean().rsqrt())


def _identities(old: list[Any], place: int, count: int, how: How) -> list[Any]:
    """New layers behind `old[place]`."""
    after = old[min(place + 1, len(old) - 1)]
    shares = [(k + 1) / (count + 1) if how == "interpolate" else 0.0 for k in range(count)]
    return [_identity(old[place], after, share) for share in shares]


def _identity(before: nn.Module, after: nn.Module, share: float) -> nn.Module:
    """A layer between two, with branches that end in zero."""
    layer = copy.deepcopy(before)
    layer.load_state_dict(_between(before.state_dict(), after.state_dict(), share))
    for name in BRANCH_ENDS:
        for parameter in layer.get_submodule(name).parameters():
            nn.init.zeros_(parameter)
    return layer


def _between(before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    return {
        name: torch.lerp(tensor, after[name].to(tensor), share) if tensor.is_floating_point() else tensor
        for name, tensor in before.items()
    }


@torch.no_grad()
def _hand_over(norm: nn.LayerNorm, later: list[nn.LayerNorm], scale: float) -> None:
    """Move the affine part of `norm` to the last of `later`; all others bring frames to `scale`."""
    later[-1].weight.copy_(norm.weight)
    later[-1].bias.copy_(norm.bias)
    for each in (norm, *later[:-1]):
        each.weight.fill_(scale)
        each.bias.zero_()


def _share_biases(encoder: FastConformer) -> None:
    """Where all layers share one pair of position biases, the new ones do too."""
    if encoder.config.untie_biases:
        return
    first: Any = encoder.layers[0]
    for layer in encoder.layers:
        attention: Any = layer.self_attn
        attention.pos_bias_u, attention.pos_bias_v = first.self_attn.pos_bias_u, first.self_attn.pos_bias_v
