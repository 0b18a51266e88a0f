"""A thread in each process that ends a run which stands still, and says who waits for whom."""

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch.distributed as dist
from torch.distributed.distributed_c10d import _get_default_store

from maya_train.errors import FIRST_FAILURE

READING, ADDING, PASSING, AVERAGING, STEPPING, VALIDATING, SAVING = range(7)
PLACES = (
    "reading data",
    "adding up tokens",
    "forward and backward",
    "averaging gradients",
    "optimizer step",
    "validation",
    "saving",
)
"""What a process does in a step, in this order."""
UNBOUND = (VALIDATING, SAVING)
"""Places whose length nobody knows; what waits for the others there has the strategy's own timeout."""
LOOKS = 10
"""How often the watch looks in the time that it allows."""
SLOWEST_LOOK = 10.0
SHOWN = 8
"""Ranks that are named at most."""
KEY = "maya/stands/{}"


class Stand(NamedTuple):
    """Where a process is."""

    step: int
    """From 1, as in metrics.jsonl."""
    place: int
    looks: int
    """How often its watch has looked; it rises as long as the process is alive."""

    def __str__(self) -> str:
        return f"step {self.step} ({PLACES[self.place]})"


class HangWatch:
    """Ends the process where no step moves for `seconds`.

    A process that was stopped as a whole (by Ctrl-Z, or a laptop's lid) is not taken for one that hangs:
    only the time is counted in which the watch itself was running.

    Args:
        folder: where the stacks of all threads are written.
        seconds: how long the run may stand still; 0: for ever.
        leave: ends the process with a status; it is stuck, and cannot be asked.
    """

    def __init__(self, folder: Path, seconds: float, leave: Callable[[int], Any] = os._exit) -> None:
        self._folder, self._seconds, self._leave = folder, seconds, leave
        self._tick = min(SLOWEST_LOOK, seconds / LOOKS)
        self._step, self._place, self._moves, self._looks = 0, READING, 0, 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._store: Any = None
        self._rank, self._world_size = 0, 1

    def at(self, step: int, place: int) -> None:
        """This process goes on to `place` of a step."""
        self._step, self._place = step, place
        self._moves += 1

    def __enter__(self) -> "HangWatch":
        if self._seconds:
            if dist.is_initialized() and dist.get_world_size() > 1:
                self._rank, self._world_size = dist.get_rank(), dist.get_world_size()
                # A connection of its own: that of training may be busy.
                self._store = _get_default_store().clone()  # type: ignore[attr-defined]
            self._thread = threading.Thread(target=self._watch, name="hang-watch", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        seen, stood, last = -1, 0.0, time.monotonic()
        while not self._ended.wait(self._tick):
            now = time.monotonic()
            passed, last = min(now - last, 2 * self._tick), now
            moves = self._moves
            stood = stood + passed if moves == seen and self._place not in UNBOUND else 0.0
            seen = moves
            self._tell()
            if stood >= self._seconds:
                self._end()
                return

    def _tell(self) -> None:
        """Let the others know where this process is."""
        self._looks += 1
        if self._store is not None:
            with contextlib.suppress(RuntimeError):  # whoever kept the store has left; so will we
                self._store.set(KEY.format(self._rank), f"{self._step} {self._place} {self._looks}")

    def _end(self) -> None:
        pattern = self._folder / f"stacks-rank-{'N' if self._world_size > 1 else 0}.txt"
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"stacks-rank-{self._rank}.txt").open("w", encoding="utf-8") as file:
            faulthandler.dump_traceback(file, all_threads=True)
        stands, is_alive = self._stands()
        if self._is_first():
            text = describe(stands, is_alive)
            print(
                f"no progress for {duration(self._seconds)}: {text}; the stacks of all threads are in"
                f" {pattern}; the same command goes on from the last saved state",
                file=sys.stderr,
                flush=True,
            )
        self._stay(2)  # the others write their stacks too
        self._leave(1)

    def _stands(self) -> tuple[list[Stand | None], list[bool]]:
        """Where all processes are, and which of them still look."""
        own = Stand(self._step, self._place, self._looks)
        if self._store is None:
            return [own], [True]
        before = self._read()
        self._stay(3)
        after = self._read()
        before[self._rank] = after[self._rank] = own
        alive = [
            one != two or rank == self._rank
            for rank, (one, two) in enumerate(zip(before, after, strict=True))
        ]
        return after, alive

    def _stay(self, ticks: int) -> None:
        """Wait, and go on telling the others that this process is alive."""
        for _ in range(ticks):
            time.sleep(self._tick)
            self._tell()

    def _read(self) -> list[Stand | None]:
        found: list[Stand | None] = []
        for rank in range(self._world_size):
            key = KEY.format(rank)
            with contextlib.suppress(RuntimeError):
                if self._store.check([key]):
                    found.append(Stand(*map(int, self._store.get(key).split())))
                    continue
            found.append(None)
        return found

    def _is_first(self) -> bool:
        if self._store is None:
            return True
        own = f"{self._rank} 1"
        try:
            return bool(self._store.compare_set(FIRST_FAILURE, "", own).decode() == own)
        except RuntimeError:
            return False


def describe(stands: Sequence[Stand | None], is_alive: Sequence[bool]) -> str:
    """Who waits for whom."""
    known = [(stand.step, stand.place) for stand in stands if stand is not None]
    least = min(known)
    behind = [
        rank
        for rank, stand in enumerate(stands)
        if stand is None or not is_alive[rank] or (stand.step, stand.place) == least
    ]
    if any(not is_alive[rank] or stands[rank] is None for rank in behind):
        behind = [rank for rank in behind if not is_alive[rank] or stands[rank] is None]
    waiting = [rank for rank in range(len(stands)) if rank not in behind]
    one = stands[behind[0]]
    where = "has said nothing yet" if one is None else f"stands in {one}"
    silent = "" if is_alive[behind[0]] else " and does not answer"
    if not waiting:
        return f"{_ranks(behind)} {where}{silent}" if len(stands) > 1 else f"the run {where}"
    return f"{_ranks(waiting)} waits in {stands[waiting[0]]} for {_ranks(behind)}, which {where}{silent}"


def _ranks(ranks: Sequence[int]) -> str:
    more = f" and {len(ranks) - SHOWN} more" if len(ranks) > SHOWN else ""
    return f"rank {', '.join(map(str, ranks[:SHOWN]))}{more}"


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
