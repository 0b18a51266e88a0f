"""Activation checkpointing that leaves batch norm's statistics alone."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(layer: nn.Module, *args: Any) -> Tensor:
    """`layer(*args)`, which remembers its arguments only and is run again in the backward pass."""
    out: Tensor = checkpoint(layer, *args, use_reentrant=False, context_fn=lambda: _recompute_contexts(layer))
    return out


def _recompute_contexts(layer: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _frozen_statistics(layer)


@contextmanager
def _frozen_statistics(layer: nn.Module) -> Iterator[None]:
    """Keep recomputation from counting a batch twice in the running statistics."""
    kinds = (nn.BatchNorm1d, nn.SyncBatchNorm)
    norms = [(module, module.momentum) for module in layer.modules() if isinstance(module, kinds)]
    for norm, _ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in norms:
            norm.momentum = momentum
