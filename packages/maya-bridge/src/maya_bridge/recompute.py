"""Activation checkpointing of an LLM's layers: computed again in the backward pass, to save memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def enable_recompute(llm: nn.Module) -> None:
    """Let the layers of `llm` keep only their input for the backward pass, inside `recomputing`.

    transformers' own switch would also ask for gradients of the embeddings, in generation too.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers: list[Any] = [part for part in llm.modules() if isinstance(part, GradientCheckpointingLayer)]
    if not layers:
        raise ValueError(f"`checkpoint_activations` must be false for {type(llm).__name__}, got true")
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


@contextmanager
def recomputing(llm: nn.Module) -> Iterator[None]:
    """Make it hold for a frozen LLM as well, which is in eval mode: gradients flow through it all the same.

    transformers asks a layer's own training flag; those of its parts, which decide on dropout, stay.
    """
    layers = [
        part for part in llm.modules() if getattr(part, "gradient_checkpointing", False) and not part.training
    ]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
