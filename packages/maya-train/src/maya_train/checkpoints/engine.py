"""Weights and optimizer that DeepSpeed's engine writes and reads itself, all processes together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

from maya_train.checkpoints import BrokenCheckpoint, files, folders
from maya_train.checkpoints.contents import STATE, Averages, own_name
from maya_train.checkpoints.peers import Peers
from maya_train.checkpoints.saver import Parts

FOLDER = "engine"


class EngineContents:
    """Contents of which this package writes only the plain values.

    Args:
        engine: DeepSpeed's.
        peers: all processes.
    """

    can_average = False

    def __init__(self, engine: Any, peers: Peers) -> None:
        self._engine, self._peers = engine, peers

    def parts(
        self,
        common: Mapping[str, Any],
        own: Mapping[str, Any],
        statistics: Mapping[str, Tensor],
        ema: Averages | None,
    ) -> Parts:
        """What this process writes; see `Contents.parts`. Batch statistics are in `own` alone."""
        written: dict[str, Mapping[str, Any]] = {own_name(self._peers.rank): own}
        if self._peers.is_first:
            means = {} if ema is None else {"ema": ema.tensors(), "ema_updates": ema.updates}
            written[STATE] = {**common, **means}
        return Parts(files=written, together=self._write)

    def _write(self, part: Path) -> Path:
        self._engine.save_checkpoint(str(part), tag=FOLDER, save_latest=False, exclude_frozen_parameters=True)
        return part / FOLDER

    def load(self, folder: Path, ema: Averages | None) -> dict[str, Any]:
        """Put weights, optimizer and means back; returns the plain values.

        Raises:
            BrokenCheckpoint: another strategy, or another number of processes, wrote it.
        """
        if not (folder / FOLDER).is_dir():
            raise BrokenCheckpoint(f"{folder} was not written under strategy=deepspeed; go on with its own")
        wrote = folders.read_mark(folder).world_size
        if wrote != self._peers.world_size:
            raise BrokenCheckpoint(
                f"{folder} was written by {wrote} processes under DeepSpeed, which only as many can read;"
                f" there are {self._peers.world_size}"
            )
        path, _ = self._engine.load_checkpoint(str(folder), tag=FOLDER, load_module_strict=False)
        if path is None:
            raise BrokenCheckpoint(f"{folder}: DeepSpeed finds nothing that it could go on from")
        state = files.read(folder / STATE)
        if ema is not None:
            ema.load(state["ema"], state["ema_updates"])
        return state

    def read_weights(self, folder: Path) -> NoReturn:
        """Not offered: `can_average` is false."""
        raise NotImplementedError

    def put_weights(self, weights: Mapping[str, Tensor]) -> NoReturn:
        """Not offered: `can_average` is false."""
        raise NotImplementedError
