"""What is trained of an LLM beside its own weights, special rows and LoRA: found, saved, loaded, folded."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from maya_bridge.lora import add_lora, has_lora, lora_part, lora_settings, without_lora
from maya_bridge.special_rows import ATTRIBUTE, attach_rows, fold_rows, rows_of, weight_names

if TYPE_CHECKING:
    from maya_bridge.text_side import LLMTokenizer


def trainable_part(llm: Any) -> nn.Module:
    """Return what trains when the LLM trains: LoRA and special rows where it has LoRA, else all of it.

    A whole LLM trains its own embedding, so its special rows are folded into that first.
    """
    if not has_lora(llm):
        fold_rows(llm)
        return llm  # type: ignore[no-any-return]
    rows = rows_of(llm)
    return nn.ModuleList([*lora_part(llm), *([] if rows is None else [rows])])


def adapter_config(llm: Any) -> dict[str, Any]:
    """Return what `load_adapter_tensors` must know to make room for the tensors, in plain types."""
    return {
        "special_rows": rows_of(llm) is not None,
        "lora": lora_settings(llm) if has_lora(llm) else None,
    }


def adapter_tensors(llm: Any) -> dict[str, Tensor]:
    """Return the trained tensors of special rows and LoRA by name; none for a plain LLM."""
    state = llm.state_dict()
    return {key: value for key, value in state.items() if ".lora_" in key or key.startswith(f"{ATTRIBUTE}.")}


def load_adapter_tensors(
    llm: Any, tokenizer: "LLMTokenizer", config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Give an LLM the special rows and LoRA that `adapter_config` and `adapter_tensors` told of.

    Raises:
        ValueError: a tensor is missing, left over, or of another shape: the tensors are of another LLM.
    """
    if config.get("lora") and not has_lora(llm):
        add_lora(llm, **config["lora"])
    if config.get("special_rows"):
        attach_rows(llm, tokenizer).requires_grad_(True)
    wanted = adapter_tensors(llm)
    if odd := sorted(set(wanted) ^ set(tensors)):
        kind = "missing" if odd[0] in wanted else "left over"
        raise ValueError(f"adapters must fit the LLM, got the tensor {odd[0]} {kind}")
    for name, own in wanted.items():
        if own.shape != tensors[name].shape:
            raise ValueError(
                f"adapters must fit the LLM, got {name} of shape {tuple(tensors[name].shape)}"
                f" where it has {tuple(own.shape)}"
            )
    with torch.no_grad():
        for name, own in wanted.items():
            own.copy_(tensors[name])


def folded_state(llm: Any) -> dict[str, Tensor]:
    """Return the LLM's state with LoRA and special rows folded in, as a plain LLM of its class has it."""
    state = without_lora(llm, llm.state_dict())
    rows = rows_of(llm)
    if rows is None:
        return state
    state = {key: value for key, value in state.items() if not key.startswith(f"{ATTRIBUTE}.")}
    tied = rows.head_delta is None
    made: Tensor | None = None
    for name, is_head in weight_names(llm):
        if made is None or not tied:
            made = rows.folded(state[name], head=is_head)
        state[name] = made
    return state
