"""Batches for one rank: the endless stream of a plan, and a single pass for validation and test.

The plan decides, workers only read. A batch depends on its step alone, so a loader started at any step, with
any number of workers, gives what an uninterrupted one gives from there.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from maya_data.batch import Batch, Utterance, collate
from maya_data.fetch import CorruptAudio, read_audio
from maya_data.plan import Plan
from maya_data.quarantine import Quarantine
from maya_data.segments import SegmentIndex
from maya_data.text import profile

SPARES = 1000
"""Segments tried, one after the other, in place of a batch that is bad as a whole."""


class _Steps:
    """The steps from `start` on, without end."""

    def __init__(self, start: int):
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return count(self.start)


class _Reader:
    """Turns segment numbers into utterances; bad ones are left out and written to the ledger."""

    def __init__(
        self, index: SegmentIndex, sampling_rate: int, text_profile: str | None, ledger: str | Path | None
    ):
        self.index, self.sampling_rate = index, sampling_rate
        self.spelling = profile(text_profile or index.text_profile)
        self.quarantine = Quarantine(ledger=Path(ledger) if ledger else None)

    def read(self, ids: Iterable[int], step: int) -> Iterator[Utterance]:
        for i in ids:
            try:
                samples = read_audio(self.index, i, self.sampling_rate)
            except CorruptAudio as error:
                self.quarantine.record(self.index, int(i), error, step)
                continue
            self.quarantine.admit()
            lang = self.index.name("lang", i)
            text = self.spelling.normalize(self.index.string("text", int(i)), lang)
            yield Utterance(self.index.string("id", int(i)), samples, text, lang)


class _PlanDataset(Dataset[Batch]):
    """Step -> batch."""

    def __init__(self, reader: _Reader, plan: Plan, rank: int, world_size: int):
        self.reader, self.plan, self.rank, self.world_size = reader, plan, rank, world_size

    def __getitem__(self, step: int) -> Batch:
        ids = self.plan.batch(step, self.rank, self.world_size)
        utterances = list(self.reader.read(ids, step)) or [self._spare(step)]
        return collate(utterances, self.reader.sampling_rate, step)

    def _spare(self, step: int) -> Utterance:
        """Return the first good segment of the steps that follow."""
        ids = (i for later in count(step + 1) for i in self.plan.batch(later, self.rank, self.world_size))
        for utterance in self.reader.read(islice(ids, SPARES), step):
            return utterance
        raise CorruptAudio(f"none of {SPARES} segments after step {step} can be decoded")


class _BatchDataset(Dataset[Batch | None]):
    """Number -> batch of a list of batches; None where nothing in it could be decoded."""

    def __init__(self, reader: _Reader, batches: Sequence[np.ndarray[Any, Any]]):
        self.reader, self.batches = reader, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch | None:
        utterances = list(self.reader.read(self.batches[number], number))
        return collate(utterances, self.reader.sampling_rate, number) if utterances else None


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
        start_step: Micro-steps that this rank has taken already.
        num_workers: Processes that read ahead; 0 reads when asked.
        sampling_rate: Rate of the waveforms; other rates are resampled.
        text_profile: Name of the spelling of the texts; None takes the index's.
        ledger: File to which unusable segments are written.
    """
    plan.num_steps(world_size)
    reader = _Reader(index, sampling_rate, text_profile, ledger)
    return iter(_dataloader(_PlanDataset(reader, plan, rank, world_size), _Steps(start_step), num_workers))


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
        ids = ids[np.isin(np.asarray(index.lang_ids)[ids], [index.langs.index(lang) for lang in langs])]
    ids = ids[rank::world_size]
    batches = [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)]
    reader = _Reader(index, sampling_rate, text_profile, ledger)
    loaded = _dataloader(_BatchDataset(reader, batches), range(len(batches)), num_workers)
    return (batch for batch in loaded if batch is not None)


def _dataloader(dataset: Dataset[Any], sampler: Any, num_workers: int) -> DataLoader[Any]:
    """Return torch's loader; it has its own generator, since the global one is training's."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=num_workers,
        generator=torch.Generator(),
        collate_fn=_as_is,
    )


def _as_is(batch: Any) -> Any:
    return batch
