"""Evaluation without touching the mode of a model that others may be training or using at the same time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def evaluation_view(module: Module) -> Module:
    """A model in evaluation mode over the very same parameters and buffers; `module` is not touched.

    Only the tree of modules is copied, so a view costs next to nothing and may be switched, for instance to
    local attention, while other threads use or train the original. What `torch.compile` added is left out.
    """
    module = getattr(module, "_orig_mod", module)
    view: Module = module.__class__.__new__(module.__class__)
    children = {
        name: None if child is None else evaluation_view(child) for name, child in module._modules.items()
    }
    view.__dict__ = {**module.__dict__, "_modules": children, "training": False, "_compiled_call_impl": None}
    return view


def in_evaluation(module: Module) -> Module:
    """The model itself where all of it is in evaluation mode, else a view of it that is."""
    return evaluation_view(module) if any(part.training for part in module.modules()) else module


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a block; every module then gets its own mode back. For one thread at a time."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
