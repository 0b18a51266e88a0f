"""Means of weights over training: a moving one, step by step, and that of saved training states."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from maya_train.checkpoints.shards import own_share, placed_like

RAMP = 10  # after as many updates as this the decay is about a half, if it is ever higher


class MovingAverage:
    """The exponential mean of the weights that train, in float32; buffers stay as they are.

    Args:
        module: as it trains; its parameters keep their places.
        decay: share of the old mean that stays at an update; at the n-th, (1 + n) / (10 + n) if that is less.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay, self.updates = module, decay, 0
        named = module.named_parameters()
        self._live = {name: parameter for name, parameter in named if parameter.requires_grad}
        self._means = {name: _wide(parameter.detach()).clone() for name, parameter in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after a step."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (RAMP + self.updates))
        means = [own_share(mean) for mean in self._means.values()]
        live = [_wide(own_share(parameter.detach())) for parameter in self._live.values()]
        torch._foreach_lerp_(means, live, 1 - decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The module has the mean weights while the block runs, and then its own again."""
        own = {name: parameter.detach().clone() for name, parameter in self._live.items()}
        self.adopt()
        try:
            yield
        finally:
            _put(self._module, self._live, own)

    def adopt(self) -> None:
        """Give the module the mean weights for good."""
        _put(self._module, self._live, self._means)

    def tensors(self) -> dict[str, Tensor]:
        """The means, by names of parameters."""
        return dict(self._means)

    @torch.no_grad()
    def load(self, means: Mapping[str, Tensor], updates: int) -> None:
        """Go on from saved means."""
        self.updates = updates
        for name, mean in self._means.items():
            mean.copy_(placed_like(means[name], mean))


class RunningMean:
    """The plain mean of some state dicts, in float64 where they hold fractions; of the rest the newest."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._number = 0

    def add(self, state: Mapping[str, Tensor]) -> None:
        """Take in one state dict; the first is the newest."""
        self._number += 1
        for name, value in state.items():
            if name not in self._sums:
                self._sums[name] = value.to(torch.float64) if value.is_floating_point() else value.clone()
            elif value.is_floating_point():
                self._sums[name] += value

    def state(self) -> dict[str, Tensor]:
        """The mean; to be cast when it is copied into a module."""
        return {
            name: total / self._number if total.is_floating_point() else total
            for name, total in self._sums.items()
        }


@torch.no_grad()
def _put(module: nn.Module, live: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    gather_again(module.modules())
    for name, parameter in live.items():
        parameter.copy_(values[name])


def gather_again(modules: Iterable[Any]) -> None:
    """Let sharded modules forget the whole weights that their last forward pass has left."""
    for module in modules:
        if hasattr(module, "reshard"):
            module.reshard()


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
