"""What a person sees of a stage: a bar in a terminal, one plain line every `log_every` steps elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SMOOTHING = 0.95  # of the moving mean of the step time


class StepProgress:
    """Step, loss, audio hours an hour and the time left, from the main process only."""

    def __init__(self, name: str, total: int, *, start: int = 0, log_every: int = 10, enabled: bool = True):
        self.start = self._step = start
        self._name, self._total, self._log_every = name, total, max(1, log_every)
        self._enabled = enabled
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._seconds = self._audio = self._weight = 0.0  # exponential sums: seconds, audio seconds, steps

    def __enter__(self) -> "StepProgress":
        if self._enabled and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}  {task.fields[speed]} audio-h/h"),
                TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=2,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self._name, total=self._total, completed=self._step, loss="-", speed="-"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One line above the bar, or in the log."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False)
        elif self._enabled:
            print(text, file=sys.stderr, flush=True)

    def advance(self, loss: float, seconds: float, audio_seconds: float) -> None:
        """One step is done; it took `seconds` for `audio_seconds` of audio over all ranks."""
        self._step += 1
        self._seconds = SMOOTHING * self._seconds + seconds
        self._audio = SMOOTHING * self._audio + audio_seconds
        self._weight = SMOOTHING * self._weight + 1
        speed = f"{self._audio / max(1e-9, self._seconds):.0f}"
        if self._bar is not None:
            self._bar.update(self._task, completed=self._step, loss=f"{loss:.3f}", speed=speed)
        elif self._step % self._log_every == 0 or self._step == self._total:
            left = (self._total - self._step) * self._seconds / self._weight
            self.say(
                f"{self._name}: step {self._step}/{self._total}  loss {loss:.3f}  {speed} audio-h/h"
                f"  {clock(left)} left"
            )


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rates(values: Mapping[str, float]) -> str:
    """Error rates by language as one short line, in per cent."""
    return "  ".join(f"{name} {100 * value:.1f}" for name, value in values.items())


class Stopwatch:
    """Seconds since the last look."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed
