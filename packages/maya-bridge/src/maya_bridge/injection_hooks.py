"""Lets an injection into the layers of an LLM, for the time of a `with` block."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from maya_bridge.projectors import Injection

Change = Callable[[Tensor], Tensor]


def decoder_layers(llm: Any) -> Sequence[nn.Module]:
    """Return the layers of any causal LLM of transformers, also inside a LoRA wrapper.

    Raises:
        ValueError: a model whose layers are not where transformers keeps them.
    """
    # Only a wrapper's own class has this; transformers' models may answer to the name through their parts.
    inner = llm.get_base_model() if hasattr(type(llm), "get_base_model") else llm
    decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else inner.model
    if not hasattr(decoder, "layers"):
        raise ValueError(
            f"an LLM must keep its layers in `layers` to take states in, got {type(decoder).__name__}"
        )
    return decoder.layers  # type: ignore[no-any-return]


@contextmanager
def injected(llm: Any, injection: Injection | None, unit_index: Tensor | None) -> Iterator[None]:
    """Add the injection's states after its layers; without an injection nothing is done.

    Works with a KV cache, where each call has its new positions only, and with activation checkpointing, also
    if the backward pass runs after the block.

    Args:
        llm: causal LLM.
        injection: what to add.
        unit_index: (B, L), units written at each of the positions of the call inside the block.

    Raises:
        ValueError: no such layer, or an index of another shape than the call.
    """
    if injection is None:
        yield
        return
    if unit_index is None:
        raise ValueError("`unit_index` must be given with an injection, got None")
    layers = decoder_layers(llm)
    if max(injection.layers) >= len(layers):
        raise ValueError(
            f"the injection must name layers below the LLM's {len(layers)}, got {max(injection.layers)}"
        )
    with ExitStack() as hooks:
        for layer in injection.layers:
            hooks.callback(_install(layers[layer], _change(injection, layer, unit_index)))
        yield


def _change(injection: Injection, layer: int, unit_index: Tensor) -> Change:
    def change(hidden: Tensor) -> Tensor:
        if hidden.shape[:2] != unit_index.shape:
            raise ValueError(
                f"`unit_index` must be (batch, positions) {tuple(hidden.shape[:2])} as the LLM's call, "
                f"got {tuple(unit_index.shape)}"
            )
        return injection(layer, hidden, unit_index.to(hidden.device))

    return change


def _install(layer: Any, change: Change) -> Callable[[], None]:
    """Apply `change` to what the layer returns; the result undoes that."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        return output if _checkpoints(module) else _changed(output, change)

    handle = layer.register_forward_hook(hook)
    if not getattr(layer, "gradient_checkpointing", False):
        return handle.remove  # type: ignore[no-any-return]
    checkpoint = layer._gradient_checkpointing_func

    def restore() -> None:
        handle.remove()
        layer._gradient_checkpointing_func = checkpoint

    # A hook may run inside the checkpoint, and be gone when the backward pass runs the layer again.
    layer._gradient_checkpointing_func = lambda *args, **more: _changed(checkpoint(*args, **more), change)
    return restore


def _checkpoints(layer: Any) -> bool:
    """Whether transformers runs this call of the layer through its checkpointing function."""
    return bool(getattr(layer, "gradient_checkpointing", False) and layer.training)


def _changed(output: Any, change: Change) -> Any:
    """Some layers return their hidden states alone, some with more behind them."""
    return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)
