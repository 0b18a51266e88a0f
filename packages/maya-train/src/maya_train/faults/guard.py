"""What the loop asks about faults: one object that knows the settings, the processes and the model."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from maya_data.loading.batch import Batch
from maya_data.loading.stream import LoaderProcessDied
from maya_train.batch_statistics import statistics
from maya_train.counters import Counters
from maya_train.faults import desync, memory, skips
from maya_train.faults.agreement import Agreement, average_gradients
from maya_train.faults.hang import HangWatch
from maya_train.faults.inject import Injector
from maya_train.faults.memory import Overrun
from maya_train.faults.skips import Verdict
from maya_train.faults_config import DESYNC_EVERY, SHRINK
from maya_train.schema import RunConfig
from maya_train.strategies import Capabilities
from maya_train.tasks import Work

Say = Callable[[str], None]


class Guard:
    """Decides on faults for one stage in one process.

    Args:
        fabric: launched.
        cfg: the stage.
        module: the task, as its processes train it.
        capabilities: of the strategy.
    """

    def __init__(self, fabric: Fabric, cfg: RunConfig, module: nn.Module, capabilities: Capabilities) -> None:
        self._cfg, self._faults, self._module, self._device = cfg, cfg.faults, module, fabric.device
        shares_model = capabilities.sharded or capabilities.owns_accumulation
        self._bears = self._faults.out_of_memory != "stop" and not shares_model
        self._agreement = Agreement(fabric)
        self.reduces = self._bears and fabric.world_size > 1
        """Whether gradients are averaged by `reduce`, after all backward passes, and never meanwhile."""
        every = DESYNC_EVERY if self._faults.desync_every is None else self._faults.desync_every
        self._desync_every = 0 if shares_model else every
        timeout = getattr(cfg.strategy, "timeout_minutes", None)
        self.watch = HangWatch(Path(cfg.out_dir), self._faults.hang_seconds(timeout))
        found = self._faults.injections()
        self.inject = Injector(found, fabric.global_rank) if found else None
        self._statistics = _by_kind(statistics(module).values())
        self._before = [[value.clone() for value in values] for values in self._statistics]
        self._overrun: Overrun | None = None
        self._restarts = 0

    def cut(self, batch: Batch, counters: Counters) -> list[Batch]:
        """A batch, in parts where one as long as it did not fit before."""
        return memory.cut(batch, counters.budgets) if self._bears else [batch]

    def remember(self) -> None:
        """Keep the batch statistics, which a forward pass moves: a step that is skipped leaves no trace."""
        _copy(self._before, self._statistics)

    @contextmanager
    def noticing(self, work: Work) -> Iterator[None]:
        """In the block, a pass that runs out of memory ends quietly; then `overruns` tells."""
        try:
            yield
        except Exception as error:
            if not self._bears or not memory.is_out_of_memory(error):
                raise
            self._overrun = Overrun.of(self._agreement.rank, work.batch)

    @property
    def is_out_of_memory(self) -> bool:
        """Whether this process has run out of memory in this step."""
        return self._overrun is not None

    def overruns(self) -> list[Overrun]:
        """The batches of this step that did not fit, in any process; known to all."""
        if not self._bears:
            return []
        own, self._overrun = self._overrun, None
        if own is not None:
            memory.give_back(self._device)
        return self._agreement.collect(own)

    def reduce(self, step: int) -> None:
        """Average the gradients, where that is left to us."""
        if self.inject is not None:
            self.inject.gradients(step, self._module.parameters())
        if self.reduces:
            average_gradients(self._module.parameters(), self._agreement.world_size)

    def lower(self, overruns: Sequence[Overrun], counters: Counters, say: Say) -> Verdict:
        """Cut later batches that are as long, and say so."""
        worst = max(overruns, key=lambda overrun: overrun.padded)
        number = f"{worst.utterances} utterance{'s' if worst.utterances > 1 else ''}"
        batch = f"{number} up to {worst.longest:.2f} s on rank {worst.rank}"
        lowered = memory.shrink(counters.budgets, overruns, self._faults.shrink or SHRINK)
        what = "a single utterance is too long for this device: lower data.max_duration"
        if lowered:
            parts = (
                f"of {memory.shortest_of(bucket):.2f} s and longer into parts of at most {most:.2f} s"
                for bucket, most in lowered
            )
            what = f"from now on batches are cut: {', '.join(parts)}"
        say(f"{self._cfg.stage}: step {counters.step + 1} is skipped: out of memory with {batch}; {what}")
        return Verdict("out of memory", f"{batch} did not fit")

    def skip(
        self, verdict: Verdict, works: Sequence[Work], losses: Sequence[Tensor], counters: Counters
    ) -> None:
        """Leave no trace of this step but its place in the counts, and write down what was in it.

        Raises:
            Diverged: too many steps were skipped.
        """
        _copy(self._statistics, self._before)
        values = torch.stack(list(losses)).tolist() if losses else []
        own = [
            {
                "rank": self._agreement.rank,
                "ids": work.batch.ids,
                "loss": values[number] / max(1, work.num_tokens) if number < len(values) else None,
            }
            for number, work in enumerate(works)
        ]
        everyone = [batch for batches in self._agreement.gather(own) for batch in batches]
        if self._agreement.rank == 0:
            skips.write_down(Path(self._cfg.out_dir), counters.step + 1, verdict, everyone)
        skips.leave_out(counters, verdict, self._faults, self._cfg.stage)

    def judge(self, counters: Counters, loss: float, norm: float) -> Verdict | None:
        """Why a step is not taken; None where it is."""
        return skips.judge(counters, loss, norm, self._faults)

    def take_in(self, counters: Counters, loss: float) -> None:
        """A step was taken."""
        skips.take_in(counters, loss, self._faults)

    def compare(self, step: int) -> None:
        """Every now and then, whether all processes hold the same weights.

        Raises:
            Desync: they do not.
        """
        if self.inject is not None:
            self.inject.weights(step, self._module.parameters())
        if self._desync_every and step % self._desync_every == 0:
            desync.check(self._agreement, self._module, step)

    def worker_died(self, step: int, error: LoaderProcessDied) -> None:
        """Say so; the loader starts its processes again when it is asked for the same batch.

        Raises:
            LoaderProcessDied: it was once too often.
        """
        self._restarts += 1
        if self._restarts > (most := self._faults.worker_restarts):
            raise error
        told = str(error).partition(", ")[0]
        times = f"started again, {self._restarts} of {most} times"
        text = f"{self._cfg.stage}: rank {self._agreement.rank}, step {step}: {told}; {times}"
        print(text, file=sys.stderr, flush=True)


def _by_kind(values: Iterable[Tensor]) -> list[list[Tensor]]:
    """Tensors of one type of number together: a list of them is copied at once."""
    found: dict[torch.dtype, list[Tensor]] = {}
    for value in values:
        found.setdefault(value.dtype, []).append(value)
    return list(found.values())


def _copy(to: list[list[Tensor]], of: list[list[Tensor]]) -> None:
    for here, there in zip(to, of, strict=True):
        torch._foreach_copy_(here, there)
