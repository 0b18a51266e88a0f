"""The section `data` of a run: which segments are read, and how they become batches."""

from dataclasses import dataclass, field
from typing import Any, Literal

from maya_train.limits import at_least


@dataclass(kw_only=True)
class DataConfig:
    """Which segments are read, and how they become batches."""

    index: str = "${run_dir}/index/train"
    """Folder of the training index, as `maya-data index` writes it."""
    valid_index: str | None = "${run_dir}/index/valid"
    """Folder of the validation index; null: no validation."""
    valid_llm: int | None = None
    """Utterances of each language that the LLM transcribes at a validation, always the same; null: all."""
    batch_duration: float = 20.0
    """Seconds of padded audio in one batch of one process."""
    max_batch_size: int | None = None
    """Most utterances in one batch of one process; null: no limit."""
    num_workers: int = 0
    """Loader processes of one training process; 0 reads in the training process itself."""
    min_duration: float = 0.01
    """Shorter segments are left out, in seconds."""
    max_duration: float = 40.0
    """Longer segments are left out, in seconds."""
    langs: list[str] | None = None
    """Languages to train on; null: all that the index holds."""
    mix: Any = None
    """How the languages are balanced: the fields of `maya_data.planning.mix.MixConfig`."""
    sync_width: int = 1
    """Batches that are made together with equal durations; a multiple of the number of processes."""
    shuffle: Literal["full", "block", "none"] = "full"
    """`full` permutes all segments, `block` keeps neighbours of a shard together, `none` goes from short to
    long."""
    speeds: list[float] = field(default_factory=lambda: [1.0])
    """Factors of speed; every segment takes another one each epoch, in turn."""
    num_buckets: int | None = None
    """Buckets of similar duration; null: as many as suit the data."""
    buckets_file: str | None = None
    """Table of buckets and their batch sizes, as `maya-train calibrate` writes it; it overrules
    `batch_duration`, `max_batch_size` and `num_buckets`."""
    max_chars_per_second: float | None = None
    """Segments with more characters of text a second are left out; null: no limit."""
    corpora: list[str] | None = None
    """Corpora to train on; null: all that the index holds."""
    quarantine: int | str | None = None
    """Version of the index's quarantine that is left out; `latest`: the newest when the stage begins."""
    keep: str | None = None
    """List of the segments that alone are trained on, as `maya-train score` writes it; null: all."""
    noise: Any = None
    """Noise under the speech: the fields of `maya_data.audio.augment.NoiseConfig`; without a root, none."""

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing."""
        at_least("num_workers", self.num_workers, 0)
        if self.valid_llm is not None:
            at_least("valid_llm", self.valid_llm, 1)
        at_least("sync_width", self.sync_width, 1)
        if self.batch_duration <= 0:
            raise ValueError(f"`batch_duration` must be more than 0 seconds, got {self.batch_duration}")
        if self.min_duration > self.max_duration:
            raise ValueError(
                f"`min_duration` ({self.min_duration}) is over `max_duration` ({self.max_duration})"
            )

    @property
    def changes_audio(self) -> bool:
        """Whether an utterance sounds different each time."""
        return list(self.speeds) != [1.0] or bool(getattr(self.noise, "root", ""))
