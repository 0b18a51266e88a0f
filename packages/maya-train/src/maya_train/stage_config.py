"""Sections of a run that belong to one kind of stage: how it begins, what it listens to, who teaches it."""

from dataclasses import dataclass, field
from typing import Literal

from maya_train.limits import at_least


@dataclass(kw_only=True)
class InitConfig:
    """What the task `init` does: open a checkpoint, and grow it to the size of this run's encoder."""

    path: str | None = None
    """Any checkpoint that `maya_encoder.load` opens, or an encoder alone; null: fresh weights."""
    include: list[str] = field(default_factory=lambda: ["encoder"])
    """Prefixes of the tensors to take, such as `encoder` or `heads.ctc`; all others are fresh."""
    exclude: list[str] = field(default_factory=list)
    """Prefixes of tensors to leave fresh all the same, such as `encoder.pre_encode.out`."""
    how: Literal["interpolate", "duplicate"] = "interpolate"
    """What layers begin with that the checkpoint lacks; see `maya_encoder.expand.expand_layers`."""

    def __post_init__(self) -> None:
        """Refuse to take nothing of a checkpoint."""
        if self.path is not None and not self.include:
            raise ValueError("`include` must name what is taken of `path`; set `path` to null for nothing")


@dataclass(kw_only=True)
class SelectConfig:
    """Train on the cleanest part of each language alone, as a scoring pass before the stage finds it."""

    share: float = 0.1
    """Part of each language's hours."""
    by: Literal["both", "loss", "cer"] = "both"
    """What clean means: a low CTC loss a token, a low character error rate of greedy CTC, or both alike."""
    model: str | None = None
    """Model folder that scores, with a CTC head; null: `init_from`."""

    def __post_init__(self) -> None:
        """Refuse a part that is none."""
        if not 0 < self.share <= 1:
            raise ValueError(f"`share` must be above 0 and at most 1, got {self.share}")


@dataclass(kw_only=True)
class DistillConfig:
    """Learn without forgetting: what an older model's CTC head says of the languages that it knows."""

    teacher: str | None = None
    """Model folder with a CTC head. Its pieces must be the first ones of this run's tokenizer."""
    weight: float = 1.0
    """Of the mean divergence of a frame, beside the mean loss of a token."""
    temperature: float = 1.0
    """Both sides are divided by this before they are compared; more than 1 shows what is improbable too."""

    def __post_init__(self) -> None:
        """Refuse a teacher that is not there, and numbers without a meaning."""
        if not self.weight > 0:
            raise ValueError(f"`weight` must be above 0, got {self.weight}; for none, set `distill` to null")
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be above 0, got {self.temperature}")


@dataclass(kw_only=True)
class EncoderLoraConfig:
    """LoRA beside linear layers of the encoder, which trains in its place; folded in at the end."""

    rank: int = 16
    """Of the matrices."""
    alpha: float = 32.0
    """LoRA is scaled by this, divided by its rank."""
    dropout: float = 0.0
    """On its input, in training."""
    targets: list[str] = field(default_factory=lambda: ["linear_q", "linear_k", "linear_v", "linear_out"])
    """Names of the layers; by default those of the attention."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        at_least("rank", self.rank, 1)
        if not self.alpha > 0:
            raise ValueError(f"`alpha` must be above 0, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be at least 0 and below 1, got {self.dropout}")
