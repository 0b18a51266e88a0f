"""The part of a model that training changes, by name: what a training state holds of it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from maya_train.checkpoints import BrokenCheckpoint
from maya_train.checkpoints.shards import placed_like


def changing_state(module: nn.Module) -> dict[str, Tensor]:
    """The part of a state dict that training changes: nothing frozen, no buffers beside frozen weights."""
    # A tied weight is in the state dict under each of its names.
    named = module.named_parameters(remove_duplicate=False)
    frozen = {name for name, parameter in named if not parameter.requires_grad}
    for prefix, child in module.named_modules():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            frozen.update(f"{prefix}.{name}" for name, _ in child.named_buffers())
    return {name: value for name, value in module.state_dict().items() if name not in frozen}


def check_names(wanted: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], source: Path) -> None:
    """Refuse saved weights of another model; the error names the first that does not fit."""
    if odd := sorted(set(wanted) ^ set(shapes)):
        raise BrokenCheckpoint(f"{source} is of another model: {odd[0]} is in only one of them")
    if odd := [name for name in wanted if wanted[name].shape != shapes[name]]:
        was, now = tuple(shapes[odd[0]]), tuple(wanted[odd[0]].shape)
        raise BrokenCheckpoint(
            f"{source} is of another model: {odd[0]} has shape {was}, the model wants {now}"
        )


@torch.no_grad()
def load_changing_state(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Put saved weights back, each process its share; names that do not fit are an error."""
    wanted = changing_state(module)
    check_names(wanted, {name: value.shape for name, value in state.items()}, source)
    module.load_state_dict({name: placed_like(state[name], wanted[name]) for name in state}, strict=False)
