"""What is learnt: a task turns a batch into a loss over a known number of tokens, and audio into text.

A task is an `nn.Module` around the model of its package. The loop calls `prepare` outside and `forward`
inside the strategy's wrapper, divides by the tokens of all ranks, and knows nothing else of the model.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from maya_data.loading.batch import Batch
from maya_train.errors import ConfigError


class TaskLoss(NamedTuple):
    """Sums over the utterances of one batch."""

    loss_sum: Tensor
    """What is minimised, once divided by the number of tokens."""
    parts: dict[str, Tensor]
    """Further sums that are logged by token, detached."""
    counts: dict[str, Tensor]
    """Sums that are logged as they are, detached."""


class Work:
    """A batch on its device with its targets; a plain class, so that no wrapper takes it apart."""

    def __init__(self, batch: Batch, num_tokens: int, targets: Any = None) -> None:
        self.batch = batch
        self.num_tokens = num_tokens
        self.targets = targets


class Moment(NamedTuple):
    """Where training stands: `step` from 0, of `total`."""

    step: int
    total: int


class Task(Protocol):
    """What the loop needs."""

    made_by: dict[str, Any]
    """Written into the model's folder: which stage of which recipe it comes from."""

    def trained(self) -> Mapping[str, nn.Module]:
        """The modules that learn, by the names of the config's `train`."""

    def prepare(self, batch: Batch) -> Work:
        """Targets and their number, before the forward pass; draws no random numbers."""

    def begins(self, total: int) -> Mapping[str, int]:
        """The step at which the loss of a module enters, where that is not the first."""

    def __call__(self, work: Work, moment: Moment) -> TaskLoss:
        """The sums of one batch."""

    def set_modes(self) -> None:
        """Training mode for what learns, eval mode for what is frozen: no batch statistics of it move."""

    def scored(self, moment: "Moment") -> Sequence[str]:
        """Names of the heads that `transcribe` can decode with by now."""

    def transcribe(self, batch: Batch, heads: Sequence[str]) -> dict[str, list[str]]:
        """Greedy text of each utterance by head, for validation; leaves the model in eval mode."""

    def save(self, folder: Path) -> None:
        """Write the model's folder, in the layout of its package."""


def pick(modules: Mapping[str, nn.Module], names: Iterable[str], task: str) -> dict[str, nn.Module]:
    """The modules that `train` names, in the order of `modules`."""
    wanted = set(names)
    if odd := sorted(wanted - set(modules)):
        raise ConfigError(
            f"`train` names {odd[0]}, which task {task} cannot train here; it has: {', '.join(modules)}"
        )
    if not wanted:
        raise ConfigError(f"`train` must name one module or more for task {task}, got none")
    return {name: module for name, module in modules.items() if name in wanted}


def freeze_all_but(model: nn.Module, trained: Iterable[nn.Module]) -> None:
    """Only the trained modules get gradients."""
    model.requires_grad_(False)
    for module in trained:
        module.requires_grad_(True)


def touch(modules: Iterable[nn.Module]) -> Tensor:
    """A zero that depends on every parameter, so that all ranks reduce a module whose loss is not in yet."""
    return (
        torch.stack([parameter.sum() for module in modules for parameter in module.parameters()]).sum() * 0.0
    )


def by_lang(name: str, values: Tensor, work: Work, langs: Sequence[str]) -> dict[str, Tensor]:
    """Sums of values (B,) over the utterances of each language, as counts that the loop logs by language.

    Args:
        name: a head, or `tokens`.
        values: of each utterance, detached.
        work: a batch; the third of its targets are the places of its languages in `langs`.
        langs: all languages of the model, so that every process has the same counts.
    """
    sums = values.new_zeros(len(langs)).index_add(0, work.targets[2], values)
    return {f"by_lang/{name}/{lang}": value for lang, value in zip(langs, sums.unbind(), strict=True)}
