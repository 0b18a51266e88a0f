"""Faults on demand, for tests: `faults.inject`, accepted only with MAYA_TEST_FAULTS=1."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from maya_train.faults_config import Injection

SCALES = {"nan_loss": float("nan"), "inf_loss": float("inf"), "spike": 1e4}


class Injector:
    """Makes the faults of one process; each once a start.

    Args:
        injections: what `faults.inject` says.
        rank: this process.
    """

    def __init__(self, injections: Sequence[Injection], rank: int) -> None:
        self._due = {(one.kind, one.step) for one in injections if one.rank in (None, rank)}

    def _takes(self, kind: str, step: int) -> bool:
        if (kind, step) not in self._due:
            return False
        self._due.remove((kind, step))
        return True

    def before_reading(self, step: int) -> None:
        """`hang_in_data`, `dead_worker`."""
        if self._takes("hang_in_data", step):
            _sleep()
        if self._takes("dead_worker", step):
            for child in multiprocessing.active_children():
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)
                child.join()

    def in_forward(self, step: int) -> None:
        """`hang`, `oom`."""
        if self._takes("hang", step):
            _sleep()
        if self._takes("oom", step):
            raise torch.OutOfMemoryError("injected")

    def loss(self, step: int, loss_sum: Tensor) -> Tensor:
        """`nan_loss`, `inf_loss`, `spike`, `oom_backward`."""
        for kind, scale in SCALES.items():
            if self._takes(kind, step):
                loss_sum = loss_sum * scale
        if self._takes("oom_backward", step):
            loss_sum.register_hook(_refuse)  # type: ignore[no-untyped-call]
        return loss_sum

    def gradients(self, step: int, parameters: Iterable[nn.Parameter]) -> None:
        """`nan_gradient`."""
        if self._takes("nan_gradient", step):
            found = next(parameter.grad for parameter in parameters if parameter.grad is not None)
            found.view(-1)[0] = float("nan")

    @torch.no_grad()
    def weights(self, step: int, parameters: Iterable[nn.Parameter]) -> None:
        """`desync`."""
        if self._takes("desync", step):
            next(iter(parameters)).view(-1)[0] += 1e-3


def _refuse(_: Tensor) -> None:
    raise torch.OutOfMemoryError("injected")


def _sleep() -> None:
    while True:
        time.sleep(1)
