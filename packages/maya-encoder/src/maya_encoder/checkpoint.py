"""A model as a folder: config.yaml, model.safetensors and tokenizer/.

The folder of a SpeechLLM holds more; its acoustic half opens here all the same. Nothing in a checkpoint is an
import path: names are looked up among the installed plugins.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import maya_encoder
from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fit import BadCheckpoint as BadCheckpoint
from maya_encoder.fit import check_fit as check_fit
from maya_encoder.plugins import find
from maya_encoder.tokenizer import Tokenizer

FORMAT = 1
CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FOLDER = "tokenizer"
NOTES_KEY = "import_notes"
OTHER_OWNERS = ("projector.",)
"""Prefixes of tensors that belong to other packages' parts of the model."""


def save(
    model: AcousticModel,
    folder: str | Path,
    extra_config: Mapping[str, Any] | None = None,
    extra_tensors: Mapping[str, Tensor] | None = None,
    write_more: Callable[[Path], None] | None = None,
) -> None:
    """Write `model` as a folder, whole or not at all; a model that is there already is replaced.

    Args:
        model: what to save.
        folder: where.
        extra_config: further keys of config.yaml.
        extra_tensors: further tensors of model.safetensors.
        write_more: called with the unfinished folder, to put other files there.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    unfinished.mkdir()
    try:
        OmegaConf.save(
            OmegaConf.create(_config_of(model) | dict(extra_config or {})), unfinished / CONFIG_FILE
        )
        tensors = {**model.state_dict(), **(extra_tensors or {})}
        with system_errors(folder):
            save_file({key: _owned(tensor) for key, tensor in tensors.items()}, unfinished / WEIGHTS_FILE)
            model.tokenizer.save(unfinished / TOKENIZER_FOLDER)
            if write_more is not None:
                write_more(unfinished)
        _put_in_place(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def load(path: str | Path, frontend: str | None = None, device: str | torch.device = "cpu") -> AcousticModel:
    """The acoustic model of a checkpoint, in evaluation mode.

    What was chosen or left out on the way is in `model.import_notes`; what of it may change numbers is warned
    of, once.

    Args:
        path: a folder that `save` wrote, or whatever else `interop.read_any` opens.
        frontend: `modern` or `legacy`, in place of what the checkpoint says; see `LogMel`.
        device: where the model goes.

    Raises:
        BadCheckpoint: no model that this package can use; the message names what is wrong.
    """
    path = Path(path)
    if (path / CONFIG_FILE).is_file():
        return _load_folder(path, frontend).to(device).eval()
    from maya_encoder.interop import build, read_any  # which import this module
    from maya_encoder.interop.notes import warn_of_doubts

    model = build(read_any(path, frontend), path)
    warn_of_doubts(model.import_notes, path, stacklevel=2)
    return model.to(device)


def _load_folder(folder: Path, frontend: str | None) -> AcousticModel:
    config = read_config(folder)
    tokenizer = Tokenizer.load(folder / TOKENIZER_FOLDER)
    _check_vocabulary(config, tokenizer, folder)
    try:
        model = AcousticModel(_model_config(config, folder, frontend), tokenizer)
    except TypeError as error:  # an argument of the front end that this version does not know
        raise BadCheckpoint(f"{folder / CONFIG_FILE} does not fit this maya_encoder: {error}") from None
    tensors = read_tensors(folder)
    acoustic = {key: value for key, value in tensors.items() if not key.startswith(OTHER_OWNERS)}
    check_fit(model.state_dict(), acoustic, folder)
    model.load_state_dict(acoustic)
    model.import_notes = [str(note) for note in config.get(NOTES_KEY) or ()]
    return model


def read_config(folder: str | Path) -> dict[str, Any]:
    """The contents of a model folder's config.yaml, once its format number is known to be ours."""
    folder = Path(folder)
    needed = (CONFIG_FILE, WEIGHTS_FILE, f"{TOKENIZER_FOLDER}/tokenizer.yaml")
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise BadCheckpoint(f"{folder} is no model folder: {', '.join(missing)} is missing")
    loaded = OmegaConf.load(folder / CONFIG_FILE)
    config = OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else None
    if not isinstance(config, dict) or "format" not in config:
        raise BadCheckpoint(f"{folder / CONFIG_FILE} has no `format` number, so it is no model's config")
    if config["format"] != FORMAT:
        found = f"has format {config['format']}, this maya_encoder {maya_encoder.__version__} reads {FORMAT}"
        raise BadCheckpoint(f"{folder / CONFIG_FILE} {found}")
    return {str(key): value for key, value in config.items()}


def read_tensors(folder: str | Path) -> dict[str, Tensor]:
    """All tensors of a model folder, on the CPU."""
    path = Path(folder) / WEIGHTS_FILE
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadCheckpoint(f"{path} is damaged or no safetensors file: {error}") from None


def build_plugin(kind: str, values: Mapping[str, Any], source: str | Path) -> Any:
    """The plugin dataclass that `values` describes by its name and fields; never an import path."""
    name = str(values.get("name", ""))
    plugin = find(kind, name)
    known = {field.name for field in fields(plugin)}
    if unknown := sorted(set(values) - known):
        raise BadCheckpoint(
            f"{source}: {kind} {name!r} here has no field {', '.join(unknown)}; update its package"
        )
    try:
        return plugin(**values)
    except (TypeError, ValueError) as error:  # from a __post_init__, which knows only its own fields
        raise BadCheckpoint(f"{source}: {kind} {name!r}: {error}") from None


def _model_config(config: dict[str, Any], folder: Path, frontend: str | None) -> AcousticModelConfig:
    source = folder / CONFIG_FILE
    if missing := [key for key in ("text", "encoder", "heads") if not config.get(key)]:
        raise BadCheckpoint(f"{source} gives no {', '.join(missing)}")
    found = AcousticModelConfig(
        langs=config.get("langs") or (),
        text=config["text"],
        frontend=config.get("frontend") or {},
        specaugment=config.get("specaugment"),
        prompt=config.get("language_prompt"),
        multisoftmax=bool(config.get("multisoftmax", False)),
        encoder=build_plugin("encoders", config["encoder"], source),
        heads={key: build_plugin("heads", values, source) for key, values in config["heads"].items()},
    )
    if frontend is not None:
        from maya_encoder.interop import use_frontend  # which imports this module

        use_frontend(found, frontend)
    return found


def _check_vocabulary(config: Mapping[str, Any], tokenizer: Tokenizer, folder: Path) -> None:
    wanted = (config.get("tokenizer") or {}).get("vocab_size", tokenizer.vocab_size)
    if wanted != tokenizer.vocab_size:
        raise BadCheckpoint(
            f"{folder / TOKENIZER_FOLDER} does not fit the heads: it has {tokenizer.vocab_size} pieces, they"
            f" were made for {wanted}"
        )


def _config_of(model: AcousticModel) -> dict[str, Any]:
    config, tokenizer = model.config, model.tokenizer
    pieces = {"models": tokenizer.names, "script": tokenizer.script, "vocab_size": tokenizer.vocab_size}
    return {
        "format": FORMAT,
        "package": {"maya_encoder": maya_encoder.__version__},
        "langs": list(model.langs),
        "text": config.text,
        "tokenizer": pieces,
        "frontend": dict(config.frontend),
        "specaugment": config.specaugment,
        "language_prompt": config.prompt,  # `prompt` is a SpeechLLM's
        "multisoftmax": config.multisoftmax,
        "encoder": asdict(config.encoder),
        "heads": {name: asdict(head) for name, head in config.heads.items()},  # type: ignore[call-overload]
        **({NOTES_KEY: [str(note) for note in model.import_notes]} if model.import_notes else {}),
    }


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Make an OSError of what libraries in Rust raise, in classes of their own, on a full disk."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, f"cannot write {path}: {os.strerror(number)}") from error


def _owned(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _put_in_place(unfinished: Path, folder: Path) -> None:
    if not folder.exists():
        os.replace(unfinished, folder)
        return
    if not (folder / CONFIG_FILE).is_file() and any(folder.iterdir()):
        raise BadCheckpoint(f"{folder} holds other files and no model, so it is not replaced")
    old = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    os.replace(folder, old)
    os.replace(unfinished, folder)
    shutil.rmtree(old)
