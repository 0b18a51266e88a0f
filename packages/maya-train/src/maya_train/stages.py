"""A chain of stages in one process group: what is finished is skipped, what was interrupted goes on."""

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import nn

from maya_data.loading.batch import Batch
from maya_encoder import checkpoint
from maya_encoder.tokenizer import Tokenizer
from maya_train import compose, provenance
from maya_train.build import build_acoustic, build_task
from maya_train.checkpoints.folders import latest
from maya_train.data_plan import pin_quarantine
from maya_train.durable import replace_text, sync_files
from maya_train.errors import ConfigError
from maya_train.initial import open_initial
from maya_train.locks import only_writer
from maya_train.loop import Counters, Hooks, fit
from maya_train.progress import clock
from maya_train.randomness import seed_rank
from maya_train.schema import RunConfig
from maya_train.scoring.selection import ensure_list
from maya_train.sources import TrainingData, audio_batches, text_batches
from maya_train.strategies import Capabilities
from maya_train.tasks import Task
from maya_train.tasks.encoder_cache import EncoderCache
from maya_train.validate import make_validator
from maya_train.wrapping import handed_on

DONE = "DONE"
IDENTITY = "identity.json"

Identity = dict[str, str]
"""What a stage was trained with: digests of its config, its data, its tokenizer, and of the stage before."""


def run_chain(
    runs: Sequence[RunConfig], fabric: Fabric, capabilities: Capabilities | None = None
) -> list[Counters | None]:
    """Run stage after stage; None stands for one that was finished before."""
    capabilities = capabilities or Capabilities()
    return [run_stage(run, fabric, capabilities) for run in runs]


def run_stage(cfg: RunConfig, fabric: Fabric, capabilities: Capabilities) -> Counters | None:
    """Train one stage to its end and write its model; nothing is done where that has happened before."""
    out_dir, started = Path(cfg.out_dir), time.perf_counter()
    with named(cfg):
        if cfg.select is not None:
            ensure_list(fabric, cfg, partial(_say, fabric))
        data = None if cfg.task == "init" else TrainingData.open(cfg)
        if data is not None:
            data.plan.num_steps(fabric.world_size)
        identity = identify(cfg, data)
    if is_finished(out_dir):
        refuse_other_run(cfg, identity)
        _say(fabric, f"{cfg.stage}: finished before, see {out_dir}")
        return None
    with only_writer(out_dir) if fabric.is_global_zero else nullcontext():
        fabric.barrier()
        refuse_other_run(cfg, identity)
        fabric.barrier()
        if data is None:
            return _begin(cfg, fabric, identity, started)
        return _train(cfg, fabric, capabilities, data, identity, started)


def is_finished(out_dir: Path) -> bool:
    """Whether a stage has ended here and its model is still there; a torn mark does not count."""
    try:
        json.loads((out_dir / DONE).read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return (out_dir / "model" / "config.yaml").is_file()


def _begin(cfg: RunConfig, fabric: Fabric, identity: Identity, started: float) -> Counters:
    """The task `init`: open a checkpoint, grow it, and leave it as the model of the stage."""
    say, out_dir = partial(_say, fabric), Path(cfg.out_dir)
    counters = Counters()
    if fabric.is_global_zero:
        _write_start(cfg, identity)
        seed_rank(cfg.seed, 0)
        with named(cfg):
            model = open_initial(cfg, build_acoustic, say)
        opened = None if cfg.init is None else cfg.init.path
        made_by = {"recipe": cfg.recipe, "stage": cfg.stage, "init": opened}
        checkpoint.save(model, out_dir / "model", extra_config={"made_by": made_by})
        sync_files(out_dir / "model")
        counters.wall_seconds = time.perf_counter() - started
        _write_json(out_dir / DONE, _record(identity, counters))
    fabric.barrier()
    say(f"{cfg.stage}: done, model in {out_dir / 'model'}")
    return counters


def _write_start(cfg: RunConfig, identity: Identity) -> None:
    """What is known of a stage before its first step."""
    out_dir = Path(cfg.out_dir)
    compose.save(cfg, out_dir / "config.yaml")
    provenance.record(out_dir)
    _write_json(out_dir / IDENTITY, identity)


def _train(
    cfg: RunConfig,
    fabric: Fabric,
    capabilities: Capabilities,
    data: TrainingData,
    identity: Identity,
    started: float,
) -> Counters:
    say, out_dir = partial(_say, fabric), Path(cfg.out_dir)
    if fabric.is_global_zero:
        pin_quarantine(cfg, data.plan.mask)
        _write_start(cfg, identity)
    seed_rank(cfg.seed, 0)  # the same weights on all ranks
    with named(cfg):
        task, cache = build_task(fabric, cfg, data, say)
        hooks = _hooks(fabric, cfg, data, task, cache, started)
    counters = fit(fabric, cfg, task, hooks, capabilities)
    fitted = time.perf_counter()
    assert isinstance(task, nn.Module)
    with handed_on(task, keeps=fabric.is_global_zero):
        if fabric.is_global_zero:
            task.save(out_dir / "model")
            sync_files(out_dir / "model")
    if fabric.is_global_zero:
        counters.wall_seconds += time.perf_counter() - fitted
        _write_json(out_dir / DONE, _record(identity, counters))
    fabric.barrier()
    say(
        f"{cfg.stage}: done, {counters.step} steps in {clock(counters.seconds)}, model in {out_dir / 'model'}"
    )
    return counters


@contextmanager
def named(cfg: RunConfig) -> Iterator[None]:
    """What packages find wrong with their part of the config becomes a sentence that names the stage."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"stage {cfg.stage}: {' '.join(str(error).split())}") from error


def identify(cfg: RunConfig, data: TrainingData | None) -> Identity:
    """What decides the outcome of a stage, as digests."""
    llm = getattr(cfg.llm, "path", None)
    more = {} if cfg.distill is None else {"teacher": cfg.distill.teacher}
    more |= {} if cfg.init is None else {"init": cfg.init.path}
    others = {key: _parent_digest(Path(path)) for key, path in more.items() if path is not None}
    return {
        "config": compose.digest(cfg),
        "data": "" if data is None else data.plan.fingerprint,
        "tokenizer": Tokenizer.load(cfg.tokenizer).sha256[:16],
        "init_from": "" if cfg.init_from is None else _parent_digest(Path(cfg.init_from)),
        "llm": "" if llm is None else _parent_digest(Path(llm)),
        **others,
    }


def refuse_other_run(cfg: RunConfig, identity: Identity) -> None:
    """An error where the folder holds a run, finished or not, that was trained with something else."""
    out_dir = Path(cfg.out_dir)
    started = (out_dir / DONE).is_file() or latest(out_dir / "checkpoints") is not None
    if not started or not (out_dir / IDENTITY).is_file():
        return
    try:
        saved = json.loads((out_dir / IDENTITY).read_text(encoding="utf-8"))
    except ValueError:  # torn: written anew by this run
        return
    if saved == identity:
        return
    state = "a finished" if (out_dir / DONE).is_file() else "an unfinished"
    odd = next(key for key in identity if saved.get(key) != identity[key])
    what = _changed_keys(cfg) if odd == "config" else f"its {odd} differs"
    raise ConfigError(
        f"{out_dir} holds {state} run of another kind ({what});"
        " delete that folder, or give another out_dir or run_dir"
    )


def _changed_keys(cfg: RunConfig) -> str:
    """The first key in which `cfg` differs from the config in its folder, with both values."""
    path = Path(cfg.out_dir) / "config.yaml"
    if not path.is_file():
        return "its config differs"
    old, new = compose.learnt(compose.reload(path)), compose.learnt(cfg)
    names = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if not names:
        return "its config differs"
    changed = f"{names[0]} was {old.get(names[0])}, is {new.get(names[0])}"
    batches = "devices * num_nodes * grad_accum"
    return f"{changed}: set grad_accum so that the product stays" if names[0] == batches else changed


def _parent_digest(model: Path) -> str:
    """The identity of the stage that made a model, where it has one."""
    path = model.parent / DONE
    if not path.is_file():
        return ""
    identity = json.loads(path.read_text(encoding="utf-8"))["identity"]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _hooks(
    fabric: Fabric,
    cfg: RunConfig,
    data: TrainingData,
    task: Task,
    cache: EncoderCache | None,
    started: float,
) -> Hooks:
    def batches(start: int) -> Iterator[Batch]:
        with named(cfg):
            if cfg.task == "text_copy" or cache is not None:
                return text_batches(fabric, cfg, data, start, known=cache)
            return audio_batches(fabric, cfg, data, start)

    return Hooks(batches, make_validator(fabric, cfg, task), started)


def _record(identity: Identity, counters: Counters) -> dict[str, Any]:
    unit = 2**20 if sys.platform != "darwin" else 2**30
    return {
        "identity": identity,
        "steps": counters.step,
        "skipped": counters.skipped,
        "audio_hours": round(counters.audio_seconds / 3600, 4),
        "train_seconds": round(counters.seconds, 2),
        "wall_seconds": round(counters.wall_seconds, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 3),
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    replace_text(path, json.dumps(content, indent=2) + "\n")


def _say(fabric: Fabric, text: str) -> None:
    if fabric.is_global_zero:
        print(text, file=sys.stderr, flush=True)
