"""A progress bar on a terminal's standard error; nothing where there is no terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Bar(Protocol):
    """What draws the progress."""

    def show(self) -> None:
        """Draw it."""

    def hide(self) -> None:
        """Clear its line."""

    def advance(self, items: int) -> None:
        """Count more items as done."""


class Progress:
    """Counts items while a block runs."""

    def __init__(self, total: int, what: str) -> None:
        self._bar: Bar | None = _bar(total, what) if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.show()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.hide()

    def advance(self, items: int) -> None:
        """Count more items as done."""
        if self._bar is not None:
            self._bar.advance(items)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """No bar while the block writes to the same terminal."""
        if self._bar is not None:
            self._bar.hide()
        yield
        if self._bar is not None:
            self._bar.show()


def _bar(total: int, what: str) -> Bar:
    try:
        return RichBar(total, what)
    except ModuleNotFoundError:  # the extra `cli` is not installed
        return Counter(total, what)


class RichBar:
    """rich's bar."""

    def __init__(self, total: int, what: str) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        text_and_bar: tuple[Any, ...] = Progress.get_default_columns()[:2]
        console = Console(stderr=True)
        self._progress = Progress(
            *text_and_bar,
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(what, total=total)

    def show(self) -> None:
        """Draw it."""
        self._progress.start()

    def hide(self) -> None:
        """Clear its line."""
        self._progress.stop()

    def advance(self, items: int) -> None:
        """Count more items as done."""
        self._progress.advance(self._task, items)


class Counter:
    """A line of text, where rich is not installed."""

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what, self._done = total, what, 0

    def show(self) -> None:
        """Draw it."""
        print(f"\r{self._what}: {self._done} of {self._total}", end="", file=sys.stderr, flush=True)

    def hide(self) -> None:
        """Clear its line."""
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def advance(self, items: int) -> None:
        """Count more items as done."""
        self._done += items
        self.show()
