"""A checkpoint of one kind into another, and what a checkpoint holds: the commands convert and info."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.checkpoint import (
    CONFIG_FILE,
    NOTES_KEY,
    TOKENIZER_FOLDER,
    WEIGHTS_FILE,
    load,
    read_config,
    save,
)
from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop import read_any
from maya_encoder.interop.onnx_asr import save_onnx_asr
from maya_encoder.interop.onnx_export import OPSET, export_onnx
from maya_encoder.interop.parakeet_export import save_parakeet
from maya_encoder.tokenizer import Tokenizer

KINDS = ("maya", "parakeet", "onnx", "onnx-asr")
"""What can be written; `hf` is another word for parakeet."""


def convert(
    src: str | Path,
    dst: str | Path,
    to: str | None = None,
    head: str | None = None,
    lang: str | None = None,
) -> str:
    """Write `src` as `dst` in another form.

    Args:
        src: a Maya folder, or whatever `read_any` opens.
        dst: a new folder; for ONNX also a file that ends in .onnx. A Maya folder that is there is replaced.
        to: `maya`, `parakeet` (or `hf`), `onnx`, or `onnx-asr` for a folder that the package of that name
            opens; by default ONNX where `dst` ends in .onnx, else Maya.
        head: which head a Parakeet folder gets; by default CTC where there is one.
        lang: language of the texts of a Parakeet or onnx-asr folder, where the model depends on it.

    Returns:
        What was written, and a line for everything that was chosen or left out on the way.

    Raises:
        ValueError: `to` is unknown, or `src` cannot be opened or expressed; the message names what is in the
        way.
    """
    kind = _target_kind(Path(dst), to)
    if Path(src).resolve() == Path(dst).resolve():
        raise ValueError(f"`dst` must be another path than `src`, got {dst} for both")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all notes are told below
        model = load(src)
    told = _write(model, dst, kind, head, lang)
    return "\n".join([told, *(f"note: {note}" for note in model.import_notes)])


def _write(model: AcousticModel, dst: str | Path, kind: str, head: str | None, lang: str | None) -> str:
    """Write a model in one of the forms; return what was written."""
    if kind == "parakeet":
        return save_parakeet(model, dst, head, lang)
    if kind == "onnx":
        difference = export_onnx(model, dst)
        return (
            f"wrote {dst}: encoder and ctc head in ONNX, opset {OPSET}, within {difference:.1g} of the model"
        )
    if kind == "onnx-asr":
        difference = save_onnx_asr(model, dst, lang)
        return f"wrote {dst} for onnx-asr: encoder and ctc head, within {difference:.1g} of the model"
    save(model, dst)
    return f"wrote {dst}: a Maya folder with {_listed(model)}"


def describe(path: str | Path) -> dict[str, Any]:
    """What a checkpoint holds, in plain values: kind, sizes, settings, and notes on what it does not tell.

    Raises:
        BadCheckpoint: it is no checkpoint that this package knows.
    """
    path = Path(path)
    if (path / CONFIG_FILE).is_file():
        return _described_maya(path)
    imported = read_any(path)
    config = imported.config
    with_heads = imported.tokenizer is not None
    return {
        "path": str(path),
        "kind": _source_kind(path),
        "parameters": _counted({name: list(tensor.shape) for name, tensor in imported.tensors.items()}),
        "encoder": _plain(config.encoder),
        "heads": {name: _plain(head) for name, head in config.heads.items()} if with_heads else {},
        "langs": list(config.langs),
        "frontend": dict(config.frontend),
        "prompt": config.prompt,
        "multisoftmax": config.multisoftmax,
        "tokenizer": None if imported.tokenizer is None else _tokenizer(imported.tokenizer),
        "notes": list(imported.notes),
    }


def _target_kind(dst: Path, to: str | None) -> str:
    kind = ("onnx" if dst.suffix == ".onnx" else "maya") if to is None else to
    kind = "parakeet" if kind == "hf" else kind
    if kind not in KINDS:
        raise ValueError(f"`to` must be one of {', '.join(KINDS)}, got {to!r}")
    return kind


def _plain(config: Any) -> dict[str, Any]:
    """The fields of a config, with lists for tuples as in config.yaml."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()
    }


def _listed(model: AcousticModel) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"encoder and {', '.join(model.heads)} ({parameters / 1e6:.1f} M parameters)"


def _described_maya(path: Path) -> dict[str, Any]:
    config = read_config(path)
    kept = ("encoder", "heads", "langs", "frontend", "text", "multisoftmax")
    return {
        "path": str(path),
        "kind": "maya",
        "written_by": config.get("package"),
        "parameters": _counted(_shapes(path / WEIGHTS_FILE)),
        **{key: config.get(key) for key in kept},
        "prompt": config.get("language_prompt"),
        "tokenizer": _tokenizer(Tokenizer.load(path / TOKENIZER_FOLDER)),
        "notes": list(config.get(NOTES_KEY) or ()),
    }


def _shapes(file: Path) -> dict[str, list[int]]:
    """Shapes of a safetensors file, from its header alone."""
    try:
        with safe_open(file, "pt") as tensors:
            names: list[str] = tensors.keys()
            return {name: tensors.get_slice(name).get_shape() for name in names}
    except SafetensorError as error:
        raise BadCheckpoint(f"{file} is damaged or no safetensors file: {error}") from None


def _counted(shapes: Mapping[str, list[int]]) -> dict[str, int]:
    """Values of each part, such as `encoder` and `heads.ctc`, and of all; statistics of batch norm are in."""
    found = {"all": 0}
    for name, shape in shapes.items():
        parts = name.split(".")
        part = ".".join(parts[:2]) if parts[0] == "heads" else parts[0]
        found[part] = found.get(part, 0) + prod(shape)
        found["all"] += prod(shape)
    return found


def _tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    return {"models": tokenizer.names, "pieces": tokenizer.vocab_size, "script": tokenizer.script}


def _source_kind(path: Path) -> str:
    if path.is_file() or (path / "model_config.yaml").is_file():
        return "nemo"
    for folder in (path, path / "assets"):
        if (folder / "language_masks.json").is_file():
            return "indicconformer"
    return "parakeet"
