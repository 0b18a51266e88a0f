"""Tensors with a row for each language or piece, taken over into a model that has more of these.

The old pieces must be the first ones of the new tokenizer: then their rows keep their places, and what stood
behind them (the blank, a TDT head's durations) stands behind all of the new ones.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from maya_encoder.tokenizer import Tokenizer

Known = tuple[Sequence[str], int]
"""Languages, and the number of pieces."""


class Grown(NamedTuple):
    """Rows of a tensor that are taken over."""

    old: Tensor
    places: Tensor
    """Where each row of `old` goes."""


def same_pieces(old: Tokenizer, new: Tokenizer) -> bool:
    """Whether the pieces of `old` are the first ones of `new`."""
    if old.sha256 == new.sha256:
        return True
    first = list(new.models.items())[: len(old.names)]
    return old.script == new.script and first == list(old.models.items())


def grown_tensors(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], old: Known, new: Known
) -> dict[str, Grown]:
    """The tensors of a checkpoint that have fewer rows than the model's, or these in another order.

    Args:
        found: of the checkpoint, by name.
        wanted: of the model.
        old: languages and pieces of the checkpoint.
        new: those of the model.
    """
    made = {}
    for name, tensor in found.items():
        if name not in wanted or wanted[name].shape[1:] != tensor.shape[1:] or not tensor.ndim:
            continue
        if name.endswith("lang_embedding.weight"):
            places = _languages(old[0], new[0])
        elif name.startswith("heads.") and len(wanted[name]) - len(tensor) == new[1] - old[1] > 0:
            places = _pieces(len(tensor), old[1], new[1])
        else:
            continue
        if places is not None and places.tolist() != list(range(len(wanted[name]))):
            made[name] = Grown(tensor, places)
    return made


def _languages(old: Sequence[str], new: Sequence[str]) -> Tensor | None:
    if not set(old) <= set(new):
        return None
    return torch.tensor([list(new).index(lang) for lang in old])


def _pieces(rows: int, old: int, new: int) -> Tensor:
    return torch.cat([torch.arange(old), torch.arange(new, new + rows - old)])


@torch.no_grad()
def copy_rows(model: nn.Module, grown: Mapping[str, Grown]) -> None:
    """Put the rows in their places; all others stay as they are."""
    state = model.state_dict()
    for name, one in grown.items():
        state[name][one.places] = one.old.to(state[name])
