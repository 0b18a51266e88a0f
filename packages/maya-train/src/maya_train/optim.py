"""Parameter groups, AdamW and the learning-rate schedule: which module learns, and how fast at each step."""

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import nn
from torch.optim import AdamW


class OptimSettings(Protocol):
    """What this module reads of a run's `optim` section."""

    @property
    def betas(self) -> Iterable[float]:
        """The two decay rates of the moment estimates."""

    @property
    def weight_decay(self) -> float:
        """Decay of matrices; vectors (norms, biases) and embeddings have none."""

    @property
    def warmup_steps(self) -> int:
        """Steps of linear warm-up."""

    @property
    def schedule(self) -> str:
        """One of cosine, wsd, constant."""

    @property
    def decay_share(self) -> float:
        """Part of the steps, the last ones, in which wsd decays."""

    @property
    def min_lr_ratio(self) -> float:
        """Where the schedule ends, as a share of the full rate."""


def schedule(step: int, total_steps: int, settings: OptimSettings, start: int = 0) -> float:
    """The factor on the learning rate at `step` (from 0) for a module whose loss begins at step `start`."""
    warmup = min(1.0, (step - start + 1) / max(1, settings.warmup_steps)) if step >= start else 0.0
    return warmup * _decay(step / max(1, total_steps), settings)


def _decay(progress: float, settings: OptimSettings) -> float:
    low = settings.min_lr_ratio
    if settings.schedule == "cosine":
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    if settings.schedule == "wsd":
        flat = 1 - settings.decay_share
        return 1 - (1 - low) * max(0.0, (progress - flat) / (1 - flat))
    return 1.0


def parameter_groups(
    modules: Mapping[str, nn.Module], lr: Mapping[str, float], weight_decay: float
) -> list[dict[str, object]]:
    """Two groups a trained module (with and without decay), each parameter in exactly one group.

    Raises:
        ValueError: when a trained module has no rate.
    """
    if missing := sorted(set(modules) - set(lr)):
        raise ValueError(f"no learning rate for {', '.join(missing)}; set lr.{missing[0]}")
    seen: set[int] = set()
    groups: list[dict[str, object]] = []
    for name, module in modules.items():
        embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
        split: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for parameter in module.parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                split[parameter.ndim > 1 and id(parameter) not in embeddings].append(parameter)
        for decays, parameters in split.items():
            if parameters:
                decay = weight_decay if decays else 0.0
                groups.append({"params": parameters, "name": name, "lr": lr[name], "weight_decay": decay})
    return groups


def build_optimizer(
    modules: Mapping[str, nn.Module], lr: Mapping[str, float], settings: OptimSettings
) -> AdamW:
    """AdamW over the trained modules, in its fused form where the device has one."""
    groups = parameter_groups(modules, lr, settings.weight_decay)
    first, second = settings.betas
    fused = all(p.device.type in ("cpu", "cuda") for module in modules.values() for p in module.parameters())
    optimizer = AdamW(groups, betas=(first, second), fused=fused)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def set_rates(optimizer: torch.optim.Optimizer, factors: Mapping[str, float]) -> dict[str, float]:
    """Give each group its module's factor of the base rate; returns the rate of every module."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factors[group["name"]]
    return {group["name"]: group["lr"] for group in optimizer.param_groups}
