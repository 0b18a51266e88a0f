"""The named tensors of a TorchScript archive, without loading it as a program: none of its code runs."""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maya_encoder.fit import BadCheckpoint

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


class _Module:
    """A module's attributes, whatever its class."""


class _Reader(pickle.Unpickler):
    """Makes tensors and modules; any other class or function is refused."""

    def __init__(self, archive: zipfile.ZipFile, root: str, source: Path) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self.archive, self.root, self.source = archive, root, source

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle":
            return lambda value, *_: value
        raise BadCheckpoint(
            f"{self.source} is refused: its pickle wants {module}.{name}, and only plain tensors are read"
        )

    def persistent_load(self, told: Any) -> Tensor:
        _, dtype, key, _, _ = told
        data = bytearray(self.archive.read(f"{self.root}/data/{key}"))
        return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by the path of their module.

    Raises:
        BadCheckpoint: the file is damaged, no TorchScript archive, or wants more than tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            named = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            root = next(named).rpartition("/")[0]
            return dict(_tensors(_Reader(archive, root, path).load(), ""))
    except BadCheckpoint:
        raise
    except Exception as error:  # a damaged file raises whatever the damaged bytes lead to
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise BadCheckpoint(f"{path} is damaged or no TorchScript archive: {reason}") from None


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset).clone()


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")
