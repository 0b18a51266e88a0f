"""`maya-train plan`: what a recipe costs, before anyone books eight GPUs."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maya_train.schema import RunConfig

DESCRIPTION = """Print operations, steps, days, memory and loader cores of a recipe; nothing is trained.

    maya-train plan                                        # the recipe maya_8xh100 on eight H100
    maya-train plan recipe=demo --gpu cpu --gpus 2         # this machine's cores
    maya-train plan stage=joint grad_accum=8 --mfu 0.4 --hours 150000"""


def main(arguments: Sequence[str]) -> int:
    """Print the plan."""
    chosen, rest = options().parse_known_args(arguments)
    from maya_train.cli import split_arguments
    from maya_train.compose import compose
    from maya_train.estimate import estimate, find_hardware, measured_speech
    from maya_train.estimate_text import show

    runs = compose(*split_arguments(rest))
    speech, decode = measured_speech(runs[0])
    given = {"seconds": chosen.seconds, "tokens_a_second": chosen.tokens_per_second, "hours": chosen.hours}
    speech = replace(speech, **{key: value for key, value in given.items() if value is not None})
    name = chosen.gpu or default_device(runs[0])
    hardware = find_hardware(
        name,
        chosen.gpus or default_devices(runs[0]),
        chosen.mfu,
        runs[0].precision or "32-true",
        chosen.peak_tflops,
    )
    plan = estimate(runs, replace(hardware, decode=decode), speech)
    show(plan)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(plan.to_dict(), indent=2) + "\n", encoding="utf-8")
    return 0


def options() -> argparse.ArgumentParser:
    """The command's own options; all else are keys of the run."""
    parser = argparse.ArgumentParser(
        prog="maya-train plan", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", help="h100, h200, a100, ... or cpu (default: what the recipe is for)")
    parser.add_argument("--gpus", type=int, help="devices in all (default: devices, or data.sync_width)")
    parser.add_argument("--mfu", type=float, default=0.3, help="share of the peak that a step reaches (0.3)")
    parser.add_argument("--peak-tflops", type=float, help="peak of one device, instead of the known one")
    parser.add_argument("--hours", type=float, help="hours of one pass over the data (default: the index's)")
    parser.add_argument("--seconds", type=float, help="of an utterance (default: the index's mean, else 10)")
    parser.add_argument("--tokens-per-second", type=float, help="of text (default: the index's, else 5)")
    parser.add_argument("--json", type=Path, help="also write the plan here")
    return parser


def default_device(cfg: RunConfig) -> str:
    """What a recipe is for: H100, unless it asks for the CPU."""
    return "cpu" if cfg.accelerator == "cpu" else "h100"


def default_devices(cfg: RunConfig) -> int:
    """As many as the config says, else as its batches are made for."""
    return (cfg.devices or cfg.data.sync_width) * (cfg.num_nodes or 1)
