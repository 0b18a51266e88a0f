"""What is in the files of a training state: whole tensors of the first process, or the shares of all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from maya_train.checkpoints import BrokenCheckpoint, files, shards
from maya_train.checkpoints.peers import Peers
from maya_train.checkpoints.saver import Parts
from maya_train.checkpoints.weights import changing_state, check_names, load_changing_state

STATE = "state.pt"
MODEL, MEAN = "model.", "mean."


class Averages(Protocol):
    """A moving average of the weights."""

    updates: int

    def tensors(self) -> dict[str, Tensor]:
        """The means, by names of parameters."""

    def load(self, means: Mapping[str, Tensor], updates: int) -> None:
        """Go on from saved means."""


class Contents:
    """Weights and optimizer of a run as files. Either kind of folder can be read, whichever is written.

    Args:
        module: the task's module, as it trains.
        optimizer: torch's own, or Fabric's wrapper.
        peers: all processes.
        is_sharded: write shares, not whole tensors.
    """

    can_average = True

    def __init__(self, module: nn.Module, optimizer: Any, peers: Peers, *, is_sharded: bool) -> None:
        self._module, self._optimizer, self._peers = module, optimizer, peers
        self._is_sharded = is_sharded

    def parts(
        self,
        common: Mapping[str, Any],
        own: Mapping[str, Any],
        statistics: Mapping[str, Tensor],
        ema: Averages | None,
    ) -> Parts:
        """What this process writes.

        Args:
            common: plain values that are the same on all processes.
            own: what only this process has.
            statistics: batch statistics to save in place of the module's.
            ema: mean weights, if there are any.
        """
        model = changing_state(self._module) | dict(statistics)
        state: dict[str, Any] = dict(common)
        if ema is not None:
            state["ema_updates"] = ema.updates
        written: dict[str, Mapping[str, Any]] = {own_name(self._peers.rank): own}
        optimizer = self._optimizer.state_dict()
        if not self._is_sharded:
            means = {} if ema is None else {"ema": ema.tensors()}
            if self._peers.is_first:
                written[STATE] = {**state, "model": model, "optimizer": optimizer, **means}
            return Parts(files=written)
        tensors = {f"{MODEL}{name}": value for name, value in model.items()}
        tensors |= {f"{MEAN}{name}": value for name, value in (ema.tensors() if ema else {}).items()}
        tensors |= shards.flatten_optimizer(optimizer["state"])
        if self._peers.is_first:
            written[STATE] = {**state, "param_groups": optimizer["param_groups"]}
        return Parts(files=written, shards=tensors)

    def load(self, folder: Path, ema: Averages | None) -> dict[str, Any]:
        """Put weights, optimizer and means back; returns the plain values.

        Raises:
            BrokenCheckpoint: the state is of another model.
        """
        state = files.read(folder / STATE)
        if "model" not in state and "param_groups" not in state:
            raise BrokenCheckpoint(f"{folder} was written under strategy=deepspeed; go on with that")
        weights = self.read_weights(folder, state)
        load_changing_state(self._module, weights, folder)
        if "optimizer" in state:
            optimizer, means = state["optimizer"], state.get("ema", {})
            optimizer["state"] = {i: self._placed(i, of) for i, of in optimizer["state"].items()}
        else:
            optimizer = {"state": self._read_optimizer(folder), "param_groups": state["param_groups"]}
            means = self._read_shards(folder, MEAN, {} if ema is None else ema.tensors())
        self._optimizer.load_state_dict(optimizer)
        if ema is not None:
            ema.load(means, state["ema_updates"])
        return state

    def read_weights(self, folder: Path, state: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The saved weights, whole or this process's shares."""
        state = files.read(folder / STATE) if state is None else state
        if "model" in state:
            return dict(state["model"])
        wanted = changing_state(self._module)
        shapes = shards.read_shapes(folder)
        saved = {n.removeprefix(MODEL): entry.size for n, entry in shapes.items() if n.startswith(MODEL)}
        check_names(wanted, saved, folder)
        return self._read_shards(folder, MODEL, wanted)

    def put_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Give the module these weights, cast to its own types."""
        wanted = changing_state(self._module)
        cast = {name: value.to(wanted[name].dtype) for name, value in weights.items()}
        load_changing_state(self._module, cast, Path("the mean"))

    def _read_shards(self, folder: Path, prefix: str, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        room = {f"{prefix}{name}": torch.empty_like(value) for name, value in like.items()}
        if room:
            shards.read(folder, room, self._peers.group)
        return {name.removeprefix(prefix): value for name, value in room.items()}

    def _read_optimizer(self, folder: Path) -> dict[int, dict[str, Tensor]]:
        room = shards.room_for_optimizer(shards.read_shapes(folder), self._parameters())
        if room:
            shards.read(folder, room, self._peers.group)
        return shards.unflatten_optimizer(room)

    def _placed(self, index: int, state: Mapping[str, Any]) -> dict[str, Any]:
        like = self._parameters()[index]
        return {
            key: shards.placed_like(value, like) if getattr(value, "shape", None) == like.shape else value
            for key, value in state.items()
        }

    def _parameters(self) -> list[Tensor]:
        """In the order in which the optimizer numbers them."""
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]


def own_name(rank: int) -> str:
    """The file of what only one process has."""
    return f"rank-{rank}.pt"


def load_own(folder: Path, peers: Peers) -> dict[str, Any]:
    """What only this process has; for as many processes as wrote it."""
    return files.read(folder / own_name(peers.rank))
