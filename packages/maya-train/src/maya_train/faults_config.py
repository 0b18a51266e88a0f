"""The section `faults` of a run: what is borne, what is watched, and when a run gives up."""

import os
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from maya_train.limits import at_least

TEST_SWITCH = "MAYA_TEST_FAULTS"
"""Environment variable; at 1, `faults.inject` is accepted."""

KINDS = (
    "nan_loss",
    "inf_loss",
    "nan_gradient",
    "spike",
    "oom",
    "oom_backward",
    "hang",
    "hang_in_data",
    "desync",
    "dead_worker",
)
"""What `faults.inject` may name; damaged audio needs no injecting, a test can damage a file."""

SPIKE_STEPS = 100
SHRINK = 0.75
DESYNC_EVERY = 100
HANG_MINUTES = 20.0
HANG_SHARE = 2 / 3
"""Of the strategy's own timeout, where that is short: the watch has to be the first to speak."""


class Injection(NamedTuple):
    """A fault that a test asks for."""

    kind: str
    """One of `KINDS`."""
    step: int
    """The step, from 1 as in metrics.jsonl, in which it happens."""
    rank: int | None = None
    """The process; None: all."""

    @classmethod
    def parse(cls, text: str) -> "Injection":
        """Read `kind@step` or `kind@step:rank`.

        Raises:
            ValueError: the text is neither.
        """
        kind, _, place = text.partition("@")
        step, colon, rank = place.partition(":")
        if kind in KINDS and step.isdigit() and int(step) > 0 and (rank.isdigit() if colon else not rank):
            return cls(kind, int(step), int(rank) if colon else None)
        raise ValueError(
            f"`inject` takes kind@step or kind@step:rank with a kind of {', '.join(KINDS)}, got {text!r}"
        )


@dataclass(kw_only=True)
class FaultsConfig:
    """What is borne, what is watched, and when a run gives up."""

    max_skips: int = 10
    """Steps in a row that may be skipped (no finite loss or gradient, a spike, out of memory) before the run
    gives up."""
    max_skipped: int | None = None
    """Steps that may be skipped in all before the run gives up; null: no limit."""
    spike_factor: float | None = None
    """A step is skipped where its loss is more than so many times the mean of the last steps; null: none."""
    spike_steps: int | None = None
    """Steps whose mean says what loss is usual, and after which the guard begins; null: 100."""
    out_of_memory: Literal["skip", "stop"] | None = None
    """`skip`: a step in which a batch does not fit is skipped by all processes together, and later batches
    as long are cut into parts; the gradients are then averaged after the backward passes, not meanwhile.
    `stop`: the run ends. null: skip where every process holds the whole model, stop where they share it."""
    shrink: float | None = None
    """Padded seconds of a part of a later batch, as a share of those that did not fit; null: 0.75."""
    worker_restarts: int = 3
    """How often loader processes that have died are started again before the run ends; 0: never."""
    hang_minutes: float | None = None
    """A run without progress for so long ends, and says which process waits for which; 0: never. null: 20,
    or two thirds of the strategy's `timeout_minutes` where that is less."""
    desync_every: int | None = None
    """Steps between two comparisons of the weights of all processes, bit by bit; 0: none. null: 100 where
    every process holds the whole model."""
    inject: list[str] = field(default_factory=list)
    """For tests only: faults to make, as `kind@step` or `kind@step:rank`; needs MAYA_TEST_FAULTS=1."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers, settings without effect, and faults outside of a test."""
        at_least("max_skips", self.max_skips, 1)
        at_least("worker_restarts", self.worker_restarts, 0)
        for key, least in (("max_skipped", 0), ("spike_steps", 1), ("hang_minutes", 0), ("desync_every", 0)):
            if (value := getattr(self, key)) is not None:
                at_least(key, value, least)
        if self.spike_factor is not None and self.spike_factor <= 1:
            raise ValueError(f"`spike_factor` must be more than 1, got {self.spike_factor}")
        if self.spike_steps is not None and self.spike_factor is None:
            raise ValueError(
                "`spike_steps` has no effect without `spike_factor`; set that too, or unset this"
            )
        if self.shrink is not None and not 0 < self.shrink < 1:
            raise ValueError(f"`shrink` must be between 0 and 1, got {self.shrink}")
        if self.shrink is not None and self.out_of_memory == "stop":
            raise ValueError("`shrink` has no effect with `out_of_memory=stop`; unset one of them")
        self._check_injections()

    def _check_injections(self) -> None:
        if self.inject and os.environ.get(TEST_SWITCH) != "1":
            raise ValueError(f"`inject` makes faults for tests and needs {TEST_SWITCH}=1, got {self.inject}")
        self.injections()

    def injections(self) -> list[Injection]:
        """The faults to make."""
        return [Injection.parse(text) for text in self.inject]

    def check_strategy(self, *, shares_model: bool, timeout_minutes: float | None) -> None:
        """Refuse what has no effect under a strategy.

        Args:
            shares_model: whether the weights or their optimizer are spread over the processes, or stepped by
                the strategy itself.
            timeout_minutes: how long its processes wait for each other; None: it does not say.

        Raises:
            ValueError: a setting has no effect.
        """
        if shares_model and self.out_of_memory == "skip":
            raise ValueError(
                "`faults.out_of_memory` cannot be `skip` under a strategy whose processes share the model:"
                " they talk in the middle of a pass; leave it out, or choose strategy=ddp"
            )
        if shares_model and self.shrink is not None:
            raise ValueError(
                "`faults.shrink` has no effect under a strategy whose processes share the model; unset it"
            )
        if shares_model and self.desync_every:
            raise ValueError(
                "`faults.desync_every` has no effect under a strategy whose processes share the model;"
                " unset it"
            )
        late = timeout_minutes is not None and (self.hang_minutes or 0) >= timeout_minutes
        if late:
            raise ValueError(
                f"`faults.hang_minutes` has no effect at {self.hang_minutes:g}: the strategy's"
                f" `timeout_minutes` of {timeout_minutes:g} ends the run first; set it lower"
            )

    def hang_seconds(self, timeout_minutes: float | None) -> float:
        """How long a run may stand still; 0: for ever."""
        if self.hang_minutes is not None:
            return 60 * self.hang_minutes
        return 60 * min(HANG_MINUTES, HANG_SHARE * (timeout_minutes or HANG_MINUTES / HANG_SHARE))
