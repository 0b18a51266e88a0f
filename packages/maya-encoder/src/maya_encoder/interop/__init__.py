"""Other people's checkpoints: NeMo, its AI4Bharat fork, Hugging Face Parakeet, published ONNX files."""

import tarfile
from importlib import import_module
from pathlib import Path

from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop.imported import Imported, build, use_frontend
from maya_encoder.interop.notes import FrontendDoubt

__all__ = ["Imported", "build", "read_any", "use_frontend"]


def read_any(path: str | Path, frontend: str | None = None) -> Imported:
    """Read a foreign checkpoint, whose kind its contents tell.

    Args:
        path: a `.nemo` file or its unpacked folder, a Hugging Face folder, or a folder of ONNX files.
        frontend: `modern` or `legacy` in place of what the checkpoint says.

    Raises:
        BadCheckpoint: it is none of these, or one that cannot be used.
    """
    imported: Imported = import_module(f"{__name__}.{_kind(Path(path))}").read(Path(path))
    if frontend is not None:
        use_frontend(imported.config, frontend)
        imported.notes = [note for note in imported.notes if not isinstance(note, FrontendDoubt)]
        imported.notes.append(f"{frontend} front end, as asked for")
    return imported


def _kind(path: Path) -> str:
    if not path.exists():
        raise BadCheckpoint(f"{path} does not exist")
    if path.is_file():
        if path.suffix == ".nemo" or tarfile.is_tarfile(path):
            return "nemo"
    elif (path / "model_config.yaml").is_file():
        return "nemo"
    elif any(path.glob("*.onnx")) or any(path.glob("*/*.onnx")):
        return "indicconformer_onnx"
    elif (path / "config.json").is_file():
        return "parakeet"
    known = "a Maya folder, a .nemo archive, a Hugging Face Parakeet folder, a folder of ONNX files"
    raise BadCheckpoint(f"{path} is no checkpoint that this package knows; those are: {known}")
