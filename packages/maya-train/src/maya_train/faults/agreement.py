"""All processes as one: what one of them met is known to all before any gradient is sent."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from torch import Tensor, nn

from maya_train.checkpoints.peers import Peers

CHUNK = 32 * 2**20
"""Bytes of gradients that are sent at once."""


class Agreement:
    """The processes of a run; with one of them nothing is sent."""

    def __init__(self, fabric: Fabric) -> None:
        self._peers = Peers(fabric)
        self.rank, self.world_size = self._peers.rank, self._peers.world_size

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        return self._peers.gather(value)

    def collect(self, own: Any | None) -> list[Any]:
        """What those processes have to tell that have something; quick where none has."""
        if self.world_size == 1:
            return [] if own is None else [own]
        flag = torch.tensor([own is not None], dtype=torch.int32)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self._peers.group)
        return [value for value in self.gather(own) if value is not None] if flag.item() else []

    def differing(self, numbers: Tensor) -> list[int]:
        """Places at which int64 numbers (N,), which have to be equal everywhere, are not."""
        if self.world_size == 1:
            return []
        both = torch.cat([numbers, ~numbers])  # ~x falls where x rises, and does not overflow
        dist.all_reduce(both, op=dist.ReduceOp.MAX, group=self._peers.group)
        most, least = torch.split(both, len(numbers))
        return torch.nonzero(most != ~least).flatten().tolist()


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], world_size: int) -> None:
    """Put the mean over processes into each gradient; a parameter without one takes part with zeros."""
    chunk: list[Tensor] = []
    for parameter in parameters:
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if chunk and (
            chunk[0].dtype != parameter.grad.dtype or sum(map(_bytes, chunk)) + _bytes(parameter.grad) > CHUNK
        ):
            _average(chunk, world_size)
            chunk = []
        chunk.append(parameter.grad)
    if chunk:
        _average(chunk, world_size)


def _average(gradients: list[Tensor], world_size: int) -> None:
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients]).div_(world_size)
    dist.all_reduce(flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    shaped = [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)]
    torch._foreach_copy_(gradients, shaped)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
