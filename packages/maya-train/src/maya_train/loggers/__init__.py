"""Where curves go besides metrics.jsonl: a CSV file, TensorBoard, Weights & Biases. Chosen by `loggers`.

A logger has `write(step, values)`, `resume(step)` (what is written of later steps will come again) and
`close()`. It is called from one thread of its own; if it fails, it is left out and training goes on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from maya_train.schema import RunConfig


class Logger(Protocol):
    """Takes the numbers of some steps."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a step by path, such as `loss` or `wer/ctc/hi`."""

    def resume(self, step: int) -> None:
        """Training goes on after `step`."""

    def close(self) -> None:
        """Nothing comes after this."""


class MissingPackage(RuntimeError):
    """A logger needs a package that is not installed; the message has the install line."""


def make(name: str, cfg: RunConfig, folder: Path) -> Logger:
    """The logger of a name in `schema.LOGGERS`, writing into the stage's folder.

    Raises:
        MissingPackage: it needs one.
    """
    if name == "csv":
        from maya_train.loggers.csv_file import CsvFile

        return CsvFile(folder / "metrics.csv")
    if name == "tensorboard":
        from maya_train.loggers.tensorboard import TensorBoard

        return TensorBoard(folder / "tensorboard")
    from maya_train.loggers.wandb_run import WandbRun

    return WandbRun(cfg, folder)
