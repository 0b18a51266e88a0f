"""Training state: seconds from SIGKILL to the first new step, and how long a save keeps training waiting.

    python benchmarks/train_state.py [--millions 30] [--saves 5] [key=value ...]

The first needs the data of a recipe (default: recipe=demo stage=encoder, as `maya-demo` leaves it in
runs/demo); `key=value` are further arguments of run.py. The second makes a model of as many million weights
with AdamW, and compares a blocking save with what one in the background takes from the training thread; the
first save of either kind, which makes room in memory, is left out.
"""

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import torch
from lightning.fabric import Fabric
from rich.console import Console
from rich.table import Table
from torch import nn

RUN = Path(__file__).parents[1] / "packages" / "maya-train" / "run.py"
LIMIT_SECONDS = 300.0


def steps(out_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that are whole."""
    path = out_dir / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def wait_for(out_dir: Path, is_there: Any, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the lines of a run are as they should be."""
    until = time.monotonic() + LIMIT_SECONDS
    while not is_there(steps(out_dir)):
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit("the run ended, or took too long, before it had made its steps; see above")
        time.sleep(0.02)


def kill_to_step(out_dir: Path, overrides: tuple[str, ...]) -> float:
    """Seconds from SIGKILL until a restarted run has logged a step that it had not made before."""
    command = [sys.executable, str(RUN), "recipe=demo", "stage=encoder", "valid_every=0", "save_every=5"]
    command += [*overrides, f"out_dir={out_dir}"]
    first = subprocess.Popen(command)
    try:
        wait_for(out_dir, lambda lines: any(line.get("step", 0) >= 8 for line in lines), first)
        first.send_signal(signal.SIGKILL)
        killed = time.perf_counter()
        first.wait()
        reached = max(line["step"] for line in steps(out_dir))
        second = subprocess.Popen(command)
        try:
            wait_for(out_dir, lambda lines: lines[-1].get("step", 0) > reached, second)
            return time.perf_counter() - killed
        finally:
            second.kill()
            second.wait()
    finally:
        first.kill()
        first.wait()


def stalls(folder: Path, millions: float, saves: int) -> tuple[float, float]:
    """Median seconds that the training thread waits for a save: blocking, and in the background."""
    from maya_train.schema import RunConfig
    from maya_train.strategies import Capabilities
    from maya_train.training_state import TrainingState

    width = int((millions * 1e6 / 8) ** 0.5)
    module = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(8)))
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    module(torch.randn(2, width)).square().sum().backward()
    optimizer.step()
    fabric, wrapped, found = Fabric(accelerator="cpu", devices=1), SimpleNamespace(module=module), []
    for is_async in (False, True):
        cfg = RunConfig(train=[], out_dir=str(folder / str(is_async)), save_async=is_async)
        state, waited = TrainingState(fabric, cfg, wrapped, optimizer, Capabilities()), []
        for step in range(saves + 1):  # the first one makes room in memory
            begun = time.perf_counter()
            state.save(step, {"step": step})
            waited.append(time.perf_counter() - begun)
            state.wait()
        state.close()
        found.append(statistics.median(waited[1:]))
    return found[0], found[1]


@click.command()
@click.option("--millions", default=30.0, show_default=True, help="Weights of the model, in millions.")
@click.option("--saves", default=5, show_default=True, help="Saves of either kind.")
@click.argument("overrides", nargs=-1)
def main(millions: float, saves: int, overrides: tuple[str, ...]) -> None:
    """Print both measures beside their bars."""
    with tempfile.TemporaryDirectory() as folder:
        blocking, stall = stalls(Path(folder), millions, saves)
        seconds = kill_to_step(Path(folder) / "run", overrides)
    table = Table("what", "measured", "bar")
    table.add_row("SIGKILL to the first new step", f"{seconds:.1f} s", "20 s")
    table.add_row(f"blocking save, {millions:g} M weights with AdamW", f"{blocking:.3f} s", "")
    table.add_row(
        "wait for a save in the background", f"{stall:.3f} s, {100 * stall / blocking:.1f} %", "10 %"
    )
    Console().print(table)


if __name__ == "__main__":
    main()
