"""Tensors spread over processes: each writes and reads its share, by torch's distributed checkpoint."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

if TYPE_CHECKING:
    from concurrent.futures import Future

    from torch.distributed import ProcessGroup
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

FOLDER = "shards"
OPTIMIZER = "optimizer"


def placed_like(whole: Tensor, like: Tensor) -> Tensor:
    """This process's share of `whole`, where `like` is spread over processes; else `whole`."""
    if not isinstance(like, DTensor):
        return whole
    share: Tensor = distribute_tensor(
        whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )
    return share


def own_share(tensor: Tensor) -> Tensor:
    """The part of `tensor` that lies here."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def flatten_optimizer(state: Mapping[int, Mapping[str, Any]]) -> dict[str, Tensor]:
    """The tensors of an optimizer's state, by names."""
    return {f"{OPTIMIZER}.{i}.{key}": value for i, of in state.items() for key, value in of.items()}


def unflatten_optimizer(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The optimizer's state from the tensors of `flatten_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, index, key = name.split(".", 2)
        if kind == OPTIMIZER:
            state.setdefault(int(index), {})[key] = value
    return state


def write(part: Path, tensors: Mapping[str, Tensor], group: "ProcessGroup | None") -> None:
    """Write the tensors of all processes; returns when the disk has them."""
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    with _one_or_many():
        save(
            dict(tensors),
            storage_writer=FileSystemWriter(part / FOLDER),
            process_group=group,
            no_dist=group is None,
        )


def write_later(part: Path, tensors: Mapping[str, Tensor], group: "ProcessGroup | None") -> "Future[Any]":
    """The same in the background: the tensors may change as soon as this returns."""
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import async_save

    writer = FileSystemWriter(part / FOLDER)
    found: Any = async_save(dict(tensors), storage_writer=writer, process_group=group)
    future: Future[Any] = getattr(found, "upload_completion", found)
    return future


def own_files(part: Path, rank: int) -> list[Path]:
    """The files that this process wrote; the first process writes what names them all."""
    found = sorted((part / FOLDER).glob(f"__{rank}_*"))
    return [*found, part / FOLDER / ".metadata"] if rank == 0 else found


def read_shapes(folder: Path) -> "dict[str, TensorStorageMetadata]":
    """Shape and type of every tensor in a training state."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    entries = FileSystemReader(folder / FOLDER).read_metadata().state_dict_metadata.items()
    return {name: entry for name, entry in entries if isinstance(entry, TensorStorageMetadata)}


def read(folder: Path, tensors: Mapping[str, Tensor], group: "ProcessGroup | None") -> None:
    """Fill `tensors`, spread over any number of processes, with what was saved under their names."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = FileSystemReader(folder / FOLDER)
    with _one_or_many():
        load(dict(tensors), storage_reader=reader, process_group=group, no_dist=group is None)


def room_for_optimizer(
    shapes: "Mapping[str, TensorStorageMetadata]", parameters: list[Tensor]
) -> dict[str, Tensor]:
    """Empty tensors for a saved optimizer's state: spread like its parameter where they have its shape."""
    room: dict[str, Tensor] = {}
    for name, entry in shapes.items():
        kind, _, rest = name.partition(".")
        if kind == OPTIMIZER:
            like, dtype = parameters[int(rest.partition(".")[0])].detach(), entry.properties.dtype
            is_alike = entry.size == like.shape
            room[name] = (
                torch.zeros_like(like, dtype=dtype) if is_alike else torch.zeros(entry.size, dtype=dtype)
            )
    return room


@contextmanager
def _one_or_many() -> Iterator[None]:
    """One process alone is as good as many; torch wonders whether it is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield
