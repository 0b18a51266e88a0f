"""Whether the tensors of a checkpoint are those of the model that its config describes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

SHOWN = 3
"""Tensors named of each kind of mistake."""


class BadCheckpoint(ValueError):
    """A folder or file that is no usable model; the message names it and what is wrong."""


def check_fit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuse tensors whose names or shapes are not those of the model that the config describes.

    Args:
        wanted: the model's own tensors by name.
        found: the checkpoint's.
        source: the checkpoint, for the message.

    Raises:
        BadCheckpoint: some are missing, unexpected or of another shape; the first few of each, and how many.
    """
    shapes = [
        f"{key} is {list(found[key].shape)} where the model has {list(wanted[key].shape)}"
        for key in wanted
        if key in found and found[key].shape != wanted[key].shape
    ]
    problems = [
        _listed([key for key in wanted if key not in found], "missing"),
        _listed([key for key in found if key not in wanted], "unexpected"),
        _listed(shapes, "of another shape"),
    ]
    if any(problems):
        told = "; ".join(filter(None, problems))
        raise BadCheckpoint(f"{source} is a checkpoint from another recipe, its tensors do not fit: {told}")


def _listed(names: Sequence[str], what: str) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:SHOWN])}{more})" if names else ""
