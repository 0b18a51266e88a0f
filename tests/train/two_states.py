"""Two processes that save and go on, as a script: two_states.py OUT_DIR. What they did is in its files."""

import errno
import runpy
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from maya_train.preemption import Preempted
from maya_train.schema import AverageConfig, RunConfig
from maya_train.strategies import Capabilities
from maya_train.strategies.ddp import DDP
from maya_train.training_state import TrainingState

STAND_IN = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "stand_in.py")))
SHARDED = {"max_steps": 9, "average": AverageConfig(ema=0.9)}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 3, bias=False))


def optimizer_of(module: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(module.parameters(), lr=0.1)


def sharded_state(fabric: Any, out_dir: Path, module: nn.Module, **keys: Any) -> tuple[Any, TrainingState]:
    """An optimizer and the state of a module that is spread over processes."""
    optimizer = optimizer_of(module)
    cfg = RunConfig(stage="toy", out_dir=str(out_dir), train=[], **{**SHARDED, **keys})
    wrapped = SimpleNamespace(module=module)
    return optimizer, TrainingState(fabric, cfg, wrapped, optimizer, Capabilities(sharded=True))


def learn(module: nn.Module, optimizer: Any, state: TrainingState, steps: range, rank: int = 0) -> None:
    for step in steps:
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(10 * step + rank))
        (module(x) - x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        state.after_update()


def whole(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().clone()
        for name, value in state.items()
    }


def spread(fabric: Fabric, out_dir: Path) -> None:
    """Shares are saved, at once and in the background, and a new start goes on from them."""
    from torch.distributed.fsdp import fully_shard

    for is_async in (False, True):
        torch.manual_seed(0)
        folder, module = out_dir / f"sharded-{is_async}", fully_shard(model())
        optimizer, state = sharded_state(fabric, folder, module, save_async=is_async)
        learn(module, optimizer, state, range(3), fabric.global_rank)
        state.save(3, {"step": 3})
        learn(module, optimizer, state, range(3, 6), fabric.global_rank)
        state.finish(print)
        state.close()
        expected = whole(module.state_dict())
        again = fully_shard(model())
        optimizer, state = sharded_state(fabric, folder, again, save_async=is_async)
        assert state.resume(print).counters == {"step": 3}
        if not is_async:
            torch.save({"model": whole(again.state_dict())}, out_dir / f"at-3-{fabric.global_rank}.pt")
        learn(again, optimizer, state, range(3, 6), fabric.global_rank)
        state.finish(print)
        found = whole(again.state_dict())
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def failing(fabric: Fabric, out_dir: Path) -> None:
    """The disk of one process is full; both stop with the same words."""
    write = torch.save

    def full(state: object, file: Any) -> None:
        if fabric.global_rank == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(state, file)

    torch.save = full
    try:
        STAND_IN.train(fabric, out_dir / "full")
    except OSError as error:
        (out_dir / f"full-{fabric.global_rank}.txt").write_text(str(error))
    finally:
        torch.save = write


def main(out_dir: Path) -> None:
    bundle = DDP().build(num_devices=2, num_nodes=1, precision="32-true", grad_clip=1.0)
    fabric = Fabric(accelerator="cpu", devices=2, strategy=bundle.strategy)
    fabric.launch()
    rank = fabric.global_rank
    STAND_IN.train(fabric, out_dir / "twenty", STAND_IN.normed(), max_steps=20, keep_last=9)
    seen: list[Any] = []
    average = {"average": AverageConfig(ema=0.8), "save_async": True, "valid_every": 3}
    for name in ("whole", "stopped", "stopped"):
        task = STAND_IN.normed(dropout=0.5)
        task.forward = signalled(task, rank, stops=name == "stopped" and seen)
        with suppress(Preempted):
            STAND_IN.train(fabric, out_dir / name, task, validate=sums(task, seen), **average)
            torch.save(task.state_dict(), out_dir / f"{name}-{rank}.pt")
        seen = seen[:2]
    torch.save(seen, out_dir / f"seen-{rank}.pt")
    failing(fabric, out_dir)
    spread(fabric, out_dir)


def sums(task: nn.Module, seen: list[Any]) -> Any:
    """A validation that notes the statistics it sees."""

    def validate(moment: Any) -> dict[str, float]:
        seen.append({name: v.clone() for name, v in task.state_dict().items() if "running" in name})
        return {"sum": sum(value.double().sum().item() for value in task.state_dict().values())}

    return validate


STOPPED: list[int] = []


def signalled(task: Any, rank: int, stops: Any) -> Any:
    """Process 1 gets a SIGTERM in its fourth step, once."""
    forward = type(task).forward

    def call(work: Any, moment: Any) -> Any:
        if stops and rank == 1 and moment.step == 3 and not STOPPED:
            STOPPED.append(1)
            signal.raise_signal(signal.SIGTERM)
        return forward(task, work, moment)

    return call


if __name__ == "__main__":
    main(Path(sys.argv[1]))
