"""What a stage's `select` asks for: score what it could train on, and write the list that its plan reads."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from lightning.fabric import Fabric

from maya_data.indexing.segments import SegmentIndex
from maya_data.planning.keep_list import keep_notes, write_keep_list
from maya_data.planning.usable import Usable
from maya_encoder import checkpoint
from maya_encoder.acoustic_model import AcousticModel
from maya_train.data_plan import keep_file, plan_config
from maya_train.errors import ConfigError
from maya_train.schema import RunConfig, SelectConfig
from maya_train.scoring import passes
from maya_train.scoring.cleanest import Chosen, cleanest, plain, report, table

KEY = "made_by"
CHUNK = 2**22  # bytes
Say = Callable[[str], None]


def ensure_list(fabric: Fabric, cfg: RunConfig, say: Say) -> None:
    """Write the list of a stage, unless it is there and was made by the same model in the same way.

    Raises:
        ConfigError: the model that scores is not there, or has no CTC head.
    """
    path = Path(str(keep_file(cfg)))
    if (path.parent / "DONE").is_file() and path.is_file():
        return
    made_by = _key(cfg)
    is_there = keep_notes(path).get(KEY) == made_by
    fabric.barrier()  # all have looked before one writes
    if not is_there:
        select(fabric, cfg, path, say, made_by)


def select(
    fabric: Fabric, cfg: RunConfig, path: Path, say: Say, made_by: str | None = None
) -> dict[str, Chosen]:
    """Score, choose, write the list to `path` and a report beside it; returns that report."""
    made_by, settings = made_by or _key(cfg), cfg.select or SelectConfig()
    index = SegmentIndex.open(cfg.data.index)
    rows = _candidates(cfg, index)
    folder = Path(cfg.run_dir) / "scores" / _pass_key(cfg, index)
    model = _load(cfg)
    say(f"{cfg.stage}: {model_folder(cfg)} scores {len(rows):,} segments, into {folder}")
    work = passes.Pass(model, index, rows, folder, cfg.data.batch_duration, cfg.data.num_workers)
    scores = passes.score(fabric, work, say)
    langs, durations = np.asarray(index.lang_ids)[rows], np.asarray(index.durations)[rows]
    kept = cleanest(scores, langs, durations, settings.share, settings.by)
    if not kept.any():
        raise ConfigError(f"select: no segment could be scored, see {folder}")
    chosen = report(scores, langs, durations, kept, list(index.langs))
    if fabric.is_global_zero:
        columns = {"loss": scores.loss[kept], "cer": scores.cer[kept]}
        write_keep_list(path, index, rows[kept], columns, {KEY: made_by})
        text = json.dumps(plain(chosen), indent=2)
        path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    say(table(chosen))
    fabric.barrier()
    return chosen


def model_folder(cfg: RunConfig) -> Path:
    """The model that scores."""
    own = None if cfg.select is None else cfg.select.model
    return Path(str(own or cfg.init_from))


def _candidates(cfg: RunConfig, index: SegmentIndex) -> passes.Ints:
    """All that the stage could train on."""
    rules = replace(plan_config(cfg).filter, keep=None)
    return np.concatenate([chunk.rows for chunk in Usable(index, rules).chunks()]).astype(np.int64)


def _load(cfg: RunConfig) -> AcousticModel:
    folder = model_folder(cfg)
    if not folder.is_dir():
        raise ConfigError(f"select: {folder} is no model folder; it is what would score")
    model = checkpoint.load(folder)
    if passes.HEAD not in model.heads:
        raise ConfigError(f"select: {folder} has no head {passes.HEAD}, whose loss is the score")
    return model


def _key(cfg: RunConfig) -> str:
    """What the list follows from."""
    index = SegmentIndex.open(cfg.data.index)
    settings = cfg.select or SelectConfig()
    return f"{_pass_key(cfg, index)} share={settings.share:g} by={settings.by}"


def _pass_key(cfg: RunConfig, index: SegmentIndex) -> str:
    """What the scores follow from: the weights, the segments and how these are put together."""
    weights = model_folder(cfg) / checkpoint.WEIGHTS_FILE
    if not weights.is_file():
        raise ConfigError(f"select: there is no {weights}, which would score")
    rules = asdict(replace(plan_config(cfg).filter, keep=None))
    parts = (_digest(weights), index.fingerprint, sorted(rules.items()), cfg.data.batch_duration)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            found.update(data)
    return found.hexdigest()
