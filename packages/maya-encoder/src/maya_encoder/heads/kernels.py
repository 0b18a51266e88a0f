"""Which implementation of the three inner loops runs: Triton's on CUDA, plain torch everywhere else."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from maya_encoder.heads import cell_rows, lattice
from maya_encoder.heads.cell_rows import Rows
from maya_encoder.heads.lattice import Arcs, PathSums

Backend = Literal["auto", "torch", "triton"]


class Kernels(NamedTuple):
    """The functions of `cell_rows.py` and `lattice.py`, or others that do the same."""

    score_rows: Callable[[Tensor, Rows], tuple[Tensor, Tensor, Tensor]]
    gradient_rows: Callable[[Tensor, Rows, Tensor, Tensor, Tensor], Tensor]
    path_sums: Callable[[Arcs, Tensor, Tensor, bool], PathSums]


TORCH = Kernels(cell_rows.score_rows, cell_rows.gradient_rows, lattice.path_sums)


def kernels_for(device: torch.device, backend: Backend = "auto") -> Kernels:
    """The functions that serve tensors on `device`.

    Raises:
        ValueError: for another name of a backend.
        ModuleNotFoundError: Triton is asked for and not installed.
    """
    if backend not in ("auto", "torch", "triton"):
        raise ValueError(f"`backend` must be auto, torch or triton, got {backend!r}")
    if backend == "torch" or (backend == "auto" and not (device.type == "cuda" and _has_triton())):
        return TORCH
    if not _has_triton():
        raise ModuleNotFoundError("`backend` is triton, which is not installed; pip install triton")
    from maya_encoder.heads.triton_lattice import path_sums
    from maya_encoder.heads.triton_rows import gradient_rows, score_rows

    return Kernels(score_rows, gradient_rows, path_sums)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
