"""A word from the launcher: configs, devices and files are checked once, before torchrun starts any process.

torchrun (and so `fabric run`) loads the entry-point group `torchrun.handlers` in the launcher. Ours looks at
the command line; if it starts our run.py, a run that cannot work ends there: one sentence, exit status 2.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maya_train.errors import LaunchError
from maya_train.preemption import EXIT_STATUS, pass_on_signals

if TYPE_CHECKING:
    from maya_train.schema import RunConfig

FABRIC_OPTIONS = (
    "accelerator",
    "strategy",
    "devices",
    "num-nodes",
    "node-rank",
    "main-address",
    "main-port",
    "precision",
)


def torchrun_handler() -> Callable[[Any], Any]:
    """Check the run that this launcher is about to start; return a rendezvous handler that nobody wants."""
    command = script_arguments(sys.argv)
    if command is not None and "RANK" not in os.environ:
        from maya_train.cli import STARTED_BY, prepare_or_exit

        prepare_or_exit(command, {**os.environ, **torchrun_environment(sys.argv)})
        pass_on_signals()
        os.environ[STARTED_BY] = str(os.getpid())  # a worker ends with this launcher, however that dies
        sys.excepthook = partial(leave_as_the_workers_did, sys.excepthook)
    return _no_rendezvous


def check_folders(runs: "Sequence[RunConfig]") -> None:
    """Refuse a chain whose folders cannot be written, before anything is made or loaded.

    Raises:
        LaunchError: nothing can be written where a stage that is not finished has to write.
    """
    for run in runs:
        folder = Path(run.out_dir)
        if (folder / "DONE").is_file():
            continue
        try:
            _try_to_write(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise LaunchError(
                f"stage {run.stage}: out_dir: {folder} cannot be written ({reason}); give another out_dir or"
                " run_dir"
            ) from None


def check_out(out: Path) -> None:
    """Refuse a file that a command could not write at its end, before its work.

    Raises:
        LaunchError: nothing can be written in its folder.
    """
    try:
        _try_to_write(out.parent)
    except OSError as error:
        raise LaunchError(f"--out: {out} cannot be written ({error.strerror or error})") from None


def _try_to_write(folder: Path) -> None:
    """Write a file without a name into the folder, or into the nearest one above it that is there."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with tempfile.TemporaryFile(dir=there) as file:
        file.write(b"maya")
        file.flush()
        os.fsync(file.fileno())


def leave_as_the_workers_did(
    otherwise: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: Any
) -> None:
    """Where a worker failed, it has said why: exit with its status, not with torchrun's own traceback."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if isinstance(error, SignalException):  # the workers were told, and have saved
        os._exit(EXIT_STATUS)
    elif isinstance(error, ChildFailedError):
        status = error.get_first_failure()[1].exitcode
        os._exit(status if status >= 0 else 128 - status)  # a hook cannot choose the status in another way
    else:
        otherwise(kind, error, trace)


def script_arguments(argv: Sequence[str]) -> list[str] | None:
    """The arguments of our run.py, if `argv` is `fabric run` or torchrun with it; else None."""
    program = Path(argv[0]).parts[-3:] if argv else ()
    is_fabric = _is_program(program, "fabric", ("lightning", "fabric", "cli.py"))
    if not is_fabric and not _is_program(program, "torchrun", ("torch", "distributed", "run.py")):
        return None
    for position, item in enumerate(argv[1:], start=1):
        if Path(item).name == "run.py" and _is_ours(Path(item)):
            rest = list(argv[position + 1 :])
            return _without_fabric_options(rest) if is_fabric else rest
    return None


def torchrun_environment(argv: Sequence[str]) -> Mapping[str, str]:
    """What torchrun will tell its workers, as far as a check needs it; nothing for `fabric run`."""
    if "LT_CLI_USED" in os.environ:
        return {}
    options = " ".join(argv).replace("=", " ").replace("_", "-").split()
    values = {key: value for key, value in pairwise(options) if key.startswith("--n")}
    local, nodes = values.get("--nproc-per-node", "1"), values.get("--nnodes", "1")
    if not (local.isdigit() and nodes.isdigit()):  # `auto`, `1:4`: known only to torchrun
        return {}
    world = str(int(local) * int(nodes))
    return {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": local, "WORLD_SIZE": world}


def _is_program(parts: Sequence[str], name: str, module: tuple[str, ...]) -> bool:
    return bool(parts) and (Path(parts[-1]).stem == name or tuple(parts) == module)


def _is_ours(script: Path) -> bool:
    return script.is_file() and "maya_train" in script.read_text(encoding="utf-8", errors="replace")


def _without_fabric_options(items: list[str]) -> list[str]:
    """Fabric takes its own options from anywhere on the line, up to a bare `--`."""
    kept: list[str] = []
    while items:
        item = items.pop(0)
        if item == "--":
            return kept + items
        option, equals, _ = item.removeprefix("--").partition("=")
        if item.startswith("--") and option.replace("_", "-") in FABRIC_OPTIONS:
            if not equals and items:
                items.pop(0)
        else:
            kept.append(item)
    return kept


def _no_rendezvous(params: Any) -> Any:
    raise ValueError("maya-preflight only checks a run; it is no rendezvous backend")
