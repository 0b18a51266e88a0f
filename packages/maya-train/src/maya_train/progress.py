"""What a person sees of a stage: a bar in a terminal, one plain line every `log_every` steps elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SMOOTHING = 0.95  # of the moving means
LANGS_SHOWN = 2


class StepProgress:
    """Steps, losses, rates, speed, waiting, memory and the time left, from the main process only."""

    def __init__(self, name: str, total: int, *, start: int = 0, log_every: int = 10, enabled: bool = True):
        self.start = self._step = start
        self._name, self._total, self._log_every = name, total, max(1, log_every)
        self._enabled = enabled
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._means: dict[str, float] = {}  # exponential sums, and their weight under ""

    def __enter__(self) -> "StepProgress":
        if self._enabled and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=2,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=self._total, completed=self._step, text="")
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

    def advance(self, record: Mapping[str, Any]) -> None:
        """One step is done; `record` is its line in metrics.jsonl."""
        self._step += 1
        spent = record.get("time") or {}
        self._add(
            seconds=spent.get("step", 0.0) + spent.get("data", 0.0),
            data=spent.get("data", 0.0),
            audio=record.get("audio_seconds") or 0.0,
            tokens=record.get("tokens") or 0.0,
            padding=spent.get("padding", 0.0),
            mfu=spent.get("mfu", 0.0),
        )
        due = self._step % self._log_every == 0 or self._step == self._total
        if self._bar is not None:
            self._bar.update(self._task, completed=self._step, text=line(record, self._means))
        elif due and self._enabled:
            left = (self._total - self._step) * self._means["seconds"] / self._means[""]
            text = line(record, self._means)
            self.say(f"{self._name}: step {self._step}/{self._total}  {text}  {clock(left)} left")

    def _add(self, **values: float) -> None:
        for key, value in {**values, "": 1.0}.items():
            self._means[key] = SMOOTHING * self._means.get(key, 0.0) + value


def line(record: Mapping[str, Any], means: Mapping[str, float]) -> str:
    """A step as one line: its losses and rates, and what the last steps did on average."""
    seconds = max(1e-9, means["seconds"])
    spent = record.get("time") or {}
    parts = [_losses(record), *_worst_langs(record)]
    parts += [f"lr {_rates(record['lr'])}"] if record.get("lr") else []
    parts += [f"{means['audio'] / seconds:.0f} audio-h/h", f"{means['tokens'] / seconds:.0f} tok/s"]
    parts += [f"pad {means['padding'] / means['']:.0%}"] if "padding" in spent else []
    parts += [f"MFU {means['mfu'] / means['']:.0%}"] if "mfu" in spent else []
    parts += [f"wait {means['data'] / seconds:.0%}"]
    parts += [f"{spent['memory_gib']:.1f} GiB"] if "memory_gib" in spent else []
    return "  ".join(parts)


def _losses(record: Mapping[str, Any]) -> str:
    """The loss, and that of each head where there are several."""
    heads = [name for name in (record.get("by_lang") or {}) if isinstance(record.get(name), float)]
    parts = [f"{name} {record[name]:.3f}" for name in heads] if len(heads) > 1 else []
    return f"loss {record['loss']:.3f}" + (f" ({', '.join(parts)})" if parts else "")


def _worst_langs(record: Mapping[str, Any]) -> list[str]:
    """The languages with the highest loss of the first head in this step."""
    by_lang: Mapping[str, float] = next(iter((record.get("by_lang") or {}).values()), {})
    worst = sorted(by_lang.items(), key=lambda item: -item[1])[:LANGS_SHOWN]
    return [" ".join(f"{lang} {value:.2f}" for lang, value in worst)] if len(by_lang) > 1 else []


def _rates(lr: Mapping[str, float]) -> str:
    """The rates, each once."""
    return "/".join(dict.fromkeys(f"{value:.1e}" for value in lr.values()))


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
