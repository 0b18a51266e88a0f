"""Which segments are in which batch: a pure function of seed, epoch and position.

`full_plan` and `block_plan` say how an epoch is ordered; here ranks and steps are laid over it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maya_data.planning.block_plan import BlockOrder
from maya_data.planning.bucket_file import read_buckets
from maya_data.planning.filters import resolve
from maya_data.planning.full_plan import FullOrder
from maya_data.planning.keep_list import keep_digest
from maya_data.planning.layout import Layout, Passes, build_layout, speed_factors
from maya_data.planning.plan_config import PlanConfig
from maya_data.planning.plan_files import layout_of
from maya_data.planning.usable import Usable
from maya_data.settings import from_mapping

__all__ = ["Plan", "PlanConfig"]

VERSION = 1
"""Rises when the same settings would give other batches."""

Ints = npt.NDArray[np.int64]


class _Drawn(NamedTuple):
    """Some batches that follow each other, those of all ranks together."""

    epoch: int
    first: int
    """Number of the first one in its epoch."""
    batches: list[Ints]


class Plan:
    """The batches of every epoch over one index."""

    def __init__(
        self, index: Any, config: PlanConfig | Mapping[str, Any] | None = None, *, seed: int | None = None
    ):
        """Sort the usable segments; of a large index, once for all processes, into a file beside it.

        Args:
            index: A SegmentIndex.
            config: Settings; a mapping may hold mappings for `filter` and `mix`.
            seed: Overrules that of `config`.

        Raises:
            ValueError: A setting is wrong, no segment is left, or too few for one group of batches.
        """
        self.index, self.config = index, _resolved(index, _config(config), seed)
        self.parts = _parts(index, self.config)
        self.fingerprint = _digest(self.parts, 32)
        self._orders: dict[int, FullOrder | BlockOrder] = {}
        self._drawn = _Drawn(-1, 0, [])
        self._order(0)

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.index, self.config)

    @property
    def mask(self) -> int:
        """Version of the quarantine that is left out; 0: none."""
        return int(self.config.filter.quarantine or 0)

    @property
    def num_segments(self) -> int:
        """Segments of the first epoch, repeats counted; others differ by a few, if at all."""
        return self._order(0).num_segments(0)

    def num_groups(self, epoch: int = 0) -> int:
        """Return how many groups of `sync_width` batches an epoch has."""
        return self._order(epoch).num_groups(epoch)

    def num_steps(self, world_size: int = 1, epoch: int = 0) -> int:
        """Return the steps of one rank in an epoch; it is the same for all ranks."""
        return self.num_groups(epoch) * self._steps_a_group(world_size)

    def steps(self, epoch: int, world_size: int = 1) -> range:
        """Return the steps of one rank in an epoch: `len` is known, and the same for all ranks.

        Raises:
            ValueError: `world_size` does not divide `sync_width`.
        """
        return range(self.num_steps(world_size, epoch))

    def batch(self, epoch: int, step: int, rank: int = 0, world_size: int = 1) -> Ints:
        """Return the segment numbers of one rank's batch.

        Raises:
            IndexError: `step` is outside the epoch.
            ValueError: `world_size` does not divide `sync_width`, or has no such rank.
        """
        drawn = self._drawn
        number = step * world_size + rank - drawn.first
        if (
            drawn.epoch != epoch
            or not 0 <= number < len(drawn.batches)
            or not 0 <= rank < world_size
            or self.config.sync_width % world_size
        ):
            self._check(epoch, step, rank, world_size)
            drawn = self._drawn = self._draw(epoch, step * world_size + rank)
            number = step * world_size + rank - drawn.first
        return drawn.batches[number]

    def locate(self, step: int, world_size: int = 1) -> tuple[int, int]:
        """Return the epoch, and the step inside it, of a step that is counted over epochs without end."""
        phases = len(self.config.speeds)
        if self.config.shuffle != "block":
            round_trip = sum(self.num_steps(world_size, epoch) for epoch in range(phases))
            epoch, step = step // round_trip * phases, step % round_trip
        else:
            epoch = 0
        while step >= (steps := self.num_steps(world_size, epoch)):
            epoch, step = epoch + 1, step - steps
        return epoch, step

    def speed_factors(self, epoch: int, ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the factor of speed of segments in an epoch (M,); the plan divides durations by it."""
        return speed_factors(self.config, epoch, ids)

    def rows(self) -> Ints:
        """Return the numbers of all segments that the filter leaves, rising."""
        return np.concatenate([chunk.rows for chunk in self._usable().chunks()]).astype(np.int64)

    def _usable(self) -> Usable:
        return Usable(self.index, self.config.filter)

    def _check(self, epoch: int, step: int, rank: int, world_size: int) -> None:
        """Refuse a batch that there is not."""
        steps = self.num_steps(world_size, epoch)
        if not 0 <= rank < world_size:
            raise ValueError(f"`rank` must be from 0 to {world_size - 1}, got {rank}")
        if epoch < 0 or not 0 <= step < steps:
            raise IndexError(f"step {step} is outside the {steps} steps of epoch {epoch}")

    def _draw(self, epoch: int, number: int) -> "_Drawn":
        """Compute batch `number` of all ranks together, and its neighbours."""
        width = self.config.sync_width
        groups = self._order(epoch).groups(epoch, number // width)
        ids = groups.ids
        batches = [ids[a:b] for row in groups.bounds.tolist() for a, b in pairwise(row)]
        return _Drawn(epoch, groups.first * width, batches)

    def _order(self, epoch: int) -> FullOrder | BlockOrder:
        """Return the order of the epochs whose segments have these speeds."""
        phase = epoch % len(self.config.speeds)
        if phase not in self._orders:
            layout = layout_of(self.index, self._name(phase), lambda allocate: self._build(phase, allocate))
            kind = BlockOrder if self.config.shuffle == "block" else FullOrder
            self._orders[phase] = kind(layout, self.config)
        return self._orders[phase]

    def _build(self, phase: int, allocate: Any) -> Layout:
        return build_layout(Passes(self._usable(), self.config, phase), allocate)

    def _name(self, phase: int) -> str:
        """Return what the layout of a phase depends on, as a name for its files."""
        seeded = len(self.config.speeds) > 1
        parts = {name: digest for name, digest in self.parts.items() if seeded or name != "seed"}
        return f"{_digest(parts)}-{phase}"

    def _steps_a_group(self, world_size: int) -> int:
        width = self.config.sync_width
        if world_size < 1 or width % world_size:
            raise ValueError(
                f"`sync_width` must be a multiple of the number of ranks, got {width} for {world_size} ranks"
            )
        return width // world_size


def _config(given: PlanConfig | Mapping[str, Any] | None) -> PlanConfig:
    if isinstance(given, PlanConfig):
        return given
    return from_mapping(PlanConfig, given or {})


def _resolved(index: Any, config: PlanConfig, seed: int | None) -> PlanConfig:
    """Return the settings with everything settled that may change later."""
    config = replace(config, filter=resolve(index, config.filter))
    return config if seed is None else replace(config, seed=seed)


def _parts(index: Any, config: PlanConfig) -> dict[str, str]:
    """Return a short digest of each thing that decides what is in a batch."""
    batches: dict[str, Any] = asdict(config) | {"version": VERSION}
    mix, rules, seed = (batches.pop(name) for name in ("mix", "filter", "seed"))
    if config.buckets_file is not None:
        read_buckets(config.buckets_file)
        batches["buckets_file"] = hashlib.sha256(Path(config.buckets_file).read_bytes()).hexdigest()
    for name in ("langs", "corpora"):
        rules[name] = rules[name] and sorted(rules[name])
    if (
        keep := rules.pop("keep")
    ) is not None:  # without a list, the digest is what it was before there were any
        rules["keep"] = keep_digest(keep)
    parts = {"index": index.fingerprint, "mix": mix, "filter": rules, "batches": batches, "seed": seed}
    return {name: _digest(value) for name, value in parts.items()}


def _digest(value: Any, length: int = 16) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
