"""Processes that somebody else has started: torchrun, SLURM's srun, or several machines by hand."""

from collections.abc import Mapping

from maya_train.errors import LaunchError

INTERACTIVE = ("bash", "interactive")
"""Names of SLURM jobs in which a person types; Fabric starts the processes there itself."""
FOUND_BY = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""How machines whose processes nobody else starts find each other."""


def whole_number(name: str, text: str) -> int:
    """The number that a launcher gives under this name.

    Raises:
        LaunchError: it is none, or less than 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise LaunchError(f"{name} must be a whole number of 1 or more, got {text}")
    return int(text)


def started_by(environ: Mapping[str, str]) -> str | None:
    """The program that has started all processes of this run, besides `fabric run`."""
    if "TORCHELASTIC_RUN_ID" in environ:
        return "torchrun"
    return "srun" if "SLURM_NTASKS" in environ and not _is_interactive(environ) else None


def processes(environ: Mapping[str, str]) -> dict[str, int]:
    """Devices a machine and machines, as `started_by` has them; empty where nobody has started any.

    Raises:
        LaunchError: a job of several SLURM tasks, but this process was not started as one of them; or tasks
            that are not equally many on all machines.
    """
    starter = started_by(environ)
    if starter is None:
        return {}
    if starter == "torchrun":  # without this, each process would train alone
        local, world = (whole_number(key, environ[key]) for key in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        if world % local:
            raise LaunchError(
                f"WORLD_SIZE={world} is no multiple of LOCAL_WORLD_SIZE={local}: give torchrun as many"
                " processes on each machine"
            )
        return {"devices": local, "num_nodes": world // local}
    asked = whole_number("SLURM_NTASKS", environ["SLURM_NTASKS"])
    if "SLURM_STEP_NUM_TASKS" not in environ and asked > 1:
        raise LaunchError(
            f"SLURM_NTASKS={asked}, but srun has not started this process: it would wait for the others;"
            " put srun before the command, or fabric run"
        )
    tasks = int(environ.get("SLURM_STEP_NUM_TASKS", asked))
    nodes = int(environ.get("SLURM_STEP_NUM_NODES") or environ.get("SLURM_NNODES") or 1)
    if tasks % nodes:
        raise LaunchError(f"{tasks} tasks on {nodes} nodes: give srun --ntasks-per-node, one task a device")
    return {"devices": tasks // nodes, "num_nodes": nodes}


def num_started(environ: Mapping[str, str]) -> int:
    """How many processes were started for this run, as far as the environment tells; else 1."""
    if "WORLD_SIZE" in environ:
        return int(environ["WORLD_SIZE"])
    return int(environ.get("SLURM_STEP_NUM_TASKS", 1)) if started_by(environ) == "srun" else 1


def rank(environ: Mapping[str, str]) -> int:
    """This process's rank, before there is a process group."""
    own = environ.get("SLURM_PROCID") if started_by(environ) == "srun" else None
    return int(environ.get("RANK") or own or environ.get("LOCAL_RANK") or 0)


def check_meeting(num_nodes: int, environ: Mapping[str, str], *, by_fabric_cli: bool) -> None:
    """Refuse several machines that could not find each other, and would wait for ever."""
    if num_nodes == 1 or by_fabric_cli or started_by(environ) is not None:
        return
    if missing := [name for name in FOUND_BY if not environ.get(name)]:
        raise LaunchError(
            f"num_nodes={num_nodes} without a launcher needs {', '.join(missing)} in the environment;"
            " or use fabric run --num-nodes, torchrun or srun"
        )


def _is_interactive(environ: Mapping[str, str]) -> bool:
    return environ.get("SLURM_JOB_NAME") in INTERACTIVE
