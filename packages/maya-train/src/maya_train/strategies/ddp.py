"""The whole model in every process; gradients are averaged."""

from dataclasses import dataclass
from datetime import timedelta

from maya_train.strategies import StrategyBundle


@dataclass(kw_only=True)
class DDP:
    """DistributedDataParallel; with one process in all, a plain run without a process group."""

    name: str = "ddp"
    """The plugin's name."""
    find_unused_parameters: bool = False
    """Look for parameters without a gradient after each step; slower, hides mistakes."""
    gradient_as_bucket_view: bool = True
    """Gradients live in the buckets that are sent: saves one copy of them."""
    static_graph: bool = False
    """The same parameters take part in every step, in the same order."""
    timeout_minutes: float = 30.0
    """How long a process waits for the others before it fails."""

    def __post_init__(self) -> None:
        """Refuse a wait that would fail at once."""
        if self.timeout_minutes <= 0:
            raise ValueError(f"`timeout_minutes` must be more than 0, got {self.timeout_minutes}")

    def build(self, num_devices: int, num_nodes: int, precision: str, grad_clip: float) -> StrategyBundle:
        """The strategy; Fabric chooses gloo or NCCL by the device."""
        if num_devices * num_nodes == 1:
            return StrategyBundle(strategy="auto")
        from maya_train.strategies.own_buffers import OwnBuffersDDP

        strategy = OwnBuffersDDP(
            timeout=timedelta(minutes=self.timeout_minutes),
            find_unused_parameters=self.find_unused_parameters,
            gradient_as_bucket_view=self.gradient_as_bucket_view,
            static_graph=self.static_graph,
        )
        return StrategyBundle(strategy=strategy)
