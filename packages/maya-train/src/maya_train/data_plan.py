"""What the plan of a stage is told: the part of `data` that decides which segments are in which batch."""

import json
from collections.abc import Sequence
from pathlib import Path

from maya_data.loading.mask import latest_version
from maya_data.planning.bucket_file import read_buckets
from maya_data.planning.filters import LATEST, FilterConfig
from maya_data.planning.keep_list import keep_digest
from maya_data.planning.mix import MixConfig
from maya_data.planning.plan_config import PlanConfig
from maya_train.errors import ConfigError
from maya_train.schema import RunConfig

PINNED = "quarantine.version"
KEEP = "keep.parquet"


def plan_config(cfg: RunConfig) -> PlanConfig:
    """The settings of the plan; nothing of them depends on how the run is spread.

    Raises:
        ValueError: a setting is impossible.
    """
    data = cfg.data
    return PlanConfig(
        seed=cfg.seed,
        batch_duration=data.batch_duration,
        max_batch_size=data.max_batch_size,
        sync_width=data.sync_width,
        shuffle=data.shuffle,
        speeds=tuple(data.speeds),
        num_buckets=data.num_buckets,
        tokenizer=_token_counter(data.buckets_file),
        buckets_file=data.buckets_file,
        filter=FilterConfig(
            min_duration=data.min_duration,
            max_duration=data.max_duration,
            max_chars_per_second=data.max_chars_per_second,
            langs=data.langs,
            corpora=data.corpora,
            quarantine=_version(cfg),
            keep=keep_file(cfg),
        ),
        mix=data.mix or MixConfig(),
    )


def check_plans(runs: Sequence[RunConfig]) -> None:
    """Refuse settings of `data` that no plan can have, before anything is made.

    Raises:
        ConfigError: one is impossible; the message names stage and key.
    """
    for run in runs:
        try:
            config = plan_config(run)
            if config.buckets_file is not None:
                read_buckets(config.buckets_file)
        except (ValueError, OSError) as error:
            raise ConfigError(f"stage {run.stage}: data: {error}") from None


def selection(cfg: RunConfig) -> tuple[object, ...]:
    """What decides which segments are heard at all; the name of a cache of their outputs follows from it."""
    data = cfg.data
    later = (data.max_chars_per_second, data.corpora, _version(cfg))
    first = (data.min_duration, data.max_duration, data.langs)
    chosen = first if later == (None, None, None) else (*first, *later)
    return chosen if (keep := keep_file(cfg)) is None else (*chosen, keep_digest(keep))


def keep_file(cfg: RunConfig) -> str | None:
    """The list of the segments that alone are trained on: given, or made by the stage itself."""
    return cfg.data.keep if cfg.select is None else str(Path(cfg.out_dir) / KEEP)


def pin_quarantine(cfg: RunConfig, version: int) -> None:
    """Keep the version of the quarantine that this stage begins with, so that a later start uses it too."""
    path = Path(cfg.out_dir) / PINNED
    if cfg.data.quarantine == LATEST and not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(f"{version}\n", encoding="utf-8")
        part.replace(path)


def _version(cfg: RunConfig) -> int | str | None:
    """The version of the quarantine: `latest` is the newest of when the stage began."""
    if cfg.data.quarantine != LATEST:
        return cfg.data.quarantine
    pinned = Path(cfg.out_dir) / PINNED
    if pinned.is_file():
        return int(pinned.read_text(encoding="utf-8"))
    return latest_version(cfg.data.index)


def _token_counter(table: str | None) -> str | None:
    """The hash of the model whose tokens a table of buckets counts, where it is cut by tokens too."""
    if table is None or not Path(table).is_file():
        return None  # the plan says what is wrong with it
    try:
        content = json.loads(Path(table).read_text(encoding="utf-8"))
    except ValueError:
        return None
    found = content.get("tokenizer") if isinstance(content, dict) else None
    return None if found is None else str(found)
