"""Where a run runs: devices and processes from the launcher and the config, checked before anything is made.

Under `fabric run` the launcher's LT_* variables win; a different value in the config is an error that names
both. Nothing here makes a process group before `make_fabric`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from maya_train.cluster import check_meeting, num_started, processes, started_by, whole_number
from maya_train.cluster import rank as rank
from maya_train.errors import LaunchError
from maya_train.schema import Precision, RunConfig
from maya_train.strategies import Capabilities, StrategyBundle

if TYPE_CHECKING:
    from lightning.fabric import Fabric

KEYS = ("devices", "num_nodes", "accelerator", "precision")
ALIASES = {"gpu": "cuda", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true", "16": "16-mixed"}


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What was settled for one stage."""

    devices: int
    """Processes on this machine."""
    num_nodes: int
    """Machines."""
    accelerator: str
    """cpu, cuda or mps."""
    precision: str
    """A Fabric precision."""
    by_fabric_cli: bool
    """Started by `fabric run`, which has made the processes."""

    @property
    def num_processes(self) -> int:
        """Processes in all."""
        return self.devices * self.num_nodes


def resolve(cfg: RunConfig, environ: Mapping[str, str], overrides: Sequence[str] = ()) -> Launch:
    """Settle devices, nodes, accelerator and precision of `cfg`.

    Args:
        cfg: one stage.
        environ: the environment, in which `fabric run` and torchrun leave their values.
        overrides: the command line's `key=value`; unlike a YAML default they may not contradict the launcher.
    """
    by_cli = environ.get("LT_CLI_USED") == "1"
    given = _from_launcher(environ, by_cli)
    typed = {key for key in (item.partition("=")[0] for item in overrides) if key in KEYS}
    chosen: dict[str, Any] = {}
    for key in KEYS:
        config, launcher = getattr(cfg, key), given.get(key)
        is_strict = key in typed or key in ("devices", "num_nodes")
        if is_strict and None not in (config, launcher) and config != launcher:
            starter = "fabric run" if by_cli else str(started_by(environ))
            raise LaunchError(_conflict(key, config, launcher, starter))
        chosen[key] = config if launcher is None else launcher
    if by_cli and (name := environ.get("LT_STRATEGY")) not in (None, cfg.strategy.name):
        raise LaunchError(f"--strategy {name} differs from strategy={cfg.strategy.name}; leave the flag out")
    accelerator = _accelerator(chosen["accelerator"])
    precision = chosen["precision"] or "32-true"
    if precision not in get_args(Precision):
        raise LaunchError(f"precision {precision} is not offered, only {', '.join(get_args(Precision))}")
    return Launch(
        devices=_devices(chosen["devices"], accelerator),
        num_nodes=chosen["num_nodes"] or 1,
        accelerator=accelerator,
        precision=precision,
        by_fabric_cli=by_cli,
    )


def resolve_chain(
    runs: Sequence[RunConfig], environ: Mapping[str, str], overrides: Sequence[str] = ()
) -> Launch:
    """Settle a chain of stages, which share one process group and so one answer; each run then holds it."""
    first = resolve(runs[0], environ, overrides)
    check_devices(runs[0], first)
    check_meeting(first.num_nodes, environ, by_fabric_cli=first.by_fabric_cli)
    for run in runs:
        other = resolve(run, environ, overrides)
        for key in KEYS:
            if getattr(other, key) != getattr(first, key):
                pair = f"{runs[0].stage} has {getattr(first, key)}, {run.stage} has {getattr(other, key)}"
                raise LaunchError(
                    f"stages of one chain need one `{key}`: {pair}; run them one by one with stage="
                )
        if run.strategy != runs[0].strategy:
            raise LaunchError(
                f"stages {runs[0].stage} and {run.stage} of one chain differ in `strategy`; use stage="
            )
        if (width := run.data.sync_width) % first.num_processes:
            wanted = f"a multiple of the {first.num_processes} processes"
            raise LaunchError(f"stage {run.stage}: `data.sync_width` must be {wanted}, got {width}")
    bundle = build_strategy(runs[0], first)
    for run in runs:
        _check_faults(run, bundle.capabilities)
        run.devices, run.num_nodes = first.devices, first.num_nodes
        run.accelerator, run.precision = first.accelerator, first.precision  # type: ignore[assignment]
    return first


def _check_faults(run: RunConfig, capabilities: Capabilities) -> None:
    """Refuse settings of `faults` that have no effect under the strategy."""
    try:
        run.faults.check_strategy(
            shares_model=capabilities.sharded or capabilities.owns_accumulation,
            timeout_minutes=getattr(run.strategy, "timeout_minutes", None),
        )
    except ValueError as error:
        raise LaunchError(f"stage {run.stage}: {error}") from None


def check_devices(cfg: RunConfig, launch: Launch) -> None:
    """Refuse a run that this machine cannot hold, before Fabric quietly starts it on the CPU."""
    if launch.accelerator != "cuda" or (have := count_gpus()) >= launch.devices:
        return
    wants = f"{launch.devices} GPU{'s' if launch.devices > 1 else ''}"
    flag = "--{} {}" if launch.by_fabric_cli else "{}={}"
    there, hint = (
        (have, flag.format("devices", have)) if have else ("none", flag.format("accelerator", "cpu"))
    )
    raise LaunchError(
        f"stage {cfg.stage} asks for {wants} (accelerator: cuda), this machine has {there}; add {hint}"
    )


def count_gpus() -> int:
    """CUDA devices that this process may use."""
    import torch

    return torch.cuda.device_count()


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_strategy(cfg: RunConfig, launch: Launch) -> StrategyBundle:
    """The strategy of `cfg` for the settled number of processes."""
    try:
        bundle: StrategyBundle = cfg.strategy.build(
            num_devices=launch.devices,
            num_nodes=launch.num_nodes,
            precision=launch.precision,
            grad_clip=cfg.grad_clip,
        )
    except ValueError as error:
        raise LaunchError(str(error)) from None
    if bundle.capabilities.needs_cuda and launch.accelerator != "cuda":
        raise LaunchError(
            f"strategy {cfg.strategy.name} needs CUDA devices, got accelerator {launch.accelerator};"
            " choose strategy=fsdp or strategy=ddp"
        )
    return bundle


def make_fabric(cfg: RunConfig, launch: Launch) -> "tuple[Fabric, Capabilities]":
    """Fabric, launched, and what its strategy does itself."""
    import torch
    from lightning.fabric import Fabric

    torch.set_num_threads(cfg.threads or _threads_each(launch))
    bundle = build_strategy(cfg, launch)
    for key in (*KEYS, "strategy"):  # settled: Fabric would compare its own reading of them with ours
        os.environ.pop(f"LT_{key.upper()}", None)
    fabric = Fabric(
        accelerator=launch.accelerator,
        devices=launch.devices,
        num_nodes=launch.num_nodes,
        precision=bundle.precision or launch.precision,  # type: ignore[arg-type]
        strategy=bundle.strategy,
    )
    if not launch.by_fabric_cli:
        fabric.launch()
    if (wanted := num_started(os.environ)) != fabric.world_size:
        raise LaunchError(f"{wanted} processes were started, but this run joined {fabric.world_size} of them")
    return fabric, bundle.capabilities


def _from_launcher(environ: Mapping[str, str], by_cli: bool) -> dict[str, Any]:
    given = {key: environ[f"LT_{key.upper()}"] for key in KEYS if f"LT_{key.upper()}" in environ}
    if given and not by_cli:
        key = next(iter(given))
        raise LaunchError(f"LT_{key.upper()}={given[key]} is set, but this is not `fabric run`; unset it")
    if by_cli:
        values: dict[str, Any] = {key: ALIASES.get(value, value) for key, value in given.items()}
        values["devices"] = _count(given.get("devices", "1"))
        values["num_nodes"] = whole_number("--num-nodes", given.get("num_nodes", "1"))
        return values
    return dict(processes(environ))


def _count(devices: str) -> int | None:
    """Fabric's --devices as a number: 8, `auto`, or a list of ids such as 0,1."""
    if devices in ("auto", "-1"):
        return None
    if "," in devices:
        return len([part for part in devices.strip("[]").split(",") if part.strip()])
    return whole_number("--devices", devices)


def _conflict(key: str, config: object, launcher: object, starter: str) -> str:
    by_cli = starter == "fabric run"
    flag = f"--{key.replace('_', '-')}" if by_cli else f"{starter}'s"
    say = f"give {flag}, not {key}=, under `fabric run`" if by_cli else f"leave {key}= out under {starter}"
    return f"{key}={config} differs from {flag} {launcher}; {say}"


def _accelerator(name: str | None) -> str:
    if name in (None, "auto"):
        return "cuda" if count_gpus() else "cpu"
    return str(name)


def _devices(count: int | None, accelerator: str) -> int:
    if count is not None:
        return count
    return max(1, count_gpus()) if accelerator == "cuda" else 1


def _threads_each(launch: Launch) -> int:
    return max(1, count_cores() // launch.devices)
