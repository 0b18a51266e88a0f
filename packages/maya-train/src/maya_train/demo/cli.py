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

from maya_train.compose import compose, find_configs
from maya_train.demo.config import load_demo_config
from maya_train.demo.pipeline import pipeline
from maya_train.demo.results import write_results
from maya_train.demo.steps import Ledger, StepFailed, run_steps
from maya_train.errors import ConfigError

FREE_GIB = 1.0
"""A whole demo writes well under this."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; what goes wrong is one sentence on stderr, and the exit status is not 0."""
    overrides = list(sys.argv[1:] if argv is None else argv)
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to be told to stop is to be interrupted
    try:
        return _run(overrides, console)
    except (ConfigError, LookupError) as error:
        print(f"maya-demo: {error}", file=sys.stderr)
        return 2
    except (StepFailed, OSError) as error:
        print(f"maya-demo: {error}", file=sys.stderr)
        return 1


def _run(overrides: list[str], console: Console) -> int:
    if not any(item.startswith("recipe=") for item in overrides):
        overrides.insert(0, "recipe=demo")
    first = compose(overrides)[0]
    demo = load_demo_config(find_configs(), first.recipe)
    run_dir = Path(first.run_dir)
    _check_space(run_dir)
    ledger = Ledger.open(run_dir / "steps.json")
    training = [*overrides, *_processes(overrides, first.data.sync_width)]
    run_steps(pipeline(run_dir, demo, first.seed, training, first.stages[-1]), ledger, console)
    console.rule("scores", align="left")
    write_results(run_dir, first.stages, ledger, console)
    return 0


def _processes(overrides: Sequence[str], wanted: int) -> list[str]:
    """One process a core, up to the width of the recipe's batch; on fewer cores each takes several parts of it."""
    if any(item.startswith(("devices=", "grad_accum=")) for item in overrides):
        return []
    devices = max(n for n in range(1, wanted + 1) if wanted % n == 0 and n <= (os.cpu_count() or 1))
    return [f"devices={devices}", f"grad_accum={wanted // devices}"]


def _check_space(run_dir: Path) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(run_dir).free / 2**30
    if free < FREE_GIB:
        raise OSError(
            f"{run_dir} has {free:.2f} GiB free, the demo needs {FREE_GIB:g}; free some space and go on"
        )


if __name__ == "__main__":
    sys.exit(main())
