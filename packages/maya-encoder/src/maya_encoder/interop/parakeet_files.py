"""The files of a Hugging Face folder: JSON, and tensors in one safetensors file or in shards."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from maya_encoder.fit import BadCheckpoint

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        BadCheckpoint: the file is missing, or holds no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadCheckpoint(f"{path.parent} has no {path.name}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadCheckpoint(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadCheckpoint(f"{path} must hold keys and values, got {type(found).__name__}")
    return found


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, on the CPU.

    Raises:
        BadCheckpoint: there are none, one of the files is damaged or points outside of the folder.
    """
    tensors: dict[str, Tensor] = {}
    for name in _weight_files(folder):
        try:
            tensors |= load_file(folder / name)
        except FileNotFoundError:
            raise BadCheckpoint(f"{folder} has no {name}, which its {INDEX_FILE} names") from None
        except SafetensorError as error:
            raise BadCheckpoint(f"{folder / name} is damaged or no safetensors file: {error}") from None
    return tensors


def feature_extractor(folder: Path) -> dict[str, Any]:
    """Settings of the feature extractor; empty where the folder has none."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            found = read_json(folder / name)
            inner = found.get("feature_extractor")
            return inner if isinstance(inner, dict) else found
    return {}


def _weight_files(folder: Path) -> list[str]:
    if (folder / WEIGHTS_FILE).is_file():
        return [WEIGHTS_FILE]
    if not (folder / INDEX_FILE).is_file():
        raise BadCheckpoint(f"{folder} has no {WEIGHTS_FILE} and no {INDEX_FILE}")
    places = read_json(folder / INDEX_FILE).get("weight_map") or {}
    names = sorted(set(map(str, places.values())))
    for name in names:
        if len(PurePosixPath(name).parts) != 1 or "\\" in name:
            raise BadCheckpoint(
                f"{folder / INDEX_FILE} is refused: it points at {name!r}, outside of the folder"
            )
    return names
