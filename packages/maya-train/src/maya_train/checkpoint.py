"""Training state on disk: everything that an exact resume needs, written so that no crash leaves half of it.

A folder `step-N` holds `state.pt` (weights that train, optimizer, counters) and one `rank-R.pt` a process
(random streams). It is written under another name, gets its `COMPLETE` file last and then its name in one
rename; a folder without `COMPLETE`, or with a file of another size than that records, is never resumed from.
The model that a stage hands on is another thing: see `maya_encoder.checkpoint`, `maya_bridge.checkpoint`.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from maya_train.errors import NO_ROOM

COMPLETE = "COMPLETE"


class BrokenCheckpoint(ValueError):
    """A training state that does not fit the run that wants to go on from it."""


def changing_state(module: nn.Module) -> dict[str, Tensor]:
    """The part of a state dict that training changes: nothing frozen, no buffers beside frozen weights."""
    # A tied weight is in the state dict under each of its names.
    named = module.named_parameters(remove_duplicate=False)
    frozen = {name for name, parameter in named if not parameter.requires_grad}
    for prefix, child in module.named_modules():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            frozen.update(f"{prefix}.{name}" for name, _ in child.named_buffers())
    return {name: value for name, value in module.state_dict().items() if name not in frozen}


def load_changing_state(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Put saved weights back; names that do not fit are an error which names the first."""
    wanted = changing_state(module)
    if odd := sorted(set(wanted) ^ set(state)):
        raise BrokenCheckpoint(f"{source} is of another model: {odd[0]} is in only one of them")
    if odd := [name for name in wanted if wanted[name].shape != state[name].shape]:
        was, now = tuple(state[odd[0]].shape), tuple(wanted[odd[0]].shape)
        raise BrokenCheckpoint(
            f"{source} is of another model: {odd[0]} has shape {was}, the model wants {now}"
        )
    module.load_state_dict(state, strict=False)


def save(
    fabric: Fabric, folder: Path, state: Mapping[str, Any], own_state: Mapping[str, Any], keep: int
) -> None:
    """Write `folder` (`.../step-N`): `state` of rank 0, `own_state` of every rank; keep the newest `keep`."""
    part = folder.with_name(f".{folder.name}.part")
    if fabric.is_global_zero:
        for stale in folder.parent.glob(".step-*.part"):
            shutil.rmtree(stale)
        part.mkdir(parents=True)
    fabric.barrier()
    _write(part / f"rank-{fabric.global_rank}.pt", own_state)
    if fabric.is_global_zero:
        _write(part / "state.pt", state)
    fabric.barrier()
    if fabric.is_global_zero:
        sizes = {path.name: path.stat().st_size for path in sorted(part.iterdir())}
        record = {"step": step_of(folder), "world_size": fabric.world_size, "files": sizes}
        _write_text(part / COMPLETE, json.dumps(record))
        if folder.exists():
            _remove(folder)
        os.replace(part, folder)
        _sync(folder.parent)
        for old in [path for path in _newest_first(folder.parent) if path != folder][keep - 1 :]:
            _remove(old)
    fabric.barrier()


def latest(folder: Path) -> Path | None:
    """The newest whole training state under `folder`, or None."""
    return next((path for path in _newest_first(folder) if is_whole(path)), None)


def is_whole(folder: Path) -> bool:
    """Whether the folder is marked complete and its files have the sizes recorded then."""
    try:
        files = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError):
        return False


def load(folder: Path, rank: int, world_size: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The common state, and this rank's own: None where the run had another number of processes."""
    record = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
    state: dict[str, Any] = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    if record["world_size"] != world_size:
        return state, None
    return state, torch.load(folder / f"rank-{rank}.pt", map_location="cpu", weights_only=True)


def step_of(folder: Path) -> int:
    """The number in `step-N`."""
    return int(folder.name.removeprefix("step-"))


def _newest_first(folder: Path) -> list[Path]:
    return sorted(_steps(folder), key=step_of, reverse=True)


def _steps(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit())


def _remove(folder: Path) -> None:
    (folder / COMPLETE).unlink(missing_ok=True)  # first, so that half a folder is never a candidate
    shutil.rmtree(folder)


def _write(path: Path, state: Mapping[str, Any]) -> None:
    try:
        with path.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # torch hides what stopped it
        if not isinstance(cause, OSError) or cause.errno not in NO_ROOM:
            raise
        free = shutil.disk_usage(path.parent).free / 2**30
        raise OSError(
            cause.errno,
            f"the training state {path.parent} could not be written ({os.strerror(cause.errno)},"
            f" {free:.2f} GiB free); earlier ones are whole",
        ) from error


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
