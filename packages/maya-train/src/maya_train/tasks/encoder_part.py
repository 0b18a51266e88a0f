"""A part of the encoder that learns in its place: its top layers, or LoRA beside its linear layers.

The rest is frozen and in eval mode, so that no dropout is in it and no batch statistics of it move.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from maya_bridge.lora import ADAPTER, add_lora, lora_layers, lora_part


def top_layers(encoder: Any, number: int) -> nn.ModuleList:
    """The last layers."""
    return nn.ModuleList(list(encoder.layers)[-number:])


def add_encoder_lora(
    encoder: Any, rank: int, alpha: float, dropout: float, targets: Sequence[str]
) -> nn.ModuleList:
    """Put LoRA beside the linear layers that `targets` names; returns what learns: the matrices alone."""
    add_lora(encoder, rank, alpha, dropout, targets)
    return lora_part(encoder)


def set_part_mode(encoder: nn.Module, part: nn.Module | None) -> None:
    """Training mode for the part that learns, eval mode for the rest; with None, nothing is changed."""
    if part is None:
        return
    encoder.eval()
    part.train()
    for _, layer in lora_layers(encoder):
        layer.lora_dropout.train()


@contextmanager
@torch.no_grad()
def folded(encoder: nn.Module) -> Iterator[None]:
    """The encoder has plain layers with LoRA added to their weights while the block runs."""
    wrapped = list(lora_layers(encoder))
    for name, layer in wrapped:
        plain = copy.copy(layer.base_layer)
        delta = layer.get_delta_weight(ADAPTER).float()
        weight = layer.base_layer.weight
        plain._parameters = dict(layer.base_layer._parameters)
        plain.weight = nn.Parameter((weight.float() + delta).to(weight.dtype), requires_grad=False)
        encoder.set_submodule(name, plain)
    try:
        yield
    finally:
        for name, layer in wrapped:
            encoder.set_submodule(name, layer)
