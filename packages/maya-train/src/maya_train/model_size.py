"""How big the parts of a run's model are, without making their weights."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maya_train.schema import RunConfig

TOKENIZER_SIZE = 1024
"""Pieces of a tokenizer that is not there yet, where the config does not say."""
TINY_VOCAB = 256
KNOWN_LLMS = {
    "gemma-3-270m": (640, 18, 2048, 4, 1, 256, 262_144),
    "gemma-3-1b": (1152, 26, 6912, 4, 1, 256, 262_144),
    "gemma-3-4b": (2560, 34, 10_240, 8, 4, 256, 262_208),
    "gemma-2-2b": (2304, 26, 9216, 8, 4, 256, 256_000),
}
"""The fields of LLMSize, for models that are on the hub and not yet here."""


@dataclass(frozen=True)
class LLMSize:
    """A decoder of the Gemma family."""

    hidden_size: int
    num_layers: int
    ff_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int

    @property
    def body(self) -> int:
        """Weights of the layers, which every token passes."""
        width, inner = self.hidden_size, self.num_heads * self.head_dim
        attention = 2 * width * inner + 2 * width * self.num_kv_heads * self.head_dim
        return self.num_layers * (attention + 3 * width * self.ff_size)

    @property
    def parameters(self) -> int:
        """All weights; the output layer is the embedding."""
        return self.body + self.vocab_size * self.hidden_size


@dataclass(frozen=True)
class ModelSize:
    """The parts of a stage's model."""

    parameters: dict[str, int]
    """By the names that `train` uses: encoder, each head, projector, llm."""
    vocab_size: int
    """Ids of the acoustic heads, the blank counted."""
    llm: LLMSize | None

    def trained(self, cfg: RunConfig) -> int:
        """Weights that learn in `cfg`."""
        return sum(count for name, count in self.parameters.items() if name in cfg.train)

    @property
    def total(self) -> int:
        """All weights."""
        return sum(self.parameters.values())


def model_size(cfg: RunConfig) -> ModelSize:
    """Count the weights of a stage's model; nothing is loaded but an LLM's config.json."""
    vocab = _vocab_size(cfg) + 1
    parameters: dict[str, int] = {}
    llm = None if cfg.llm is None else llm_size(cfg)
    with _on_meta():
        if cfg.encoder is not None:
            encoder = cfg.encoder.build(num_mels=cfg.frontend.num_mels, langs=cfg.langs)
            parameters["encoder"] = count(encoder)
            for name, head in cfg.heads.items():
                parameters[name] = count(_head(head, encoder.hidden_size, vocab))
    if llm is not None and cfg.projector is not None and cfg.encoder is not None:
        parameters["projector"] = _projector_size(cfg, llm, encoder.hidden_size, vocab)
    if llm is not None:
        parameters["llm"] = llm.parameters
    return ModelSize(parameters, vocab, llm)


def count(module: nn.Module) -> int:
    """Weights of a module, those that are shared once."""
    return sum(parameter.numel() for parameter in module.parameters())


def llm_size(cfg: RunConfig) -> LLMSize:
    """The sizes of a run's LLM: of its folder, of a model that is known, or of the tiny one."""
    llm = cfg.llm
    found = next((Path(folder) for folder in _folders(cfg) if (Path(folder) / "config.json").is_file()), None)
    if found is not None:
        return _from_file(json.loads((found / "config.json").read_text(encoding="utf-8")), llm.num_layers)
    name = f"{llm.path or ''} {'gemma-3-270m' if llm.source == 'gguf' else ''}".lower()
    for key, values in KNOWN_LLMS.items():
        if key in name:
            size = LLMSize(*values)
            return size if llm.num_layers is None else LLMSize(values[0], llm.num_layers, *values[2:])
    width = llm.hidden_size
    layers = llm.num_layers or 2
    sizes = (width, layers, width * llm.ff_expansion, llm.num_heads, llm.num_kv_heads)
    return LLMSize(*sizes, width // llm.num_heads, TINY_VOCAB)


def _folders(cfg: RunConfig) -> Iterator[str]:
    if cfg.init_from is not None:
        yield f"{cfg.init_from}/llm"
    if cfg.llm.path is not None:
        yield cfg.llm.path


def _from_file(values: dict[str, Any], num_layers: int | None) -> LLMSize:
    values = values.get("text_config", values)
    heads = int(values["num_attention_heads"])
    return LLMSize(
        int(values["hidden_size"]),
        min(num_layers or math.inf, int(values["num_hidden_layers"])),  # type: ignore[arg-type]
        int(values["intermediate_size"]),
        heads,
        int(values.get("num_key_value_heads", heads)),
        int(values.get("head_dim", values["hidden_size"] // heads)),
        int(values["vocab_size"]),
    )


def _vocab_size(cfg: RunConfig) -> int:
    if cfg.vocab_size is not None:
        return cfg.vocab_size
    if (Path(cfg.tokenizer) / "tokenizer.yaml").is_file():
        from maya_encoder.tokenizer import Tokenizer

        return int(Tokenizer.load(cfg.tokenizer).vocab_size)
    return TOKENIZER_SIZE


def _head(head: Any, in_dim: int, vocab: int) -> nn.Module:
    """The head without masks or output layers of languages, which need the tokenizer."""
    if getattr(head, "lang_outputs", False):
        return nn.Linear(in_dim, vocab)
    made: nn.Module = head.build(in_dim, vocab, None)
    return made


def _projector_size(cfg: RunConfig, llm: LLMSize, in_dim: int, vocab: int) -> int:
    """Weights of the projector; it is small, so it is made, outside of the global random state."""
    with torch.random.fork_rng(devices=[]):
        made = cfg.projector.build(
            in_dim=in_dim, out_dim=llm.hidden_size, embed_rms=1.0, vocab_size=vocab, state_dim=in_dim
        )
    if hasattr(made, "adopt_layers"):
        made.adopt_layers(llm.num_layers)
    return count(made)


@contextmanager
def _on_meta() -> Iterator[None]:
    """Modules made here have shapes and no memory."""
    with torch.device("meta"):
        yield
