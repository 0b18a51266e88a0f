"""A task in miniature for the loop; as a script, it trains in two processes: stand_in.py OUT_DIR."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from maya_data.loading.batch import Batch
from maya_train.loop import Counters, Hooks, fit
from maya_train.schema import OptimConfig, RunConfig
from maya_train.tasks import Moment, TaskLoss, Work


class StandIn(nn.Module):
    """Two layers; `poison` makes the loss of one rank NaN at one step, `begin` lets the last layer wait."""

    def __init__(self, dropout: float = 0.0, poison: tuple[int, int] | None = None, begin: int = 0):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.ModuleDict({"encoder": nn.Linear(4, 8), "ctc": nn.Linear(8, 1)})
        self.dropout, self.poison, self.begin = dropout, poison, begin
        self.made_by: dict[str, Any] = {}

    def trained(self):
        return dict(self.model.items())

    def begins(self, total: int):
        return {"ctc": self.begin}

    def set_modes(self) -> None:
        self.model.train()

    def prepare(self, batch: Batch) -> Work:
        return Work(batch, sum(map(len, batch.texts)))

    def forward(self, work: Work, moment: Moment) -> TaskLoss:
        x = work.batch.waveforms.float() / 1000
        hidden = nn.functional.dropout(self.model["encoder"](x).tanh(), self.dropout, self.training)
        error = (self.model["ctc"](hidden).squeeze(1) - x.sum(1)).square()
        weights = torch.tensor([float(len(text)) for text in work.batch.texts])
        loss = (error * weights).sum()
        if self.poison == (moment.step, work.batch.step % 2):
            loss = loss * float("nan")
        return TaskLoss(loss, {"error": loss.detach()}, {"long": (weights > 5).sum()})

    def scored(self, moment: Moment):
        return ["ctc"]

    def transcribe(self, batch: Batch, heads):
        return {}

    def save(self, folder: Path) -> None:
        torch.save(self.state_dict(), folder)


class Norm(nn.BatchNorm1d):
    """A BatchNorm that takes a batch of one without its statistics."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if len(x) > 1 else x * self.weight + self.bias


def normed(**keys: Any) -> StandIn:
    """A task with batch statistics."""
    task = StandIn(**keys)
    task.model["encoder"] = nn.Sequential(task.model["encoder"], Norm(8))
    return task


def batch_number(number: int) -> Batch:
    random = torch.Generator().manual_seed(number)
    size = int(torch.randint(1, 5, (), generator=random))
    lens = torch.randint(1, 9, (size,), generator=random).tolist()
    return Batch(
        ids=[f"{number}-{row}" for row in range(size)],
        waveforms=torch.randint(-1000, 1000, (size, 4), generator=random).to(torch.int16),
        waveform_lens=torch.full((size,), 4),
        sampling_rate=4,
        texts=["x" * length for length in lens],
        langs=["en"] * size,
        durations=[1.0] * size,
        step=number,
    )


def batches(rank: int, world_size: int, start: int) -> Iterator[Batch]:
    return (batch_number(step * world_size + rank) for step in count(start))


def train(
    fabric: Fabric,
    out_dir: Path,
    task: StandIn | None = None,
    validate: Any = None,
    capabilities: Any = None,
    **keys: Any,
) -> Counters:
    shared = {"max_steps": 6, "save_every": 2, "log_every": 100, "train": ["encoder", "ctc"]}
    rates = {"encoder": 0.05, "ctc": 0.05}
    cfg = RunConfig(
        **{
            "stage": "toy",
            "out_dir": str(out_dir),
            "lr": rates,
            "optim": OptimConfig(warmup_steps=2),
            **shared,
            **keys,
        }
    )
    hooks = Hooks(lambda start: batches(fabric.global_rank, fabric.world_size, start), validate)
    return fit(fabric, cfg, task or StandIn(), hooks, capabilities)


def main(out_dir: Path) -> None:
    """In two processes: a plain run, one with a poisoned rank, one stopped by a signal and resumed."""
    from maya_train.preemption import Preempted

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    train(fabric, out_dir / "plain")
    train(fabric, out_dir / "poisoned", StandIn(poison=(2, 1)))
    train(fabric, out_dir / "whole", StandIn(dropout=0.5))
    for is_signalled in (True, False):
        with suppress(Preempted):
            train(
                fabric,
                out_dir / "stopped",
                Interrupted(fabric.global_rank if is_signalled else 0, dropout=0.5),
            )


class Interrupted(StandIn):
    """Rank 1 gets a SIGTERM in its fourth step."""

    def __init__(self, rank: int, **keys: Any):
        super().__init__(**keys)
        self.rank = rank

    def forward(self, work: Work, moment: Moment) -> TaskLoss:
        if self.rank == 1 and moment.step == 3:
            import signal

            signal.raise_signal(signal.SIGTERM)
        return super().forward(work, moment)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
