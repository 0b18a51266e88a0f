"""DDP whose processes keep their own buffers: batch statistics are averaged where they are used."""

from lightning.fabric.strategies.ddp import DDPStrategy
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel


class OwnBuffersDDP(DDPStrategy):
    """Buffers are equal at the start; no step overwrites them with those of the first process."""

    def setup_module(self, module: Module) -> DistributedDataParallel:
        """Wrap the module. The switch has another name as an argument in each version of torch."""
        wrapped = super().setup_module(module)
        wrapped.broadcast_buffers = False
        return wrapped
