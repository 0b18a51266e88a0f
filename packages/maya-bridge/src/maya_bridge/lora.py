"""LoRA: small trainable matrices beside the LLM's linear layers, put in by peft."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

INSTALL = "pip install 'maya-bridge[lora]'"
ADAPTER = "default"
BASE = ".base_layer"
"""What peft puts into the names of the layers that it wraps."""


def add_lora(
    llm: Any, rank: int, alpha: float = 32.0, dropout: float = 0.0, targets: Sequence[str] | None = None
) -> None:
    """Put LoRA beside the linear layers of `llm`, in place; everything else of it is frozen.

    Args:
        llm: keeps its class and its methods.
        rank: of the matrices.
        alpha: their sum is scaled by alpha / rank.
        dropout: on their input, while the LLM is in training mode.
        targets: names of the layers, such as q_proj; None for all linear layers but the output layer.

    Raises:
        ValueError: peft is not installed, LoRA is there already, or no layer has one of the names.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError(f"LoRA needs peft, which is not installed: {INSTALL}") from error
    if has_lora(llm):
        raise ValueError(f"an LLM takes LoRA once, got a {type(llm).__name__} that has it")
    linear = {name.rpartition(".")[2] for name, part in llm.named_modules() if isinstance(part, nn.Linear)}
    if odd := sorted(set(targets or ()) - linear):
        raise ValueError(
            f"`lora_targets` must name linear layers ({', '.join(sorted(linear))}), got {odd[0]}"
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft scales by any number
        lora_dropout=dropout,
        target_modules="all-linear" if targets is None else list(targets),
    )
    inject_adapter_in_model(config, llm, ADAPTER)
    for module in _own_modules(llm):
        module.float()  # AdamW's small steps vanish in bfloat16


def has_lora(llm: nn.Module) -> bool:
    """Tell whether `add_lora` was here."""
    return next(lora_layers(llm), None) is not None


def lora_layers(llm: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the wrapped layers with their names."""
    for name, module in llm.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module


def _own_modules(llm: nn.Module) -> list[nn.Module]:
    return [part for _, layer in lora_layers(llm) for part in (layer.lora_A, layer.lora_B)]


def lora_part(llm: nn.Module) -> nn.ModuleList:
    """Return what trains: the matrices alone."""
    return nn.ModuleList(_own_modules(llm))


def lora_settings(llm: Any) -> dict[str, Any]:
    """Return the arguments that `add_lora` was called with, in plain types."""
    config = llm.peft_config[ADAPTER]
    names = {name.rpartition(".")[2] for name, _ in lora_layers(llm)}
    return {
        "rank": int(config.r),
        "alpha": float(config.lora_alpha),
        "dropout": float(config.lora_dropout),
        "targets": sorted(names),
    }


@torch.no_grad()
def without_lora(llm: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of the LLM with LoRA added to the weights it stood beside, under their own names."""
    plain = {key.replace(BASE, ""): value for key, value in state.items() if ".lora_" not in key}
    for name, layer in lora_layers(llm):
        weight = plain[f"{name}.weight"]
        delta = layer.get_delta_weight(ADAPTER)
        plain[f"{name}.weight"] = (weight.float() + delta.float()).to(weight.dtype)
    return plain
