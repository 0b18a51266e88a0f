"""`maya-demo recipe=demo [key=value ...]`: the main job from nothing to scores; run again, it goes on."""

import os
import shutil
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
    run = compose(overrides)
    first = run[0]
    demo = load_demo_config(find_configs(), first.recipe)
    run_dir = Path(first.run_dir)
    _check_space(run_dir)
    ledger = Ledger.open(run_dir / "steps.json")
    run_steps(pipeline(run_dir, demo, overrides, first.stages[-1]), ledger, console)
    console.rule("scores", align="left")
    write_results(run_dir, first.stages, ledger, console)
    return 0


def _check_space(run_dir: Path) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(run_dir).free / 2**30
    if free < FREE_GIB:
        raise OSError(f"{run_dir} has {free:.2f} GiB free, the demo needs {FREE_GIB:g}; free some space and go on")


if __name__ == "__main__":
    sys.exit(main())
