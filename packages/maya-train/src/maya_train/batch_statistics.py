"""Running statistics of BatchNorm over processes: each counts its own batches, what is used is their mean."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def statistics(module: nn.Module) -> dict[str, Tensor]:
    """Running means, variances and counts that training moves, by their names in the state dict."""
    found: dict[str, Tensor] = {}
    for prefix, child in module.named_modules():
        is_frozen = all(not parameter.requires_grad for parameter in child.parameters())
        if isinstance(child, _BatchNorm) and child.track_running_stats and not is_frozen:
            found |= dict(child.named_buffers(prefix, recurse=False))
    return found


def mean_over_processes(fabric: Fabric, module: nn.Module) -> dict[str, Tensor]:
    """What is the mean of all processes' statistics (counts are not), for all; with one process nothing."""
    own = {name: value for name, value in statistics(module).items() if value.is_floating_point()}
    if fabric.world_size == 1 or not own:
        return {}
    flat = torch.cat([value.flatten().to(torch.float64) for value in own.values()])
    total = fabric.all_reduce(flat, reduce_op="sum")
    assert isinstance(total, Tensor)
    means = torch.split(total / fabric.world_size, [value.numel() for value in own.values()])
    shaped = zip(own.items(), means, strict=True)
    return {name: mean.reshape(value.shape).to(value.dtype) for (name, value), mean in shaped}


@torch.no_grad()
def put(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Overwrite the statistics that `values` names."""
    own = statistics(module)
    for name, value in values.items():
        own[name].copy_(value)


@contextmanager
def averaged(fabric: Fabric, module: nn.Module) -> Iterator[None]:
    """All processes have the mean statistics while the block runs, and then each its own again."""
    means = mean_over_processes(fabric, module)
    own = {name: value.clone() for name, value in statistics(module).items()} if means else {}
    put(module, means)
    try:
        yield
    finally:
        put(module, own)
