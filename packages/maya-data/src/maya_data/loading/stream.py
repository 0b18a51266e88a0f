"""Jobs in, batches out, in order: torch's loader processes, what they found bad, and what takes its place."""

import os
import re
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader

from maya_data.audio.fetch import CorruptAudio
from maya_data.loading.ahead import Ahead
from maya_data.loading.batch import Batch
from maya_data.loading.epochs import Planned
from maya_data.loading.quarantine import Quarantine
from maya_data.loading.reading import Job, Loaded, Reader
from maya_data.loading.rescue import rescued

SPARES = 1000
"""Segments tried, one after the other, in place of a batch that is bad as a whole."""
SPARE_BATCHES = 4096
"""Batches of the plan that are looked through for them."""
WATCH_SECONDS = 1.0
"""How often a loader process looks whether its parent is still there."""
SAME_BUCKET = 1.25
"""Two segments may stand in for each other where their durations differ by no more than this factor."""


class LoaderProcessDied(ChildProcessError):
    """A loader process has ended without a word, most often because the machine ran out of memory."""


class Workers(NamedTuple):
    """How jobs are spread over processes."""

    number: int = 0
    """0 reads in this process, when asked."""
    prefetch: int = 2
    """Batches that each process reads ahead."""
    pin_memory: bool = False
    start_method: str | None = None


class Stream(Iterator[tuple[Planned, Loaded]]):
    """The results of planned jobs, in order."""

    def __init__(self, jobs: Iterable[Planned], reader: Reader, workers: Workers):
        """Start the processes; they begin to read at once."""
        self._asked: deque[Planned] = deque()
        self._loader = _results(reader, _noting(jobs, self._asked), workers)
        self._results: Iterator[Loaded] | None = self._loader
        if workers.number:
            self._results = Ahead(rescued(self._loader))

    def __next__(self) -> tuple[Planned, Loaded]:
        if self._results is None:
            raise StopIteration
        try:
            loaded = next(self._results)
        except RuntimeError as error:
            if died := _died(error):
                self.close()
                raise LoaderProcessDied(died) from None
            raise
        planned = self._asked.popleft()
        if loaded.error is not None:
            self.close()
            raise loaded.error
        return planned, loaded

    def close(self) -> None:
        """End the processes; a stream that is forgotten does so too."""
        if isinstance(self._results, Ahead):
            self._results.close()
            self._loader._shutdown_workers()  # type: ignore[attr-defined]  # a traceback may keep it alive
        self._results = None


def _noting(jobs: Iterable[Planned], asked: deque[Planned]) -> Iterator[Job]:
    for planned in jobs:
        asked.append(planned)
        yield planned.job


def _results(reader: Reader, jobs: Iterator[Job], workers: Workers) -> Iterator[Loaded]:
    """Return torch's loader; it has its own generator, since the global one is training's."""
    with warnings.catch_warnings():  # how many processes are right is the user's choice
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader: DataLoader[Any] = DataLoader(
            reader,
            batch_size=None,
            sampler=jobs,
            num_workers=workers.number,
            generator=torch.Generator(),
            collate_fn=_as_is,
            worker_init_fn=_end_with_parent,
            prefetch_factor=workers.prefetch if workers.number else None,
            pin_memory=workers.pin_memory and torch.cuda.is_available(),
            multiprocessing_context=workers.start_method if workers.number else None,
        )
        return iter(loader)


def _end_with_parent(_: int) -> None:
    """Let a process end when its parent is killed, also while it waits for somebody to take its batch."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _as_is(loaded: Any) -> Any:
    return loaded


def _died(error: RuntimeError) -> str | None:
    """Return one sentence where torch says that one of its processes is gone, else None."""
    found = re.match(
        r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (is killed by|exited)(?: signal: (.*))?", str(error)
    )
    if not found:
        return None
    how = f"was killed ({found[3].strip().rstrip('.')})" if found[3] else "ended unexpectedly"
    return (
        f"loader process {found[1]} {how}, as happens where memory runs out: set `num_workers` or `prefetch` "
        "lower, and go on from the last saved state"
    )


class Receiver:
    """Takes what was read: counts it, writes down what is bad, and finds a spare for an empty batch."""

    def __init__(self, reader: Reader, quarantine: Quarantine):
        self.reader, self.quarantine = reader, quarantine

    def batch(self, planned: Planned, loaded: Loaded) -> Batch:
        """Return the batch of a job, or one spare segment.

        Raises:
            TooManyBadSegments: Too much was bad.
            CorruptAudio: There is no spare.
        """
        self.settle(planned.job, loaded)
        return loaded.batch or self._spare(planned)

    def once(self, results: Iterable[tuple[Planned, Loaded]]) -> Iterator[Batch]:
        """Yield the batches in which something could be used."""
        for planned, loaded in results:
            self.settle(planned.job, loaded)
            if loaded.batch is not None:
                yield loaded.batch

    def settle(self, job: Job, loaded: Loaded) -> None:
        """Count what was read, and write down what is bad."""
        self.quarantine.settle(self.reader.index, job.ids.tolist(), loaded.failures, job.step)

    def _spare(self, planned: Planned) -> Batch:
        """Return the first good segment of the same bucket in the batches that follow.

        The order is that of the plan for one rank, so the spare does not depend on the number of ranks.
        """
        for spare in islice(self._spares(planned), SPARES):
            loaded = self.reader[spare]
            if loaded.error is not None:
                raise loaded.error
            self.settle(spare, loaded)
            if loaded.batch is not None:
                return loaded.batch
        raise CorruptAudio(
            f"no segment that could stand in for the batch of epoch {planned.job.epoch}, step "
            f"{planned.job.step} can be decoded"
        )

    def _spares(self, planned: Planned) -> Iterator[Job]:
        """Yield jobs of one segment: first those of like duration, then any."""
        durations = self.reader.index.durations
        longest = float(durations[planned.job.ids].max())
        for ids in planned.following(SPARE_BATCHES):
            like = (durations[ids] <= longest) & (durations[ids] * SAME_BUCKET >= longest)
            yield from (planned.instead(i) for i in ids[like])
        for ids in planned.following(SPARE_BATCHES):
            yield from (planned.instead(i) for i in ids)
