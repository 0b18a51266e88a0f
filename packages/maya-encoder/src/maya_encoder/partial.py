"""Start a model from parts of another: prefixes of tensor names say which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from maya_encoder.checkpoint import CONFIG_FILE, read_config, read_tensors
from maya_encoder.fit import BadCheckpoint

SHOWN = 3


@dataclass
class LoadReport:
    """What became of the tensors, by their names in `state_dict()`."""

    loaded: list[str] = field(default_factory=list)
    """In the model now."""
    skipped: list[str] = field(default_factory=list)
    """In the checkpoint, but not asked for, excluded, or unknown to the model."""
    missing: list[str] = field(default_factory=list)
    """Asked for and in the model, but not in the checkpoint: as they were."""
    notes: list[str] = field(default_factory=list)
    """What was chosen or left out when another program's checkpoint was read; see `load`."""

    def __str__(self) -> str:
        counts = f"loaded {len(self.loaded)} tensors, skipped {len(self.skipped)} of the checkpoint"
        return f"{counts}, left {len(self.missing)} as they were"


def load_into(
    model: nn.Module,
    path: str | Path,
    include: Sequence[str] = ("encoder",),
    exclude: Sequence[str] = (),
) -> LoadReport:
    """Copy tensors of a checkpoint into `model`, which keeps its dtype and device.

    Args:
        model: what to start; an AcousticModel, or a module with the same names.
        path: a Maya folder, or whatever `interop.read_any` reads; it may hold an encoder alone.
        include: prefixes of names to take, such as `encoder` or `heads.ctc`; whole parts between dots.
        exclude: prefixes to leave out all the same, such as `encoder.pre_encode.out`.

    Returns:
        What was taken and what was not.

    Raises:
        BadCheckpoint: a prefix is found nowhere, or tensors have other shapes: the first few are named.
    """
    found, notes = checkpoint_tensors(path)
    wanted = model.state_dict()
    _check_prefixes(found, wanted, include, exclude, path)
    chosen = {name: tensor for name, tensor in found.items() if _chosen(name, include, exclude)}
    loaded = [name for name in wanted if name in chosen]
    _check_shapes(chosen, wanted, path)
    with torch.no_grad():
        for name in loaded:
            wanted[name].copy_(chosen[name])
    missing = [name for name in wanted if _chosen(name, include, exclude) and name not in found]
    return LoadReport(loaded, sorted(set(found) - set(loaded)), missing, notes)


def checkpoint_tensors(path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of any checkpoint that can be read, named as in `AcousticModel.state_dict()`, and notes."""
    if (Path(path) / CONFIG_FILE).is_file():
        read_config(path)
        return read_tensors(path), []
    from maya_encoder.interop import read_any  # loads the readers of foreign files

    imported = read_any(path)
    return imported.tensors, imported.notes


def _chosen(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    return any(_below(name, each) for each in include) and not any(_below(name, each) for each in exclude)


def _below(name: str, prefix: str) -> bool:
    prefix = prefix.rstrip(".")
    return name == prefix or name.startswith(f"{prefix}.")


def _check_prefixes(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    include: Sequence[str],
    exclude: Sequence[str],
    path: str | Path,
) -> None:
    """A misspelt prefix would load less, or more, than was meant."""
    if isinstance(include, str) or isinstance(exclude, str):
        raise ValueError(
            f"`include` and `exclude` must be lists of prefixes, got {include!r} and {exclude!r}"
        )
    for prefix in (*include, *exclude):
        if not any(_below(name, prefix) for name in (*found, *wanted)):
            parts = sorted({name.split(".")[0] for name in (*found, *wanted)})
            raise BadCheckpoint(
                f"neither {path} nor the model has a tensor below {prefix!r}; their names begin with:"
                f" {', '.join(parts)}"
            )
    for prefix in include:
        if not any(_below(name, prefix) and name in wanted for name in found):
            raise BadCheckpoint(f"{path} has no tensor below {prefix!r} that the model has too")


def _check_shapes(chosen: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path) -> None:
    wrong = [
        f"{name} is {list(tensor.shape)} where the model has {list(wanted[name].shape)}"
        for name, tensor in chosen.items()
        if name in wanted and tensor.shape != wanted[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        listed = "; ".join(wrong[:SHOWN]) + more
        raise BadCheckpoint(f"{path} does not fit the model: {listed}; leave them out with exclude=[...]")
