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
    """It counts the micro-batches of a step; the loop steps it after each."""
    sharded: bool = False
    """Weights or optimizer state are spread over the processes; checkpoints are made by all of them."""
    joint_setup: bool = False
    """Model and optimizer are handed to Fabric in one call."""


@dataclass(frozen=True, kw_only=True)
class StrategyBundle:
    """A Fabric strategy and what it does itself."""

    strategy: "Strategy | str"
    """An instance, or a name that Fabric knows."""
    capabilities: Capabilities = field(default_factory=Capabilities)


__all__ = ["Capabilities", "StrategyBundle"]
