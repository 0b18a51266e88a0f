"""What was trained around a frozen encoder and a frozen LLM, as a small folder of its own.

`adapters.yaml` says what it fits, `adapters.safetensors` holds projector, special tokens' rows and LoRA.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import maya_bridge
from maya_bridge.adapters import adapter_config, adapter_tensors, load_adapter_tensors
from maya_bridge.prompt import Prompt, PromptConfig
from maya_bridge.speech_llm import SpeechLLM
from maya_encoder.checkpoint import BadCheckpoint, check_fit, system_errors

FORMAT = 1
CONFIG_FILE, WEIGHTS_FILE = "adapters.yaml", "adapters.safetensors"
PROJECTOR, LLM = "projector.", "llm."
MAX_BYTES = 50_000_000
"""Above this, less the room for its header, a file keeps its numbers in bfloat16."""


def save_adapters(model: SpeechLLM, folder: str | Path) -> None:
    """Write projector, special rows and LoRA to `folder`, all or nothing; adapters there are replaced.

    Numbers are kept as they are, or in bfloat16 where the file would be over 50 MB.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / CONFIG_FILE).is_file():
        raise BadCheckpoint(f"{folder} holds other files and no adapters, so it is not replaced")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished, old = (folder.with_name(f".{folder.name}.{uuid4().hex[:8]}") for _ in range(2))
    unfinished.mkdir()
    try:
        OmegaConf.save(OmegaConf.create(_description(model)), unfinished / CONFIG_FILE)
        with system_errors(folder):
            save_file(_small(_tensors(model)), unfinished / WEIGHTS_FILE)
        if folder.exists():
            os.replace(folder, old)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def load_adapters(model: SpeechLLM, folder: str | Path) -> None:
    """Give a model the projector, special rows, LoRA and prompt of a folder that `save_adapters` wrote.

    Raises:
        BadCheckpoint: they are damaged, or were made for another projector, LLM or acoustic model.
    """
    folder = Path(folder)
    config = _read_config(folder)
    own = _description(model)
    for key in ("projector", "acoustic", "script"):
        if config.get(key) != own[key]:
            raise BadCheckpoint(f"{folder} {_difference(key, config.get(key), own[key])}")
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
        prompt = PromptConfig(**config["prompt"])
    except (SafetensorError, OSError, TypeError, ValueError, KeyError) as error:
        raise BadCheckpoint(f"{folder} holds no usable adapters: {error}") from None
    found = {key: value for key, value in tensors.items() if key.startswith(PROJECTOR)}
    wanted = {PROJECTOR + key: value for key, value in model.projector.state_dict().items()}
    check_fit(wanted, found, folder)
    of_llm = {key.removeprefix(LLM): value for key, value in tensors.items() if key.startswith(LLM)}
    try:
        load_adapter_tensors(model.llm, model.llm_tokenizer, config["llm"], of_llm)
    except ValueError as error:
        raise BadCheckpoint(f"{folder}: {error}") from None
    model.projector.load_state_dict({key.removeprefix(PROJECTOR): value for key, value in found.items()})
    model.prompt = Prompt(prompt, model.llm_tokenizer)


def _description(model: SpeechLLM) -> dict[str, Any]:
    """What adapters have to fit, and what `load_adapters` has to know."""
    acoustic: dict[str, Any] = {"hidden_size": int(model.acoustic.encoder.hidden_size)}
    if model.projector.needs:
        acoustic["tokenizer"] = getattr(model.acoustic.tokenizer, "sha256", None)
    return {
        "format": FORMAT,
        "package": {"maya_bridge": maya_bridge.__version__},
        "projector": asdict(model.projector_config),  # type: ignore[call-overload]
        "acoustic": acoustic,
        "prompt": asdict(model.prompt.config),
        "script": model.llm_tokenizer.script,
        "llm": adapter_config(model.llm),
    }


def _difference(key: str, saved: Any, own: Any) -> str:
    if key == "projector" and isinstance(saved, Mapping) and saved.get("name") == own["name"]:
        odd = next((name for name in [*own, *saved] if saved.get(name) != own.get(name)), "name")
        found = f"{odd}={saved.get(odd)}"
        return f"holds adapters of projector {own['name']} with {found}, this model has {own.get(odd)}"
    if key == "projector":
        name = saved.get("name") if isinstance(saved, Mapping) else saved
        return f"holds adapters of projector {name}, this model has {own['name']}"
    return f"holds adapters made for {key} {saved}, this model has {own}"


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    if not path.is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise BadCheckpoint(f"{folder} holds no adapters: {CONFIG_FILE} or {WEIGHTS_FILE} is missing")
    loaded = OmegaConf.load(path)
    config = OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        number = config.get("format") if isinstance(config, dict) else None
        raise BadCheckpoint(f"{path} has format {number}, this maya_bridge reads {FORMAT}")
    return {str(key): value for key, value in config.items()}


def _tensors(model: SpeechLLM) -> dict[str, Tensor]:
    projector = {PROJECTOR + key: value for key, value in model.projector.state_dict().items()}
    llm = {LLM + key: value for key, value in adapter_tensors(model.llm).items()}
    return {
        key: value.detach().to("cpu", copy=True).contiguous() for key, value in {**projector, **llm}.items()
    }


def _small(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    header = 200 * len(tensors)
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    if size + header <= MAX_BYTES:
        return tensors
    return {
        key: value.to(torch.bfloat16) if value.is_floating_point() else value
        for key, value in tensors.items()
    }
