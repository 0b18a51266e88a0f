"""Processes that should hold the same weights and do not: found by comparing digests, bit by bit."""

import torch
from torch import Tensor, nn

from maya_train.faults.agreement import Agreement

AS_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of a number -> the integer that has the same bits."""


class Desync(RuntimeError):
    """The processes of a run have gone apart."""


@torch.no_grad()
def digests(parameters: list[Tensor]) -> Tensor:
    """A number (N,) int64 on the CPU for each tensor: the sum of its elements, read as integers."""
    sums = [
        parameter.detach().contiguous().view(AS_WHOLE[parameter.element_size()]).sum(dtype=torch.int64)
        for parameter in parameters
    ]
    return torch.stack(sums).cpu()


def check(agreement: Agreement, module: nn.Module, step: int) -> None:
    """Compare step and weights of all processes.

    Raises:
        Desync: they differ; all processes raise it.
    """
    if agreement.world_size == 1:
        return
    named = dict(module.named_parameters())
    own = torch.cat([torch.tensor([step]), digests(list(named.values()))])
    if not (places := agreement.differing(own)):
        return
    told = agreement.gather(own[places[0]].item())
    odd = [str(rank) for rank, value in enumerate(told) if value != told[0]]
    what = (
        "steps" if places[0] == 0 else f"{list(named)[places[0] - 1]}, of {len(places)} tensors that differ,"
    )
    if places[0] == 0:
        raise Desync(f"step {step}: processes are at different {what}: {told}")
    raise Desync(
        f"after step {step} the processes hold different weights: rank {', '.join(odd)} from rank 0 in {what}"
        " first; go on from the last saved state, and look for a device that is broken"
    )
