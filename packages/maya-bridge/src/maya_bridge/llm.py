"""The decoder LLM: its config, and how one is made from a folder, a packed file or random weights.

transformers is imported when an LLM is made, so a config can be composed without it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from maya_bridge.adapters import folded_state
from maya_bridge.fused_loss import IMPLEMENTATIONS
from maya_bridge.lora import add_lora
from maya_bridge.projectors import check_positive
from maya_bridge.recompute import enable_recompute
from maya_bridge.spare_tokens import with_special_tokens
from maya_bridge.special_rows import attach_rows
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.tiny import character_tokenizer, tiny_gemma

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(kw_only=True)
class LLMConfig:
    """Which LLM, and how it is loaded."""

    path: str | None = None
    """Folder in Hugging Face's layout, or, with `hub`, an id there; for `gguf` the folder to convert into."""
    hub: bool = False
    """Whether `path` may be an id that is fetched from the Hugging Face hub."""
    source: Literal["folder", "gguf", "tiny"] = "folder"
    """folder: load `path`. gguf: convert `gguf_file` into `path` once. tiny: random weights."""
    gguf_file: str | None = None
    """A .gguf file; null: Gemma 3 270M from its Python package."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the weights."""
    num_layers: int | None = None
    """Keep the first layers only; None means all (2 for `tiny`)."""
    script: Literal["native", "common"] = "native"
    """common: the LLM reads and writes the Indic scripts folded onto one; the texts outside stay native."""
    special_rows: bool = False
    """Give the special tokens rows that train while the LLM is frozen; folded into it when it is saved."""
    lora_rank: int | None = None
    """Rank of LoRA, which then trains in the LLM's place; needs the extra `lora`. null: none."""
    lora_alpha: float = 32.0
    """LoRA is scaled by this, divided by its rank."""
    lora_dropout: float = 0.0
    """Dropout on LoRA's input."""
    lora_targets: list[str] | None = None
    """Names of the layers that get LoRA, such as q_proj; null: all linear ones but the output layer."""
    checkpoint_activations: bool = False
    """Compute each layer again in the backward pass: less memory, a third more time."""
    loss_impl: Literal["auto", "torch", "chunked", "liger"] = "auto"
    """How the loss is computed, see `maya_bridge.fused_loss`; auto: the best that fits."""
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
            lora_rank=self.lora_rank,
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
        if self.loss_impl not in IMPLEMENTATIONS:
            raise ValueError(f"`loss_impl` must be one of {', '.join(IMPLEMENTATIONS)}, got {self.loss_impl}")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"`lora_dropout` must be at least 0 and below 1, got {self.lora_dropout}")
        if not self.lora_alpha > 0:
            raise ValueError(f"`lora_alpha` must be above 0, got {self.lora_alpha}")
        if self.gguf_file is not None and self.source != "gguf":
            raise ValueError(f"`gguf_file` needs source gguf, got {self.source}")
        if self.source == "tiny" and self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"`hidden_size` must be an even multiple of {self.num_heads} heads, got {self.hidden_size}"
            )
        if self.source == "tiny" and self.num_heads % self.num_kv_heads:
            raise ValueError(f"`num_kv_heads` must divide {self.num_heads} heads, got {self.num_kv_heads}")


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
    if config.source == "gguf":
        from maya_bridge.gguf import convert_once

        convert_once(Path(config.path), None if config.gguf_file is None else Path(config.gguf_file))
    return load_folder(config.path, config)


def make_tiny_llm(characters: Sequence[str], config: LLMConfig) -> "tuple[PreTrainedModel, LLMTokenizer]":
    """Return a random tiny Gemma 3 over `characters`."""
    if not characters:
        raise ValueError("`characters` must name the alphabet of a tiny LLM, got none")
    tokenizer = LLMTokenizer(character_tokenizer(characters), config.script)
    llm = tiny_gemma(len(tokenizer.hf), config).to(getattr(torch, config.dtype))
    equip(llm, tokenizer, config)
    return llm, tokenizer


def load_folder(folder: str | Path, config: LLMConfig) -> "tuple[PreTrainedModel, LLMTokenizer]":
    """Load an LLM whose weights must fit its class exactly.

    Raises:
        FileNotFoundError: there is no such folder, and the hub is not allowed.
        ValueError: the weights or the tokenizer do not fit.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not Path(folder).is_dir() and not config.hub:
        raise FileNotFoundError(
            f"{folder} must be a folder with an LLM; to fetch that id from the Hugging Face hub, set hub=true"
        )
    where = {"local_files_only": not config.hub}
    with without_bars(), one_sentence(folder, "an LLM"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, config.dtype),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below
            **where,
        )
    llm, info = loaded
    refuse_parts(llm, folder)
    refuse_misfit(type(llm).__name__, info, folder)
    if config.num_layers is not None:
        keep_layers(llm, config.num_layers)
    with one_sentence(folder, "a tokenizer"):
        bare = AutoTokenizer.from_pretrained(folder, **where)
    hf = with_special_tokens(bare)
    tokenizer = LLMTokenizer(hf, config.script, llm.get_input_embeddings().num_embeddings)
    equip(llm, tokenizer, config)
    return llm.train(), tokenizer


def equip(llm: Any, tokenizer: LLMTokenizer, config: LLMConfig) -> None:
    """Give an LLM what the config asks for beside its own weights."""
    if config.lora_rank is not None:
        add_lora(llm, config.lora_rank, config.lora_alpha, config.lora_dropout, config.lora_targets)
    if config.special_rows:
        attach_rows(llm, tokenizer)
    if config.checkpoint_activations:
        enable_recompute(llm)
    llm.loss_impl = config.loss_impl


def save_llm(llm: Any, folder: str | Path) -> None:
    """Write the LLM as an ordinary folder of its ecosystem, LoRA and special rows folded in."""
    with without_bars():
        llm.save_pretrained(folder, state_dict=folded_state(llm))


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


@contextmanager
def one_sentence(folder: str | Path, what: str) -> Iterator[None]:
    """Say in a sentence what transformers cannot open, which it says in reports and errors of many kinds."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    except (
        OSError,
        RuntimeError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        SafetensorError,
    ) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        inside = Path(folder) / "llm"
        hint = f"; there is one in {inside}" if inside.is_dir() else ""
        raise ValueError(
            f"{folder} must hold {what} that transformers can open, got: {reason}{hint}"
        ) from error
    finally:
        logging.set_verbosity(before)


def refuse_parts(llm: Any, folder: str | Path) -> None:
    """Raise for a model of several parts, of which text is only one."""
    if llm.config.get_text_config() is not llm.config:
        raise ValueError(
            f"{folder} must hold a language model alone, got {type(llm).__name__}, which has other parts;"
            " save its language model as a folder of its own"
        )


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
    decoder: Any = llm.base_model
    if not hasattr(decoder, "layers"):
        raise ValueError(f"`num_layers` must be null for {type(llm).__name__}, got {num_layers}")
    if num_layers > config.num_hidden_layers:
        raise ValueError(f"`num_layers` must be at most {config.num_hidden_layers}, got {num_layers}")
    decoder.layers = decoder.layers[:num_layers]
    config.num_hidden_layers = num_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:num_layers]
