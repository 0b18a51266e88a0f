"""Batches that do not fit: which errors say so, and how later batches as long are cut into parts."""

import gc
import math
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import torch

from maya_data.loading.batch import Batch

GROWTH = 1.25
"""Ratio of the durations at the two ends of a bucket."""
ON_THE_CPU = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA out of memory")


class Overrun(NamedTuple):
    """A batch that did not fit."""

    rank: int
    utterances: int
    longest: float
    """Seconds of its longest utterance."""

    @classmethod
    def of(cls, rank: int, batch: Batch) -> "Overrun":
        """What matters of a batch."""
        return cls(rank, batch.num_utterances, max(batch.durations, default=0.0))

    @property
    def padded(self) -> float:
        """Seconds with padding."""
        return self.utterances * self.longest


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is out; on a CPU torch has no type of its own for that."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in ON_THE_CPU)


def give_back(device: torch.device) -> None:
    """Return what a failed pass has left to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def bucket_of(longest: float) -> int:
    """The number of the bucket of batches whose longest utterance has so many seconds."""
    return math.floor(math.log(max(longest, 1e-3)) / math.log(GROWTH) + 1e-9)


def shortest_of(bucket: int) -> float:
    """Seconds at which a bucket begins."""
    return GROWTH**bucket


def shrink(
    budgets: MutableMapping[int, float], overruns: Iterable[Overrun], share: float
) -> list[tuple[int, float]]:
    """Lower the budgets by what did not fit; returns the buckets and budgets that are new.

    Args:
        budgets: most padded seconds of a batch by bucket; a longer bucket has no more than a shorter one.
        overruns: batches that did not fit.
        share: of their padded seconds that is tried next.
    """
    found: dict[int, float] = {}
    for overrun in overruns:
        bucket = bucket_of(overrun.longest)
        seconds = round(overrun.padded * share, 3)
        if overrun.utterances > 1 and seconds < budget(budgets, overrun.longest):
            budgets[bucket] = found[bucket] = seconds
    return sorted(found.items())


def budget(budgets: Mapping[int, float], longest: float) -> float:
    """Most padded seconds of a batch whose longest utterance has so many."""
    own = bucket_of(longest)
    return min((seconds for bucket, seconds in budgets.items() if bucket <= own), default=math.inf)


def cut(batch: Batch, budgets: Mapping[int, float]) -> list[Batch]:
    """The batch, or its utterances in parts of equal number that are within the budget of their bucket."""
    longest = max(batch.durations, default=0.0)
    if not budgets or batch.num_utterances * longest <= (most := budget(budgets, longest)):
        return [batch]
    parts = math.ceil(batch.num_utterances / max(1, int(most / longest)))
    ends = [round(batch.num_utterances * number / parts) for number in range(parts + 1)]
    return [_rows(batch, slice(*pair)) for pair in pairwise(ends)]


def _rows(batch: Batch, rows: slice) -> Batch:
    lens = batch.waveform_lens[rows]
    return replace(
        batch,
        ids=batch.ids[rows],
        waveforms=batch.waveforms[rows, : int(lens.max())],
        waveform_lens=lens,
        texts=batch.texts[rows],
        langs=batch.langs[rows],
        durations=batch.durations[rows],
    )
