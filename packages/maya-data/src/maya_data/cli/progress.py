"""Progress of long work: a bar on a terminal, a few plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

ProgressFn = Callable[[int, int, str], None]
LINES = 10
"""Progress lines of a job whose output is no terminal."""


@contextmanager
def progress(title: str) -> Iterator[ProgressFn]:
    """Give a function of (done, total, what): a bar on a terminal, a few plain lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines(title)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn(title), *columns, TextColumn("{task.fields[what]}"), console=console) as bars:
        task = bars.add_task(title, what="")
        yield lambda done, total, what: bars.update(task, completed=done, total=total or None, what=what)


def _plain_lines(title: str) -> ProgressFn:
    shown = -1

    def tell(done: int, total: int, what: str) -> None:
        nonlocal shown
        tenth = done * LINES // max(total, 1)
        if tenth != shown:
            shown = tenth
            print(f"{title}: {done} of {total or 'an unknown number'} ({what})", file=sys.stderr, flush=True)

    return tell
