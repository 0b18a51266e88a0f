"""One process on one device."""

from dataclasses import dataclass

from maya_train.strategies import StrategyBundle


@dataclass(kw_only=True)
class Single:
    """No process group at all."""

    name: str = "single"
    """The plugin's name."""

    def build(self, num_devices: int, num_nodes: int, precision: str, grad_clip: float) -> StrategyBundle:
        """Leave the placing to Fabric; more than one process is refused."""
        if (processes := num_devices * num_nodes) != 1:
            raise ValueError(f"strategy single is for one process, got {processes}; choose strategy=ddp")
        return StrategyBundle(strategy="auto")
