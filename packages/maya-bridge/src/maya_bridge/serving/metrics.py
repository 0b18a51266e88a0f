"""What a server counts, for Prometheus."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

STAGES = ("receive", "read", "wait", "decode", "write")
"""What happens to a request, in order: its body arrives, its audio is unpacked, it waits, the model runs, the
answer is written."""
SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counters in a registry of their own, so that two servers in a process do not share them."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter("maya_requests", "Answered requests.", ["route", "status"], registry=own)
        self.audio_seconds = Counter("maya_audio_seconds", "Seconds of audio transcribed.", registry=own)
        self.in_flight = Gauge("maya_requests_in_flight", "Requests accepted and not answered.", registry=own)
        self.queue_depth = Gauge("maya_queue_depth", "Pieces of audio waiting for the model.", registry=own)
        self.queue_seconds = Gauge(
            "maya_queue_seconds", "Seconds of audio of unanswered requests.", registry=own
        )
        self.batch_size = Histogram(
            "maya_batch_size", "Pieces decoded together.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=own
        )
        self.stage = Histogram(
            "maya_stage_seconds", "Time of a stage.", ["stage"], buckets=SECONDS, registry=own
        )
        for stage in STAGES:
            self.stage.labels(stage)
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)


class Stages:
    """The times of one request, stage by stage."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.perf_counter):
        self.seconds: dict[str, float] = {}
        self.current: str | None = None
        self._metrics = metrics
        self._clock = clock
        self._since = clock()

    def enter(self, stage: str | None) -> None:
        """End the stage that runs, and begin another."""
        now = self._clock()
        if self.current is not None:
            self.note(self.current, now - self._since)
        self.current, self._since = stage, now

    def note(self, stage: str, seconds: float) -> None:
        """Count a stage's time, which may come in parts."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def over(self) -> Iterator["Stages"]:
        """End with the block, and hand all times to the histogram."""
        try:
            yield self
        finally:
            self.enter(None)
            for stage, seconds in self.seconds.items():
                self._metrics.stage.labels(stage).observe(seconds)

    def so_far(self) -> dict[str, float]:
        """Return seconds by stage, the running one's until now."""
        found = dict(self.seconds)
        if self.current is not None:
            found[self.current] = found.get(self.current, 0.0) + self._clock() - self._since
        return found
