"""A SpeechLLM as a folder: the acoustic model's layout, `projector.*` tensors, and the LLM in `llm/`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import maya_bridge
from maya_bridge.llm import LLMConfig, load_folder, save_llm
from maya_bridge.prompt import PromptConfig
from maya_bridge.speech_llm import SpeechLLM
from maya_encoder import checkpoint as acoustic_checkpoint
from maya_encoder.checkpoint import BadCheckpoint

PROJECTOR = "projector."
LLM_FOLDER = "llm"


def save(model: SpeechLLM, folder: str | Path, extra_config: Mapping[str, Any] | None = None) -> None:
    """Write the whole model to `folder`, all or nothing; a model that stood there is replaced."""
    own_config = {
        "bridge": {"maya_bridge": maya_bridge.__version__},
        "projector": asdict(model.projector_config),  # type: ignore[call-overload]
        "prompt": asdict(model.prompt.config),
        "llm": {
            "script": model.llm_tokenizer.script,
            "dtype": str(model.llm.dtype).removeprefix("torch."),
        },
    }

    def write_llm(unfinished: Path) -> None:
        save_llm(model.llm, unfinished / LLM_FOLDER)
        model.llm_tokenizer.save(unfinished / LLM_FOLDER)

    acoustic_checkpoint.save(
        model.acoustic,
        folder,
        extra_config={**own_config, **(extra_config or {})},
        extra_tensors={PROJECTOR + key: value for key, value in model.projector.state_dict().items()},
        write_more=write_llm,
    )


def load(folder: str | Path, device: str | torch.device = "cpu") -> SpeechLLM:
    """Return the model of a folder, in eval mode."""
    folder = Path(folder)
    config = acoustic_checkpoint.read_config(folder)
    if not (folder / LLM_FOLDER).is_dir():
        raise BadCheckpoint(
            f"{folder} must hold an LLM, got an acoustic model; open it with maya_encoder.load"
        )
    source = folder / acoustic_checkpoint.CONFIG_FILE
    if missing := [key for key in ("projector", "prompt", "llm") if not config.get(key)]:
        raise BadCheckpoint(f"{source} must give {', '.join(missing)}, got nothing")
    projector_config = acoustic_checkpoint.build_plugin("projectors", config["projector"], source)
    prompt, llm_config = _own_configs(config, folder)
    llm, llm_tokenizer = load_folder(folder / LLM_FOLDER, llm_config)
    acoustic = acoustic_checkpoint.load(folder)
    model = SpeechLLM(acoustic, projector_config, llm, llm_tokenizer, prompt)
    load_projector(model, folder / acoustic_checkpoint.WEIGHTS_FILE)
    return model.to(device).eval()


def _own_configs(config: Mapping[str, Any], folder: Path) -> tuple[PromptConfig, LLMConfig]:
    try:
        return PromptConfig(**config["prompt"]), LLMConfig(path=str(folder / LLM_FOLDER), **config["llm"])
    except TypeError as error:
        raise BadCheckpoint(
            f"{folder} must fit maya_bridge {maya_bridge.__version__}, got: {error}"
        ) from None


def load_projector(model: SpeechLLM, path: Path) -> None:
    """Fill the projector from the `projector.*` tensors of the weights file of a model folder."""
    tensors = acoustic_checkpoint.read_tensors(path.parent)
    found = {key: value for key, value in tensors.items() if key.startswith(PROJECTOR)}
    wanted = {PROJECTOR + key: value for key, value in model.projector.state_dict().items()}
    acoustic_checkpoint.check_fit(wanted, found, path.parent)
    model.projector.load_state_dict({key.removeprefix(PROJECTOR): value for key, value in found.items()})
