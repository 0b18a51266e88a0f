"""`maya-train calibrate`: the largest batch of every bucket on the device at hand, by the real step."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from maya_train.schema import RunConfig

DESCRIPTION = """Find the largest batch of every duration x token bucket by real steps, and write the table
that data.buckets_file reads. One process; its sizes hold for every strategy.

    maya-train calibrate recipe=maya_8xh100 stage=encoder
    maya-train calibrate recipe=demo stage=encoder --budget 2      # a CPU has no limit of its own: 2 GiB
    maya-train calibrate stage=joint --token-buckets 3             # cut each bucket again by tokens"""
FRACTION = 0.9
CPU_SHARE = 0.5


def main(arguments: Sequence[str]) -> int:
    """Calibrate, write the table, say how to use it."""
    from maya_train.cli import split_arguments
    from maya_train.compose import compose
    from maya_train.errors import ConfigError
    from maya_train.preflight import check_out

    chosen, rest = options().parse_known_args(arguments)
    runs = compose(*split_arguments(rest))
    run = one_stage(runs)
    out = chosen.out or Path(run.out_dir) / "buckets.json"
    check_out(out)
    if chosen.budget is not None and not chosen.budget > 0:
        raise ConfigError(f"--budget must be more than 0 GiB, got {chosen.budget}")
    measure(run, chosen, out)
    print(f"wrote {out}; train with: stage={run.stage} data.buckets_file={out}")
    return 0


def options() -> argparse.ArgumentParser:
    """The command's own options; all else are keys of the run."""
    parser = argparse.ArgumentParser(
        prog="maya-train calibrate",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="the table (default: buckets.json in the stage's folder)")
    parser.add_argument(
        "--budget", type=float, help="GiB; default: 0.9 of the GPU's memory, half a CPU machine's"
    )
    parser.add_argument(
        "--token-buckets", type=int, default=1, help="cuts of each bucket by tokens (1: none)"
    )
    return parser


def one_stage(runs: Sequence[RunConfig]) -> RunConfig:
    """The only stage of a command line, as one process runs it."""
    from maya_train.errors import ConfigError
    from maya_train.strategies.single import Single

    if len(runs) != 1:
        names = ", ".join(run.stage for run in runs)
        raise ConfigError(f"calibrate takes one stage at a time; add stage= with one of {names}")
    run = runs[0]
    run.devices, run.num_nodes, run.strategy = 1, 1, Single()
    run.data.buckets_file = None
    return run


def measure(run: RunConfig, chosen: argparse.Namespace, out: Path) -> None:
    """Calibrate on this machine's device and write the table."""
    from maya_train import launch
    from maya_train.calibrate import calibrate, cases, make_trial, monotone, write_table
    from maya_train.memory_meter import memory_gib
    from maya_train.sources import TrainingData
    from maya_train.stages import named

    settled = launch.resolve(run, os.environ)
    launch.check_devices(run, settled)
    run.precision = settled.precision  # type: ignore[assignment]
    fabric, _ = launch.make_fabric(run, settled)
    with named(run):
        data = TrainingData.open(run)
        tokenizer = None if chosen.token_buckets <= 1 else count(run, data)
        buckets = cases(run, data, tokenizer, chosen.token_buckets)
        trial = make_trial(fabric, run, data, say)
    share = FRACTION if fabric.device.type == "cuda" else CPU_SHARE
    budget = chosen.budget or share * memory_gib(fabric.device)
    rows = monotone(calibrate(trial, buckets, budget, say))
    device = launch_name(fabric.device)
    facts = {"stage": run.stage, "device": device, "precision": run.precision, "budget_gib": round(budget, 3)}
    write_table(out, rows, {**facts, "tokenizer": tokenizer})


def count(run: RunConfig, data: "object") -> str:
    """The hash of the acoustic tokenizer, whose tokens the index has counted by now."""
    from maya_data.indexing.tokens import count_tokens

    models = sorted(Path(run.tokenizer).glob("*.model"))
    return count_tokens(data.index, models[0])  # type: ignore[attr-defined]


def launch_name(device: "object") -> str:
    """What the device is called."""
    import torch

    kind = getattr(device, "type", "cpu")
    return torch.cuda.get_device_name(device) if kind == "cuda" else str(kind)  # type: ignore[arg-type]


def say(text: str) -> None:
    """A line for whoever waits."""
    print(text, file=sys.stderr, flush=True)
