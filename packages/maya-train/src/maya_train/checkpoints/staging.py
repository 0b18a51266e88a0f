"""A copy of a training state in main memory, so that training goes on while it is written."""

from typing import Any

import torch
from torch import Tensor

Place = tuple[int, torch.Size, tuple[int, ...], torch.dtype]


class Staging:
    """Copies into the same memory each time: the first copy is slow, later ones are as fast as memory is."""

    def __init__(self) -> None:
        self._room: dict[str, Tensor] = {}

    def copy(self, state: Any) -> Any:
        """`state` with all tensors copied, valid until the next call."""
        copied = self._copy(state, "", {})
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return copied

    def _copy(self, value: Any, path: str, seen: dict[Place, Tensor]) -> Any:
        if isinstance(value, Tensor):
            place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
            if value.numel() == 0 or place not in seen:  # a tied weight has two names
                seen[place] = self._copy_tensor(value, path)
            return seen[place]
        if isinstance(value, dict):
            return {key: self._copy(item, f"{path}/{key}", seen) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._copy(item, f"{path}/{i}", seen) for i, item in enumerate(value))
        return value

    def _copy_tensor(self, value: Tensor, path: str) -> Tensor:
        room = self._room.get(path)
        if room is None or room.shape != value.shape or room.dtype != value.dtype:
            room = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
            self._room[path] = room
        return room.copy_(value.detach(), non_blocking=value.is_cuda)
