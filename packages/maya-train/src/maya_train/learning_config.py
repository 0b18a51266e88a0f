"""Sections of a run about learning: the optimizer, noise on the LLM's input, means of the weights."""

from dataclasses import dataclass
from typing import Literal

from maya_train.limits import at_least as _at_least
from maya_train.limits import within as _within


@dataclass(kw_only=True)
class OptimConfig:
    """AdamW and its learning-rate schedule; the peak rates are in `lr`."""

    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of AdamW's two moments."""
    weight_decay: float = 0.01
    """Decoupled weight decay; norms, biases and embeddings get none."""
    warmup_steps: int = 0
    """Steps of linear warm-up from 0."""
    schedule: Literal["cosine", "wsd", "constant"] = "cosine"
    """Shape after the warm-up; wsd keeps the peak and decays at the end."""
    decay_share: float = 0.1
    """Part of the steps in which wsd decays, in a straight line."""
    min_lr_ratio: float = 0.02
    """Last rate as a fraction of the peak."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        _at_least("warmup_steps", self.warmup_steps, 0)
        _at_least("weight_decay", self.weight_decay, 0)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"`betas` must be two numbers from 0 to below 1, got {list(self.betas)}")
        _within("min_lr_ratio", self.min_lr_ratio, 0.0, 1.0)
        if not 0 < self.decay_share <= 1:
            raise ValueError(f"`decay_share` must be above 0 and at most 1, got {self.decay_share}")


@dataclass(kw_only=True)
class CorruptionConfig:
    """Noise on what the LLM is fed in training, against copying its own past and exact positions."""

    token_swap: float = 0.1
    """Probability that an input token of the text is replaced by a random one."""
    frame_swap: float = 0.03
    """Probability that a speech position is replaced by another of the batch."""
    frame_drop: float = 0.01
    """Probability that a speech position is dropped."""

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        for key in ("token_swap", "frame_swap", "frame_drop"):
            _within(key, getattr(self, key), 0.0, 1.0)


@dataclass(kw_only=True)
class AverageConfig:
    """Weights that are a mean over the training; they are what is handed on. One of the three may be set."""

    ema: float = 0.0
    """Moving average: the share that stays at each step, such as 0.999; it is validated too. 0: none."""
    last: int = 0
    """Mean of as many of the last training states; so many are kept. 0: none."""
    best: int = 0
    """Mean of as many of the training states with the best validation; so many are kept. 0: none."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers, and more than one kind of mean."""
        if not 0 <= self.ema < 1:
            raise ValueError(f"`ema` must be 0 or more and less than 1, got {self.ema}")
        _at_least("last", self.last, 0)
        _at_least("best", self.best, 0)
        if len(given := [key for key in ("ema", "last", "best") if getattr(self, key)]) > 1:
            raise ValueError(f"one kind of mean at a time: unset `{given[0]}` or `{given[1]}`")
