"""Two processes of torchrun under every strategy, as a script: two_strategies.py OUT_DIR CHAINS.

What they did is in their files. CHAINS is a pickled list of the chains of stages to run, each one's strategy,
and folder, in its configs; of a stage with `select` only the list is made.
"""

import os
import pickle
import runpy
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from maya_train.launch import make_fabric, resolve
from maya_train.schema import RunConfig
from maya_train.scoring import passes
from maya_train.scoring.selection import ensure_list
from maya_train.stages import run_chain
from maya_train.strategies.ddp import DDP
from maya_train.strategies.fsdp import FSDP

HERE = Path(__file__).parent
STAND_IN = SimpleNamespace(**runpy.run_path(str(HERE / "stand_in.py")))
STEPS = 4


class Tower(nn.Module):
    """Layers that are sharded one by one, batch statistics, and a scalar, which cannot be sharded."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 8)])
        self.norm = nn.BatchNorm1d(8)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x).tanh()
        return self.norm(torch.cat([x, x.new_ones(1, 8)]))[:-1] * self.scale  # never a batch of one


def task(**keys: Any) -> Any:
    made = STAND_IN.StandIn(**keys)
    made.model["encoder"] = Tower()
    return made


def strategies() -> dict[str, Any]:
    found: dict[str, Any] = {
        "ddp": DDP(),
        "fsdp": FSDP(),
        "fsdp-kept": FSDP(reshard_after_forward=False, layers=["*.layers.1"]),
    }
    if find_spec("deepspeed"):
        zero = runpy.run_path(str(HERE / "cpu_zero.py"))["CPUDeepSpeed"]
        found |= {f"zero-{stage}": zero(stage=stage) for stage in range(4)}
    return found


def fabric_of(cfg: RunConfig) -> tuple[Any, Any]:
    return make_fabric(cfg, resolve(cfg, os.environ))


def main(out_dir: Path, chains: Path) -> None:
    plugins = strategies()
    shared = {"max_steps": STEPS, "grad_accum": 4, "grad_clip": 0.05, "save_every": 2}
    for name, plugin in plugins.items():
        cfg = RunConfig(
            strategy=plugin, accelerator="cpu", threads=1, grad_clip=shared["grad_clip"], train=[]
        )
        fabric, capabilities = fabric_of(cfg)
        assert fabric.world_size == 2
        keys = {**shared, "capabilities": capabilities}
        STAND_IN.train(fabric, out_dir / name, task(), **keys)
        STAND_IN.train(fabric, out_dir / f"{name}-poisoned", task(poison=(1, 1)), **keys)
        STAND_IN.train(fabric, out_dir / f"{name}-resumed", task(), **(keys | {"max_steps": 2}))
        STAND_IN.train(fabric, out_dir / f"{name}-resumed", task(), **keys)
    for name, runs in pickle.loads(chains.read_bytes()):
        if name in plugins:
            for run in runs:
                run.strategy = plugins[name]
            act = score if runs[0].select else run_chain
            act(runs, *fabric_of(runs[0]))


def score(runs: list[RunConfig], fabric: Any, _: Any) -> None:
    """The list of a stage with `select`; each process notes which files it wrote."""
    write, wrote = passes._write, []
    passes._write = lambda path, scores: (wrote.append(path.name), write(path, scores))
    passes.CHUNK = 5
    ensure_list(fabric, runs[0], print)
    Path(runs[0].run_dir, f"wrote-{fabric.global_rank}").write_text(" ".join(wrote))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
