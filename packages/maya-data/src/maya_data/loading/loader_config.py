"""What `build_loader` is told: an index, a plan, and how it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from maya_data.audio.augment import AugmentConfig
from maya_data.loading.stream import Workers
from maya_data.planning.plan_config import PlanConfig
from maya_data.settings import from_mapping, read_yaml

__all__ = ["LoaderConfig", "from_mapping", "read_config"]

START_METHODS = ("fork", "spawn", "forkserver")
WHOLE = {"num_workers": 0, "prefetch": 1, "sampling_rate": 1, "bad_window": 1, "max_bad_shard": 1}
"""Settings that are whole numbers, and the least of each."""


@dataclass(kw_only=True)
class LoaderConfig:
    """Where the segments are, what a batch is, and who reads it."""

    index: Any = ""
    """Folder of the index, or an index that is open."""
    root: Any = None
    """Where the audio is now, if not where it was when the index was built; see `open_index`."""
    plan: PlanConfig = field(default_factory=PlanConfig)
    """What is in which batch."""
    sampling_rate: int = 16_000
    """Hertz; audio of another rate is resampled."""
    text_profile: str | None = None
    """Spelling of the texts; null takes the index's."""
    num_workers: int = 0
    """Processes that read ahead; 0 reads in this process, when a batch is asked for."""
    prefetch: int = 2
    """Batches that each of them reads ahead."""
    start_method: Literal["fork", "spawn", "forkserver"] | None = None
    """How these processes are started; null takes the system's way."""
    pin_memory: bool = False
    """Hand out page-locked tensors, which a GPU copies faster; without a GPU it has no effect."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What is done to the audio; speed is the plan's."""
    ledger: str | Path | None = None
    """File for unusable segments; each of several ranks has its own, `.rank<n>` before the suffix."""
    max_bad_fraction: float = 0.005
    """Share of unusable segments, 0 to 1, over which the run stops."""
    bad_window: int = 20_000
    """Segments, the last ones, of which that is the share."""
    max_bad_shard: int = 20
    """So many different unusable segments of one shard, with no good one between, stop the run too."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if self.index in ("", None):
            raise ValueError("`index` must name the folder of an index, as `maya-data index` writes it")
        for name, least in WHOLE.items():
            value = getattr(self, name)
            if not isinstance(value, int):
                raise ValueError(f"`{name}` must be a whole number, got {value!r}")
            if value < least:
                raise ValueError(f"`{name}` must be {least} or more, got {value}")
        if self.start_method not in (None, *START_METHODS):
            raise ValueError(f"`start_method` must be fork, spawn or forkserver, got {self.start_method!r}")

    @property
    def workers(self) -> Workers:
        """The settings of the processes."""
        return Workers(self.num_workers, self.prefetch, self.pin_memory, self.start_method)

    def ledger_of(self, rank: int, world_size: int) -> Path | None:
        """Return the ledger of one rank."""
        if self.ledger is None:
            return None
        path = Path(self.ledger)
        return path if world_size == 1 else path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def read_config(config: LoaderConfig | Mapping[str, Any] | str | Path) -> LoaderConfig:
    """Return settings that are given as they are, as a mapping, or as a YAML file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A key or value is wrong; the message names it, and the file.
    """
    if isinstance(config, LoaderConfig):
        return config
    if isinstance(config, Mapping):
        return from_mapping(LoaderConfig, config)
    given = read_yaml(config)
    try:
        return from_mapping(LoaderConfig, given)
    except ValueError as error:
        raise ValueError(f"{config}: {error}") from error
