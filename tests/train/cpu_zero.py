"""DeepSpeed on two CPU processes, for tests alone: what the real class refuses is let through."""

import os
from dataclasses import dataclass, replace
from typing import Any

os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed
import torch
from lightning.fabric.strategies import DDPStrategy
from lightning.fabric.strategies import deepspeed as fabric_deepspeed

from maya_train.strategies.deepspeed import DeepSpeed
from maya_train.strategies.zero import ZeroStrategy

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled at the start
fabric_deepspeed._validate_device_index_selection = lambda devices: None
torch.Tensor.record_stream = lambda tensor, stream: None  # there are no streams


class CPUZero(ZeroStrategy):
    @property
    def root_device(self) -> torch.device:
        return torch.device("cpu", 0)

    def setup_environment(self) -> None:
        DDPStrategy.setup_environment(self)


@dataclass(kw_only=True)
class CPUDeepSpeed(DeepSpeed):
    def build(self, **keys: Any) -> Any:
        bundle = super().build(**keys)
        return replace(bundle, capabilities=replace(bundle.capabilities, needs_cuda=False))

    def _strategy(self, grad_clip: float) -> CPUZero:
        return CPUZero(config=self.settings(grad_clip))
