"""The folder of an export, whole or not there, and the count of what went into it and what did not."""

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

Progress = Callable[[int, int, str], None]
"""Called with parts done, parts in all, and the part just done."""

Job = TypeVar("Job")
Result = TypeVar("Result")
PROBLEMS = 20
"""Segments left out that are told one by one; all are counted."""


@dataclass
class Exported:
    """What an export wrote."""

    folder: Path
    segments: int = 0
    shards: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> segments."""
    problems: list[str] = field(default_factory=list)
    """The first segments left out, a sentence each."""

    def leave_out(self, reason: str, segments: int = 1, problem: str | None = None) -> None:
        """Count segments that are not exported."""
        self.left_out[reason] += segments
        if problem and len(self.problems) < PROBLEMS:
            self.problems.append(problem)

    def add(self, part: "Exported") -> None:
        """Take the counts of a part of this export."""
        self.segments += part.segments
        self.shards += part.shards
        self.left_out.update(part.left_out)
        self.problems += part.problems[: PROBLEMS - len(self.problems)]

    def check(self, otherwise: str) -> None:
        """Raise ValueError where nothing was exported, with the first problems, or else `otherwise`."""
        if not self.segments:
            raise ValueError(f"nothing to export: {'; '.join(self.problems[:3]) or otherwise}")


@contextmanager
def new_folder(out_dir: str | Path) -> Iterator[Path]:
    """Give a folder beside `out_dir`, which becomes it when the block ends well and is removed otherwise.

    Raises:
        ValueError: `out_dir` holds something already, or its disk is full.
    """
    out = Path(out_dir).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; remove it or choose another folder")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(out)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(f"the disk of {out} is full; make room and export again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def run(work: Callable[[Job], Result], jobs: Iterable[Job], executor: Executor | None) -> Iterator[Result]:
    """Yield what `work` makes of every job, in order; here, or by `executor`."""
    return executor.map(work, jobs) if executor else map(work, jobs)
