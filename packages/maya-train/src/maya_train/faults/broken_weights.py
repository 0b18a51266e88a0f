"""Weights that are no numbers any more: such a state is never saved over a good one, nor handed on."""

from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from maya_train.faults.skips import Diverged


def refuse_broken(fabric: Fabric, module: nn.Module, step: int) -> None:
    """Raise in all processes where a weight that trains is not finite in one of them.

    Raises:
        Diverged: names the first such weight of this process.
    """
    trained = ((name, tensor) for name, tensor in module.named_parameters() if tensor.requires_grad)
    broken = next((name for name, tensor in trained if not bool(_share(tensor).isfinite().all())), None)
    count: Any = torch.tensor(float(broken is not None), device=fabric.device)
    if fabric.world_size > 1:
        count = fabric.all_reduce(count, reduce_op="sum")
    if float(count):
        where = f"{broken} is" if broken else "weights of another process are"
        raise Diverged(
            f"after step {step} {where} not finite, so no state was saved; go on from the last one that was,"
            " with a lower lr"
        )


def _share(parameter: Any) -> torch.Tensor:
    """What this process has of a parameter: all of it, FSDP2's share, or DeepSpeed's."""
    share = getattr(parameter, "ds_tensor", parameter).detach()
    return share.to_local() if hasattr(share, "to_local") else share  # type: ignore[no-any-return]
