"""`maya-demo recipe=demo [key=value ...]`: the main job from nothing to scores; run again, it goes on."""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

# Before torch is imported anywhere below: threads that wait must sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from rich.console import Console

from maya_train.cli import split_arguments
from maya_train.compose import compose, find_configs
from maya_train.demo.config import load_demo_config
from maya_train.demo.pipeline import pipeline
from maya_train.demo.results import write_results
from maya_train.demo.steps import Ledger, StepFailed, run_steps
from maya_train.errors import ConfigError, LaunchError
from maya_train.launch import count_cores
from maya_train.locks import only_writer
from maya_train.registry import UnknownPlugin
from maya_train.stage_files import check_llm

USAGE = """usage: maya-demo [recipe=demo|demo_quick|...] [seed=N] [key=value ...]

  Makes speech, indexes it, trains the recipe's stages, transcribes held-out sentences and scores them.
  Everything lies under runs/<recipe>; run again, it goes on where it was."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; what goes wrong is one sentence on stderr, and the exit status is not 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    console = Console()
    for stop in (signal.SIGINT, signal.SIGTERM):  # a shell's background job would ignore the first
        signal.signal(stop, signal.default_int_handler)
    try:
        return _run(arguments, console)
    except (ConfigError, LaunchError, UnknownPlugin) as error:
        print(f"maya-demo: {error}", file=sys.stderr)
        return 2
    except (StepFailed, OSError) as error:
        print(f"maya-demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("maya-demo: interrupted; the same command goes on from there", file=sys.stderr)
        return 130


def _run(arguments: list[str], console: Console) -> int:
    overrides, configs = split_arguments(arguments)
    if not any(item.startswith("recipe=") for item in overrides):
        overrides.insert(0, "recipe=demo")
    runs = compose(overrides, configs)
    check_llm(runs)
    first = runs[0]
    demo = load_demo_config(configs or find_configs(), first.recipe)
    run_dir = Path(first.run_dir)
    _check_space(run_dir, demo.disk_gib)
    training = [*overrides, *_processes(overrides, first.data.sync_width)]
    training += [] if configs is None else ["--configs", str(configs)]
    with only_writer(run_dir):
        ledger = Ledger.open(run_dir / "steps.json")
        run_steps(pipeline(run_dir, demo, first.seed, training, first.stages[-1]), ledger, console)
        console.rule("scores", align="left")
        write_results(run_dir, first.stages, ledger, console)
    return 0


def _processes(overrides: Sequence[str], wanted: int) -> list[str]:
    """One process a core, up to the width of the recipe's batch; with fewer, each takes several parts."""
    if any(item.startswith(("devices=", "grad_accum=")) for item in overrides):
        return []
    devices = max(n for n in range(1, wanted + 1) if wanted % n == 0 and n <= count_cores())
    return [f"devices={devices}", f"grad_accum={wanted // devices}"]


def _check_space(run_dir: Path, wanted: float) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(run_dir).free / 2**30
    if free < wanted:
        raise OSError(
            f"{run_dir} has {free:.2f} GiB free, the demo needs {wanted:g}; free some space and go on"
        )


if __name__ == "__main__":
    sys.exit(main())
