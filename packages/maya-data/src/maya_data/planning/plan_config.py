"""What a plan can be told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from maya_data.planning.filters import FilterConfig
from maya_data.planning.mix import MixConfig

SHUFFLES = ("full", "block", "none")


@dataclass(kw_only=True)
class PlanConfig:
    """What a batch is, and what an epoch holds."""

    seed: int = 0
    """Chooses all permutations, and which segment has which speed."""
    batch_duration: float = 20.0
    """Seconds of padded audio in the batch of one rank."""
    max_batch_size: int | None = None
    """Most utterances in a batch."""
    batch_tokens: int | None = None
    """Most padded tokens in a batch; needs `tokenizer`."""
    sync_width: int = 1
    """Batches of one bucket that stand together; the number of ranks must divide it."""
    shuffle: Literal["full", "block", "none"] = "full"
    """`full` permutes all segments; `block` permutes blocks of neighbours and then shuffles a window of them
    at a time, for disks and object stores; `none` goes from short to long, for debugging."""
    block: int = 64
    """Neighbouring segments that `block` keeps together."""
    window: int = 1 << 18
    """Segments that `block` shuffles at a time."""
    speeds: tuple[float, ...] = (1.0,)
    """Factors of speed; every segment takes another one each epoch, in turn."""
    num_buckets: int | None = None
    """Duration buckets, cut at quantiles where they leave least padding; null: a grid made for the data."""
    tokenizer: str | None = None
    """Model file, or its hash, whose token counts cut each duration bucket again; null: no such cut."""
    token_buckets: int = 3
    """Buckets by tokens inside a duration bucket."""
    buckets_file: str | Path | None = None
    """Table of buckets and their batch sizes, as `maya-data bins --json` writes it; overrules the others."""
    filter: FilterConfig = field(default_factory=FilterConfig)
    """What is left out."""
    mix: MixConfig = field(default_factory=MixConfig)
    """Balance of languages and corpora."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if not self.batch_duration > 0:
            raise ValueError(f"`batch_duration` must be above 0, got {self.batch_duration}")
        for name in ("max_batch_size", "batch_tokens", "sync_width", "block", "token_buckets", "num_buckets"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {value}")
        if self.shuffle not in SHUFFLES:
            raise ValueError(f"`shuffle` must be one of {', '.join(SHUFFLES)}, got {self.shuffle!r}")
        if self.window < self.block:
            raise ValueError(f"`window` must be `block` ({self.block}) or more, got {self.window}")
        self.speeds = tuple(float(speed) for speed in self.speeds)
        if not self.speeds or not all(0.5 <= speed <= 2 for speed in self.speeds):
            raise ValueError(f"`speeds` must be factors from 0.5 to 2, got {list(self.speeds)}")
        if self.batch_tokens is not None and self.tokenizer is None:
            raise ValueError("`batch_tokens` has no effect without `tokenizer`")
        if self.tokenizer is not None and self.num_buckets is None and self.buckets_file is None:
            raise ValueError("`tokenizer` cuts buckets again by tokens: set `num_buckets` or `buckets_file`")
