"""Named tensors out of files that torch.save wrote, without running what a pickle may ask to run."""

import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import torch
from torch import Tensor

from maya_encoder.fit import BadCheckpoint

_HARMLESS = ("torch.", "collections.OrderedDict")


def load_tensors(stream: IO[bytes], source: str) -> dict[str, Tensor]:
    """The tensors by name, on the CPU.

    Args:
        stream: a seekable file.
        source: its name, for messages.

    Raises:
        BadCheckpoint: the file is damaged, holds something else than named tensors, or wants to run code.
    """
    state = _load(stream, source)
    if not isinstance(state, Mapping):
        raise BadCheckpoint(f"{source} must hold named tensors, got {type(state).__name__}")
    if wrong := [key for key, value in state.items() if not isinstance(value, Tensor)]:
        kind = type(state[wrong[0]]).__name__
        raise BadCheckpoint(f"{source} must hold named tensors alone, but {wrong[0]!r} is of type {kind}")
    return {str(key): value for key, value in state.items()}


def _load(stream: IO[bytes], source: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickle protocols, which the refusal covers
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises whatever the damaged bytes lead to
        if name := _refused(stream, str(error)):
            raise BadCheckpoint(
                f"{source} is refused: its pickle wants to run {name}, and only plain tensors are read"
            ) from None
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise BadCheckpoint(f"{source} is damaged or no file of weights: {reason}") from None


def _refused(stream: IO[bytes], message: str) -> str | None:
    """The class or function that made torch refuse the file, if that was why."""
    if found := re.search(r"GLOBAL ([\w.]+)", message):
        return found[1]
    try:
        wanted = [name for name in _imports(stream) if not name.startswith(_HARMLESS)]
    except Exception:  # no pickle at all
        return None
    return wanted[0] if wanted else None


def _imports(stream: IO[bytes]) -> Iterator[str]:
    """Dotted names that a pickle, bare or inside torch's zip file, looks up."""
    stream.seek(0)
    pickled = stream.read(64 << 20)
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as archive:
            inside = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            pickled = archive.read(inside)
    strings: list[str] = []
    for code, argument, _ in pickletools.genops(pickled):
        if code.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif "UNICODE" in code.name:
            strings.append(str(argument))
        elif code.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
