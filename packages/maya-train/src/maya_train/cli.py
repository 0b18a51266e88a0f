"""The command line of training: `fabric run packages/maya-train/run.py ...`, `maya-train ...`."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from maya_train import commands
from maya_train.errors import ConfigError, LaunchError
from maya_train.locks import dies_with
from maya_train.preemption import leave_on_signals

if TYPE_CHECKING:
    from maya_train.launch import Launch
    from maya_train.schema import RunConfig

STARTED_BY = "MAYA_TRAIN_STARTED_BY"
"""Variable with the id of the process that starts the others of a run, so that they end with it."""

USAGE = """usage: fabric run packages/maya-train/run.py [--devices N] [--accelerator cpu|cuda] [key=value ...]
       maya-train [key=value ...]
       maya-train plan | calibrate | score | export [--help]

  recipe=NAME        a file of configs/recipe (default: the one in configs/config.yaml)
  stage=NAME         one of its stages; without it, all of them in order
  <group>=NAME       a file of configs/<group>, or a plugin: projector=qformer
  key=value          any key of a run: max_steps=40 projector.num_queries=8
  config=FILE        a run again, from the config.yaml that it left in its folder
  --configs DIR      another folder of configs"""


@dataclass(frozen=True)
class Prepared:
    """A chain of stages that can start."""

    runs: "list[RunConfig]"
    launch: "Launch"


def main(argv: Sequence[str] | None = None) -> int:
    """Train what the command line says; 0 when done, 2 when it cannot start."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if (parent := os.environ.get(STARTED_BY)) == str(os.getppid()):
        dies_with(int(parent))()
    if arguments and (command := commands.find(arguments[0])) is not None:
        quiet_threads()
        return told(command, arguments[1:])
    if "--help" in arguments or "-h" in arguments:
        print(USAGE)
        return 0
    leave_on_signals()
    quiet_threads()
    prepared = prepare_or_exit(arguments, os.environ)
    return train(prepared, os.environ)


def told(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a command beside training; what a user can mend ends in one sentence, as in `train`."""
    try:
        return command(arguments)
    except (Exception, KeyboardInterrupt) as error:
        from maya_train.failures import report  # with all of training, which --help and `plan` do without

        if (status := report(error)) is None:
            raise
        return status


def train(prepared: Prepared, environ: Mapping[str, str]) -> int:
    """Run the chain; what a user can mend ends in one sentence: 2 for wrong input, 1 for a failed run."""
    from maya_train.failures import report
    from maya_train.launch import make_fabric, rank
    from maya_train.preemption import Preempted
    from maya_train.stages import run_chain

    os.environ.setdefault(STARTED_BY, str(os.getpid()))
    try:
        fabric, capabilities = make_fabric(prepared.runs[0], prepared.launch)
        run_chain(prepared.runs, fabric, capabilities)
    except Preempted as stopped:
        # The first process tells; it would be killed if it saw another one fail before it has left itself.
        return 0 if rank(environ) else int(stopped.code or 0)
    except (Exception, KeyboardInterrupt) as error:
        if (status := report(error)) is None:
            raise
        return status
    return 0


def quiet_threads() -> None:
    """Let idle threads sleep; spinning ones slow a busy machine manyfold. For before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


def prepare(arguments: Sequence[str], environ: Mapping[str, str]) -> Prepared:
    """Compose, resolve and check; no process group, model or dataset is made."""
    from maya_train.compose import compose
    from maya_train.data_plan import check_plans
    from maya_train.launch import resolve_chain
    from maya_train.preflight import check_folders
    from maya_train.stage_files import check_files

    overrides, configs = split_arguments(arguments)
    runs = compose(overrides, configs)
    check_plans(runs)
    launch = resolve_chain(runs, environ, overrides)
    check_files(runs)
    check_folders(runs)
    return Prepared(runs, launch)


def prepare_or_exit(arguments: Sequence[str], environ: Mapping[str, str]) -> Prepared:
    """`prepare`, or one sentence from the first process and exit status 2."""
    from maya_encoder.plugins import UnknownPlugin

    try:
        return prepare(arguments, environ)
    except (ConfigError, LaunchError, UnknownPlugin) as error:
        _stop(error, environ)


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """The overrides, and the folder that `--configs` names."""
    overrides, configs = [], None
    rest = list(arguments)
    while rest:
        item = rest.pop(0)
        if item == "--configs":
            if not rest:
                raise ConfigError("--configs: no folder given")
            configs = Path(rest.pop(0))
        elif item.startswith("--configs="):
            configs = Path(item.partition("=")[2])
        else:
            overrides.append(item)
    return overrides, configs


def _stop(error: Exception, environ: Mapping[str, str]) -> NoReturn:
    from maya_train.launch import rank

    if rank(environ) == 0:
        print(error, file=sys.stderr)
    raise SystemExit(2)
