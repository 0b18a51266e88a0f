"""From the gradients of some micro-batches to one optimizer step, as the strategy can do it.

The loop decides on the norm of the reduced gradients whether a step is taken. Most strategies leave clipping
and stepping to the loop; DeepSpeed does all of it in one call of its own.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.distributed.tensor import DTensor

from maya_train.checkpoints.shards import own_share
from maya_train.strategies import Capabilities

Accepts = Callable[[Tensor], bool]
"""Whether to step, by the norm of the gradients before clipping, the same number on all processes."""


class Updates(Protocol):
    """Optimizer steps."""

    def apply(self, accepts: Accepts) -> bool:
        """Step with clipped gradients where `accepts` says so, and forget them; returns what it said."""

    def drop(self) -> None:
        """Forget the gradients."""


class PlainUpdates:
    """The loop clips and steps.

    Args:
        fabric: launched.
        module: what `set_up` returned for the task.
        optimizer: what it returned for the optimizer.
        grad_clip: largest norm of the gradient; 0: any.
        is_sharded: parameters are spread over the processes.
    """

    def __init__(
        self, fabric: Fabric, module: Any, optimizer: Any, grad_clip: float, *, is_sharded: bool
    ) -> None:
        self._fabric, self._module, self._optimizer = fabric, module, optimizer
        self._limit, self._is_sharded = grad_clip or float("inf"), is_sharded

    def apply(self, accepts: Accepts) -> bool:
        """Clip, ask, step."""
        is_accepted = accepts(self._clip())
        if is_accepted:
            self._optimizer.step()
        self.drop()
        return is_accepted

    def drop(self) -> None:
        """Forget the gradients."""
        self._optimizer.zero_grad()

    def _clip(self) -> Tensor:
        if self._is_sharded:
            return clip_shares(self._fabric, self._module.parameters(), self._limit)
        norm = self._fabric.clip_gradients(
            self._module, self._optimizer, max_norm=self._limit, error_if_nonfinite=False
        )
        assert isinstance(norm, Tensor)
        return norm.detach()


def make_updates(
    fabric: Fabric, module: Any, optimizer: Any, grad_clip: float, capabilities: Capabilities
) -> Updates:
    """The steps of a run under its strategy."""
    if capabilities.clips_itself:
        from maya_train.strategies.zero import EngineUpdates

        return EngineUpdates(module._forward_module, grad_clip)
    return PlainUpdates(fabric, module, optimizer, grad_clip, is_sharded=capabilities.sharded)


def held_back(
    fabric: Fabric, module: Any, capabilities: Capabilities, *, enabled: bool
) -> AbstractContextManager[Any]:
    """A block whose backward pass does not reduce gradients over processes."""
    if capabilities.owns_accumulation:
        return nullcontext()
    return fabric.no_backward_sync(module, enabled=enabled)


@torch.no_grad()
def clip_shares(fabric: Fabric, parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Clip gradients of which each process has a share; those of whole parameters are averaged first."""
    spread: list[Tensor] = []
    whole: list[Tensor] = []
    for parameter in parameters:
        if parameter.grad is not None:
            is_spread = isinstance(parameter.grad, DTensor)
            (spread if is_spread else whole).append(own_share(parameter.grad))
    for gradient in whole:
        mean = fabric.all_reduce(gradient, reduce_op="mean")
        assert isinstance(mean, Tensor)
        gradient.copy_(mean)
    shares = torch.stack([_square(spread, fabric), _square(whole, fabric) / fabric.world_size])
    total = fabric.all_reduce(shares.sum(), reduce_op="sum")
    assert isinstance(total, Tensor)
    norm = total.sqrt()
    torch._foreach_mul_([*spread, *whole], (limit / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _square(gradients: list[Tensor], fabric: Fabric) -> Tensor:
    if not gradients:
        return torch.zeros((), device=fabric.device)
    norms = torch._foreach_norm([gradient.float() for gradient in gradients])
    return torch.stack(norms).square().sum()
