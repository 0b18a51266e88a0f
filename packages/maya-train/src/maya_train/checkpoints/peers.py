"""The processes of a run as they agree on a training state, also while training goes on."""

from datetime import timedelta
from typing import Any

import torch.distributed as dist
from lightning.fabric import Fabric


class Peers:
    """All processes; what they tell each other here does not mix with what training tells them.

    Args:
        fabric: launched.
        timeout: how long one waits for the others.
    """

    def __init__(self, fabric: Fabric, timeout: timedelta = timedelta(minutes=30)) -> None:
        self.rank, self.world_size = fabric.global_rank, fabric.world_size
        self.group: dist.ProcessGroup | None = None
        if self.world_size > 1:
            self.group = dist.new_group(backend="gloo", timeout=timeout)

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank; everyone waits for everyone."""
        if self.group is None:
            return [value]
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, value, group=self.group)
        return found

    def raise_together(self, error: Exception | None) -> None:
        """Raise on all processes where one has failed: its own error there, one like it elsewhere."""
        failed = [told for told in self.gather(_tell(error)) if told]
        if error is not None:
            raise error
        if failed:
            number, text = failed[0]
            raise OSError(number, text) if number else RuntimeError(text)


def _tell(error: Exception | None) -> tuple[int, str] | None:
    if error is None:
        return None
    if isinstance(error, OSError):
        return error.errno or 0, error.strerror or str(error)
    return 0, f"{type(error).__name__}: {error}"
