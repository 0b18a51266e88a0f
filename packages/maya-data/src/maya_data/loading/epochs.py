"""The batches of all epochs for one rank: which plan each epoch follows, and the jobs in order."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch.distributed as dist

from maya_data.indexing.segments import SegmentIndex
from maya_data.loading.mask import latest_version
from maya_data.loading.reading import Job
from maya_data.planning.permutation import key
from maya_data.planning.plan import Plan, PlanConfig

AUGMENT_KEY = 16
"""Sets the choices of augmentation apart from those of the plan."""
LATEST = "latest"

Ints = npt.NDArray[np.int64]


class Position(NamedTuple):
    """Where a loader stands."""

    epoch: int = 0
    step: int = 0
    """Batches of the epoch that this rank has given out."""
    mask: int = 0
    """Version of the quarantine that the epoch's plan leaves out; 0 is none."""


class Planned(NamedTuple):
    """A job, and where it comes from."""

    job: Job
    plan: Plan | None = None
    """None in a single pass, where nothing stands in for what is bad."""
    number: int = 0
    """Position of the batch in its epoch, over all ranks."""

    @classmethod
    def at(cls, plan: Plan, epoch: int, step: int, rank: int, world_size: int) -> "Planned":
        """Return the batch of one rank at a step of an epoch; every choice for it is made here."""
        ids, number = plan.batch(epoch, step, rank, world_size), step * world_size + rank
        return cls(_job(plan, ids, Job(ids, step, epoch), number), plan, number)

    def instead(self, i: int) -> Job:
        """Return a job of segment `i` in place of this one."""
        assert self.plan is not None
        return _job(self.plan, np.array([i]), self.job, self.number)

    def following(self, most: int) -> Iterator[Ints]:
        """Yield the segments of at most `most` batches after it in the epoch, as one rank would read them."""
        assert self.plan is not None
        total = len(self.plan.steps(self.job.epoch, 1))
        for later in range(self.number + 1, self.number + min(total, most)):
            yield self.plan.batch(self.job.epoch, later % total, 0, 1)


def _job(plan: Plan, ids: Ints, like: Job, number: int) -> Job:
    """Return `like` for the segments `ids`; augmentation depends on seed, epoch, position and segment."""
    speeds = plan.speed_factors(like.epoch, ids)
    return like._replace(
        ids=ids,
        speeds=speeds if (speeds != 1).any() else None,
        keys=key(plan.config.seed, AUGMENT_KEY, like.epoch, number, np.arange(len(ids)), ids),
    )


@dataclass
class Epochs:
    """Epoch after epoch of one rank; an epoch's quarantine is settled when its first batch is asked for."""

    index: SegmentIndex
    config: PlanConfig
    rank: int
    world_size: int

    def __post_init__(self) -> None:
        """Refuse a rank that there is not, and a number of ranks that the plan does not allow."""
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"`rank` must be 0 or more and under `world_size`, got {self.rank} of {self.world_size}"
            )
        self._masks: dict[int, int] = {}
        self._plans: dict[int, Plan] = {}
        self.num_steps(Position(mask=self.mask(0)))

    def plan(self, mask: int) -> Plan:
        """Return the plan that leaves out version `mask` of the quarantine."""
        if mask not in self._plans:
            config = self.config
            if self.moves:
                config = replace(config, filter=replace(config.filter, quarantine=mask))
            newest = list(self._plans.items())[-1:]  # two epochs meet where it is read ahead
            self._plans = dict(newest) | {mask: Plan(self.index, config)}
        return self._plans[mask]

    def mask(self, epoch: int) -> int:
        """Return the version of the quarantine that `epoch` leaves out; it is chosen once."""
        if epoch not in self._masks:
            self._masks[epoch] = self._chosen(epoch)
        return self._masks[epoch]

    def keep(self, position: Position) -> None:
        """Let the epoch of `position` keep the version that it has begun with."""
        self._masks = {position.epoch: position.mask}

    def num_steps(self, position: Position) -> int:
        """Return the steps of the epoch in which `position` is."""
        return len(self.plan(position.mask).steps(position.epoch, self.world_size))

    def jobs(self, start: Position) -> Iterator[Planned]:
        """Yield the jobs from `start` on, without end."""
        epoch, first = start.epoch, start.step
        while True:
            plan = self.plan(self.mask(epoch))
            for step in range(first, len(plan.steps(epoch, self.world_size))):
                yield Planned.at(plan, epoch, step, self.rank, self.world_size)
            epoch, first = epoch + 1, 0

    def after(self, position: Position) -> Position:
        """Return the position one batch later; at the end of an epoch, the start of the next."""
        if position.step + 1 < self.num_steps(position):
            return position._replace(step=position.step + 1)
        return Position(position.epoch + 1, 0, self.mask(position.epoch + 1))

    @property
    def moves(self) -> bool:
        """Whether each epoch leaves out what is quarantined by then."""
        return self.config.filter.quarantine == LATEST

    def _chosen(self, epoch: int) -> int:
        if not self.moves:
            return int(self.config.filter.quarantine or 0)
        return _agreed(f"maya-data/{self.index.fingerprint}/{epoch}", latest_version(self.index.path))


def _agreed(name: str, number: int) -> int:
    """Return the number that the first of the run's processes has said, so that all ranks plan alike."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return number
    store = dist.distributed_c10d._get_default_store()
    return int(store.compare_set(name, "", str(number)).decode())
