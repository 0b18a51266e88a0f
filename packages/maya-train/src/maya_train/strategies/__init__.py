"""How the processes of a run share the work. A strategy is a plugin; its `build` returns a StrategyBundle."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.fabric.strategies.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a strategy does itself, so that the loop leaves it alone."""

    clips_itself: bool = False
    """It clips the gradient norm; the loop must not."""
    owns_accumulation: bool = False
    """It gathers the gradients of micro-batches itself and reduces them in its step; the loop must neither
    hold back their reduction nor touch them."""
    sharded: bool = False
    """Weights or optimizer state are spread over the processes; checkpoints are made by all of them."""
    joint_setup: bool = False
    """Model and optimizer are handed to Fabric in one call."""
    needs_cuda: bool = False
    """It runs on CUDA devices only."""


@dataclass(frozen=True, kw_only=True)
class StrategyBundle:
    """A Fabric strategy and what it does itself."""

    strategy: "Strategy | str"
    """An instance, or a name that Fabric knows."""
    capabilities: Capabilities = field(default_factory=Capabilities)
    precision: str | None = None
    """What Fabric is told in place of the run's precision, where the strategy has its own way with it."""


__all__ = ["Capabilities", "StrategyBundle"]
