"""Event files for TensorBoard, in `tensorboard/` of the stage's folder."""

from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from maya_train.loggers import MissingPackage


class TensorBoard:
    """Writes scalars through tensorboardX, or through tensorboard where only that is installed."""

    def __init__(self, folder: Path) -> None:
        self._make, self._folder = _writer(), folder
        self._file: Any = None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar a number."""
        if self._file is None:
            self._file = self._make(str(self._folder))
        for name, value in values.items():
            self._file.add_scalar(name, value, step)

    def resume(self, step: int) -> None:
        """Let TensorBoard forget later steps."""
        self.close()
        self._file = self._make(str(self._folder), purge_step=step + 1)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _writer() -> Any:
    for name in ("tensorboardX", "torch.utils.tensorboard"):
        with suppress(ImportError):
            return import_module(name).SummaryWriter
    raise MissingPackage("pip install tensorboardX")
