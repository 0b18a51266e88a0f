"""Pieces of audio from many requests to batches of like length, decoded by one thread."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from maya_bridge.serving.metrics import Metrics
from maya_bridge.serving.settings import ServeSettings
from maya_encoder.audio import Waveform
from maya_encoder.hypothesis import Hypothesis

log = logging.getLogger(__name__)
T = TypeVar("T")

AUTO = "auto"
RATE = 16000
"""Samples a second of what is decoded."""
MOST_PADDING = 1.5
"""A batch may be so many times as long, padded, as the audio in it."""


class Runs(Protocol):
    """The part of `AnyModel` that decodes."""

    def transcribe(
        self,
        audio: Sequence[Waveform],
        langs: Sequence[str],
        *,
        decode: str | None,
        batch_size: int,
        hotwords: Sequence[str],
        words: bool,
    ) -> list[Hypothesis]:
        """Return a hypothesis for each item, in their order."""


class Key(NamedTuple):
    """What the pieces of a batch have in common."""

    decode: str | None
    hotwords: tuple[str, ...]
    words: bool


@dataclass(eq=False)
class Job:
    """The audio of one request, in pieces."""

    pieces: list[Waveform]
    lang: str
    """One for all pieces; `auto` becomes that of the first piece in which something is said."""
    key: Key
    future: asyncio.Future[list[Hypothesis]]
    on_start: Callable[[], None] | None = None
    """Called once, when the first piece is taken."""
    found: dict[int, Hypothesis] = field(default_factory=dict)

    def shares(self, other: "Job") -> bool:
        """Tell whether the pieces of both may be decoded together."""
        return self.key == other.key and (self.lang == AUTO) == (other.lang == AUTO)

    def open_pieces(self) -> list[int]:
        """Return the numbers of the pieces to be decoded now: one alone while the language is unknown."""
        left = [n for n in range(len(self.pieces)) if n not in self.found]
        return left[:1] if self.lang == AUTO else left

    def start(self) -> None:
        """Say that a piece was taken."""
        if self.on_start is not None:
            self.on_start()
        self.on_start = None

    def settle(self, number: int, hypothesis: Hypothesis) -> None:
        """Take a piece's hypothesis; with the last one the job is done."""
        self.found[number] = hypothesis
        if self.lang == AUTO and hypothesis.text and hypothesis.lang:
            self.lang = hypothesis.lang
        if len(self.found) == len(self.pieces) and not self.future.done():
            self.future.set_result([self.found[n] for n in range(len(self.pieces))])


class Taken(NamedTuple):
    """A piece in a batch."""

    job: Job
    number: int

    @property
    def waveform(self) -> Waveform:
        """Its samples."""
        return self.job.pieces[self.number]


class Batcher:
    """Decodes in one thread what many requests ask for.

    Args:
        model: what decodes; only that thread calls it.
        settings: sizes of batches.
        metrics: counts batches and what waits.
        expected: how many requests are accepted and not answered, those still on their way included.
    """

    def __init__(
        self, model: Runs, settings: ServeSettings, metrics: Metrics, expected: Callable[[], int]
    ) -> None:
        self._model = model
        self._settings = settings
        self._metrics = metrics
        self._expected = expected
        self._jobs: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="maya-decode")
        self._task: asyncio.Task[None] | None = None
        self._last_size = 1
        self._seconds_per_second = 0.1
        """Seconds of work for a second of audio, as last seen."""

    def start(self) -> None:
        """Begin to decode, in the running event loop."""
        self._task = asyncio.create_task(self._decode_forever())

    async def stop(self) -> None:
        """Stop after the batch that runs; what waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for job in self._jobs:
            job.future.cancel()
        await asyncio.to_thread(self._thread.shutdown)

    async def decode(self, job: Job) -> list[Hypothesis]:
        """Return one hypothesis a piece; a caller that is cancelled takes its pieces with it."""
        self._jobs.append(job)
        self._count()
        self._arrived.set()
        try:
            return await job.future
        finally:
            if job in self._jobs:
                self._jobs.remove(job)
            self._count()

    async def in_thread(self, function: Callable[..., T], *args: object) -> T:
        """Run something else with the model, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def wait_seconds(self) -> float:
        """Guess how long the audio that waits will take."""
        waiting = sum(len(job.pieces[n]) for job in self._jobs for n in range(len(job.pieces)))
        return waiting / RATE * self._seconds_per_second

    async def _decode_forever(self) -> None:
        while True:
            if not self._jobs:
                self._arrived.clear()
                await self._arrived.wait()
            await self._gather()
            batch = self._next_batch()
            if batch:
                await self._run(batch)

    async def _gather(self) -> None:
        """Wait for requests that are about to come, where there is reason to think that they are."""
        end = time.perf_counter() + self._settings.gather_seconds
        while time.perf_counter() < end:
            wanted = min(max(self._expected(), self._last_size), self._settings.max_batch)
            if sum(len(job.open_pieces()) for job in self._jobs) >= wanted:
                return
            await asyncio.sleep(0.002)

    def _next_batch(self) -> list[Taken]:
        """Take the first job's next piece, and the pieces of all jobs that are most like it."""
        if not self._jobs:
            return []
        first = self._jobs[0]
        head = Taken(first, first.open_pieces()[0])
        # A job's n-th piece stands behind all jobs' earlier ones: hours of audio do not hold up others.
        rest = [
            (place, abs(len(job.pieces[number]) - len(head.waveform)), Taken(job, number))
            for job in self._jobs
            if job.shares(first)
            for place, number in enumerate(job.open_pieces())
            if (job, number) != head
        ]
        batch = [head]
        for _, _, piece in sorted(rest, key=lambda one: one[:2]):
            if len(batch) == self._settings.max_batch:
                break
            if self._fits([*batch, piece]):
                batch.append(piece)
        for job in dict.fromkeys(piece.job for piece in batch):  # they stand at the end of the line now
            self._jobs.remove(job)
            self._jobs.append(job)
        return batch

    def _fits(self, batch: list[Taken]) -> bool:
        lens = [len(piece.waveform) for piece in batch]
        padded = len(lens) * max(lens)
        return padded <= self._settings.max_batch_seconds * RATE and padded <= MOST_PADDING * sum(lens)

    async def _run(self, batch: list[Taken]) -> None:
        began = time.perf_counter()
        for piece in batch:
            piece.job.start()
        self._last_size = len(batch)
        self._metrics.batch_size.observe(len(batch))
        hypotheses = await self._tried(batch)
        seconds = sum(len(piece.waveform) for piece in batch) / RATE
        if seconds:
            self._seconds_per_second = (time.perf_counter() - began) / seconds
        for piece, hypothesis in zip(batch, hypotheses, strict=True):
            if isinstance(hypothesis, Hypothesis):
                piece.job.settle(piece.number, hypothesis)
            elif not piece.job.future.done():
                piece.job.future.set_exception(hypothesis)
        for job in dict.fromkeys(piece.job for piece in batch):
            if job.future.done() and job in self._jobs:
                self._jobs.remove(job)
        self._count()

    async def _tried(self, batch: list[Taken]) -> Sequence[Hypothesis | Exception]:
        """The batch's hypotheses; where it fails, its pieces one by one, so that one is not all's ruin."""
        try:
            return await self.in_thread(self._transcribe, batch)
        except Exception as error:
            if len(batch) == 1:
                log.exception("a piece of audio could not be decoded")
                return [error]
        return [one for piece in batch for one in await self._tried([piece])]

    def _transcribe(self, batch: list[Taken]) -> list[Hypothesis]:
        key = batch[0].job.key
        return self._model.transcribe(
            [piece.waveform for piece in batch],
            [piece.job.lang for piece in batch],
            decode=key.decode,
            batch_size=len(batch),
            hotwords=key.hotwords,
            words=key.words,
        )

    def _count(self) -> None:
        self._metrics.queue_depth.set(sum(len(job.pieces) - len(job.found) for job in self._jobs))
