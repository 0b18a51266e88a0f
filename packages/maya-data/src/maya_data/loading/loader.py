"""Batches for one rank: the loader of a training run, the endless stream of a plan, and a single pass.

The plan decides, workers only read. A batch depends on seed, epoch and position alone, so a loader that goes
on from any position, with any number of workers, gives what an uninterrupted one gives from there.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from maya_data.audio.fetch import read_audio
from maya_data.audio.files import is_uri
from maya_data.indexing.segments import SegmentIndex, open_index
from maya_data.loading.batch import Batch
from maya_data.loading.epochs import Epochs, Planned, Position
from maya_data.loading.loader_config import LoaderConfig, read_config
from maya_data.loading.loader_state import LoaderState
from maya_data.loading.quarantine import Quarantine
from maya_data.loading.reading import Job, Reader
from maya_data.loading.stream import Receiver, Stream, Workers
from maya_data.planning.plan import Plan


class Loader(Iterator[Batch]):
    """The batches of one rank, epoch after epoch without end; `build_loader` makes it."""

    def __init__(self, config: LoaderConfig, rank: int = 0, world_size: int = 1):
        """Open the index and plan the first epoch; nothing is read before the first batch is asked for."""
        self.config, self.rank, self.world_size = config, rank, world_size
        opened = isinstance(config.index, SegmentIndex)
        self.index = config.index if opened else open_index(config.index, config.root)
        self._epochs = Epochs(self.index, config.plan, rank, world_size)
        self._position = Position(mask=self._epochs.mask(0))
        quarantine = Quarantine(
            ledger=config.ledger_of(rank, world_size),
            max_bad_fraction=config.max_bad_fraction,
            window=config.bad_window,
            max_bad_shard=config.max_bad_shard,
        )
        together = config.plan.shuffle == "block" or _remote(self.index)
        spelling = config.text_profile or self.index.text_profile
        noise = config.augment.noise.open(config.sampling_rate) if config.augment.noise else None
        reader = Reader(self.index, config.sampling_rate, spelling, read_audio, noise, together)
        self._receiver = Receiver(reader, quarantine)
        self._stream: Stream | None = None

    @property
    def epoch(self) -> int:
        """Epoch of the next batch."""
        return self._position.epoch

    @property
    def step(self) -> int:
        """Batches of this epoch that were given out."""
        return self._position.step

    @property
    def plan(self) -> Plan:
        """The plan of this epoch."""
        return self._epochs.plan(self._position.mask)

    def __len__(self) -> int:
        """Return the batches of this epoch; they are as many on every rank."""
        return self._epochs.num_steps(self._position)

    def __next__(self) -> Batch:
        if self._stream is None:
            jobs = self._epochs.jobs(self._position)
            self._stream = Stream(jobs, self._receiver.reader, self.config.workers)
        try:
            batch = self._receiver.batch(*next(self._stream))
        except BaseException:
            self.close()  # Asked again, it begins where it stands.
            raise
        self._position = self._epochs.after(self._position)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands: after the batches that were given out, not those read ahead."""
        epoch, step, mask = self._position
        state = LoaderState(
            epoch=epoch, step=step, world_size=self.world_size, mask=mask, parts=self.plan.parts
        )
        return state.to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, which a loader of another number of ranks or workers may have saved.

        Raises:
            ValueError: It is no state, or index, mix, filter, batches or seed differ; the message says which.
        """
        read = LoaderState.read(state)
        read.check(self._epochs.plan(read.mask if self._epochs.moves else self._position.mask).parts)
        position = Position(read.epoch, read.step_for(self.world_size), read.mask)
        if position.step >= (steps := self._epochs.num_steps(position)):
            raise ValueError(f"the loader's state has step {position.step}; the epoch has {steps} steps")
        self.close()
        self._position = position
        self._epochs.keep(position)

    def close(self) -> None:
        """End the loader's processes; the next batch starts them again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def build_loader(
    config: LoaderConfig | Mapping[str, Any] | str | Path, rank: int = 0, world_size: int = 1
) -> Loader:
    """Return the loader of one rank.

    Args:
        config: Settings, a mapping of them, or a YAML file of them.
        rank: This process.
        world_size: Number of processes; divides the plan's `sync_width`.

    Raises:
        ValueError: A setting is wrong; the message names it.
    """
    return Loader(read_config(config), rank, world_size)


def make_loader(  # noqa: PLR0913 - a loader has these settings
    index: SegmentIndex,
    plan: Plan,
    *,
    rank: int = 0,
    world_size: int = 1,
    start_step: int = 0,
    num_workers: int = 0,
    sampling_rate: int = 16000,
    text_profile: str | None = None,
    ledger: str | Path | None = None,
) -> Iterator[Batch]:
    """Return the endless batches of one rank from micro-step `start_step` on.

    Args:
        index: Segments.
        plan: A plan over the same index.
        rank: This process.
        world_size: Number of processes; divides the plan's `sync_width`.
        start_step: Micro-steps that this rank has taken already, in all epochs together.
        num_workers: Processes that read ahead; 0 reads when asked.
        sampling_rate: Rate of the waveforms; other rates are resampled.
        text_profile: Name of the spelling of the texts; None takes the index's.
        ledger: File to which unusable segments are written.
    """
    reader = _reader(index, sampling_rate, text_profile)
    receiver = Receiver(reader, Quarantine(ledger=Path(ledger) if ledger else None))
    plan.steps(0, world_size)
    jobs = _endless(plan, start_step, rank, world_size)
    return (receiver.batch(*result) for result in Stream(jobs, reader, Workers(num_workers)))


def _endless(plan: Plan, start: int, rank: int, world_size: int) -> Iterator[Planned]:
    """Yield the jobs from micro-step `start` on; their steps are counted over all epochs."""
    epoch, first = plan.locate(start, world_size)
    number = start
    while True:
        for step in range(first, len(plan.steps(epoch, world_size))):
            planned = Planned.at(plan, epoch, step, rank, world_size)
            yield planned._replace(job=planned.job._replace(step=number))
            number += 1
        epoch, first = epoch + 1, 0


def iter_once(  # noqa: PLR0913 - a loader has these settings
    index: SegmentIndex,
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    langs: Sequence[str] | None = None,
    num_workers: int = 0,
    sampling_rate: int = 16000,
    text_profile: str | None = None,
    ledger: str | Path | None = None,
) -> Iterator[Batch]:
    """Return every utterance exactly once over all ranks, longest first.

    Arguments are those of `make_loader`. Ranks may have different numbers of batches, so nothing
    collective may stand in the loop.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be 1 or more, got {batch_size}")
    ids = np.argsort(-np.asarray(index.durations), kind="stable")
    if langs is not None:
        if unknown := [lang for lang in langs if lang not in index.langs]:
            raise ValueError(f"`langs` has {unknown[0]!r}; the index has: {', '.join(index.langs)}")
        ids = ids[np.isin(np.asarray(index.lang_ids)[ids], [index.langs.index(lang) for lang in langs])]
    ids = ids[rank::world_size]
    starts = range(0, len(ids), batch_size)
    jobs = (Planned(Job(ids[start : start + batch_size], step)) for step, start in enumerate(starts))
    reader = _reader(index, sampling_rate, text_profile)
    receiver = Receiver(reader, Quarantine(ledger=Path(ledger) if ledger else None))
    return receiver.once(Stream(jobs, reader, Workers(num_workers)))


def _reader(index: SegmentIndex, sampling_rate: int, text_profile: str | None) -> Reader:
    return Reader(
        index, sampling_rate, text_profile or index.text_profile, read_audio, together=_remote(index)
    )


def _remote(index: SegmentIndex) -> bool:
    return any(is_uri(root) for root in index.roots)
