"""Weights, gradients and optimizer state in shares, one a process; whole layers exist while they compute."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from maya_train.strategies import Capabilities, StrategyBundle
from maya_train.strategies.layers import LAYERS, repeated_layers

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

RESHARDS = "_maya_reshards"
"""Attribute of a layer: whether it drops its whole weights after the forward pass."""


@dataclass(kw_only=True)
class FSDP:
    """Fully sharded data parallel (torch's `fully_shard`, FSDP2); with one process in all, a plain run."""

    name: str = "fsdp"
    """The plugin's name."""
    layers: list[str] = field(default_factory=lambda: list(LAYERS))
    """Names of layers that are gathered one at a time, as patterns; all else is gathered for a whole step."""
    reshard_after_forward: bool = True
    """Drop a layer's whole weights after the forward pass and gather them again for the backward pass; false:
    keep them, as ZeRO-2 does."""
    timeout_minutes: float = 30.0
    """How long a process waits for the others before it fails."""

    def __post_init__(self) -> None:
        """Refuse a wait that would fail at once."""
        if self.timeout_minutes <= 0:
            raise ValueError(f"`timeout_minutes` must be more than 0, got {self.timeout_minutes}")

    def build(self, num_devices: int, num_nodes: int, precision: str, grad_clip: float) -> StrategyBundle:
        """The strategy; all processes share the data, none a tensor's computation."""
        if num_devices * num_nodes == 1:
            return StrategyBundle(strategy="auto")
        from lightning.fabric.strategies.model_parallel import ModelParallelStrategy

        shard: Callable[..., Any] = partial(
            shard_layers, patterns=tuple(self.layers), reshard=self.reshard_after_forward
        )
        strategy = ModelParallelStrategy(
            shard,
            data_parallel_size=num_devices * num_nodes,
            tensor_parallel_size=1,
            timeout=timedelta(minutes=self.timeout_minutes),
        )
        return StrategyBundle(strategy=strategy, capabilities=Capabilities(sharded=True))


def shard_layers(
    task: nn.Module, device_mesh: "DeviceMesh", *, patterns: tuple[str, ...], reshard: bool
) -> nn.Module:
    """Spread a task's parameters over the data-parallel processes, each layer by itself.

    Scalars cannot be spread: they stay whole, and the loop averages their gradients.
    """
    from torch.distributed.fsdp import fully_shard

    mesh = device_mesh["data_parallel"]
    device = None if mesh.device_type == "cpu" else mesh.device_type
    scalars = {parameter for parameter in task.parameters() if parameter.ndim == 0}
    for scalar in scalars:
        scalar.data = scalar.data.to(device)
    for layer in list(repeated_layers(task, patterns)):
        if any(True for _ in layer.parameters()):
            fully_shard(layer, mesh=mesh, reshard_after_forward=reshard, ignored_params=scalars)
            setattr(layer, RESHARDS, reshard)
    fully_shard(task, mesh=mesh, reshard_after_forward=False, ignored_params=scalars)
    return task
