"""The ledger of segments that could not be used, a line of JSON each, and the limits at which a run stops."""

import errno
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maya_data.indexing.segments import SegmentIndex


class TooManyBadSegments(RuntimeError):
    """So much audio is unusable that training on the rest would be training on something else."""


@dataclass(kw_only=True)
class Quarantine:
    """Counts segments, writes the bad ones to a ledger, and stops when they are too many."""

    ledger: Path | None = None
    """JSON-lines file; ranks may share it, for each line is written at once."""
    max_bad_fraction: float = 0.005
    """Largest share of bad segments in a full window, 0 to 1; until it is full, so many as that are borne."""
    window: int = 20_000
    """So many of the last segments are looked at."""
    max_bad_shard: int = 20
    """So many different bad segments of one shard, and no good one between them, and the shard has failed."""
    seen: int = 0
    """Segments in the window."""
    bad: int = 0
    """Bad segments in the window."""
    _counts: deque[tuple[int, int]] = field(default_factory=deque, repr=False)
    _failing: dict[int, set[int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse impossible limits."""
        if not 0 <= self.max_bad_fraction <= 1:
            raise ValueError(f"`max_bad_fraction` must be from 0 to 1, got {self.max_bad_fraction}")
        if self.window < 1 or self.max_bad_shard < 1:
            raise ValueError(
                f"`window` and `max_bad_shard` must be 1 or more, got {self.window} and {self.max_bad_shard}"
            )

    def admit(self) -> None:
        """Count a segment that was read."""
        self._count(1, 0)

    def record(self, index: SegmentIndex, i: int, error: Exception | str, step: int) -> None:
        """Count and write down a segment that could not be used.

        Raises:
            TooManyBadSegments: There are too many of them now, or the segment's shard has failed as a whole.
        """
        self.settle(index, [i], [(i, str(error))], step)

    def settle(
        self, index: SegmentIndex, ids: Sequence[int], failures: Sequence[tuple[int, str]], step: int
    ) -> None:
        """Count the segments `ids` of one batch, and write down `failures`: (segment number, error).

        Raises:
            TooManyBadSegments: There are too many of them now, or one shard has failed as a whole.
        """
        self._count(len(ids), len(failures))
        if not failures and not self._failing:
            return
        for i, error in failures:
            self._write(index, int(i), error, step)
        failed = self._failed_shard(index, ids, failures)
        if failed is not None:
            raise TooManyBadSegments(
                f"shard {index.name('shard', failed)} has failed: its first {self.max_bad_shard} segments "
                f"are all unusable; last: {_last(failures)}"
            )
        if self.bad > self.max_bad_fraction * self.window:
            raise TooManyBadSegments(
                f"{self.bad} of the last {self.seen} segments are unusable, more than "
                f"{self.max_bad_fraction:.1%} of {self.window:,}; last: {_last(failures)}"
            )

    def _count(self, seen: int, bad: int) -> None:
        self._counts.append((seen, bad))
        self.seen, self.bad = self.seen + seen, self.bad + bad
        while self.seen - self._counts[0][0] >= self.window:
            old_seen, old_bad = self._counts.popleft()
            self.seen, self.bad = self.seen - old_seen, self.bad - old_bad

    def _failed_shard(
        self, index: SegmentIndex, ids: Sequence[int], failures: Sequence[tuple[int, str]]
    ) -> int | None:
        """Return a segment of a shard none of whose segments could be read, if there is such a shard."""
        shards, bad = index.columns["shard"], {int(i) for i, _ in failures}
        for i in ids:
            if int(i) not in bad:
                self._failing.pop(int(shards[i]), None)
        for i in bad:
            met = self._failing.setdefault(int(shards[i]), set())
            met.add(i)
            if len(met) >= self.max_bad_shard:
                return i
        return None

    def _write(self, index: SegmentIndex, i: int, error: str, step: int) -> None:
        if self.ledger is None:
            return
        segment = index.row(i)
        line = {"id": segment.id, "shard": segment.shard, "offset": segment.offset}
        _append(self.ledger, json.dumps(line | {"error": error, "step": step}, ensure_ascii=False))


def _last(failures: Sequence[tuple[int, str]]) -> str:
    return failures[-1][1] if failures else ""


def _append(path: Path, line: str) -> None:
    """Write one line at once; what a killed process left of a line gets an end first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = line.encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def read_ledger(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield each bad segment once, as it was first met: `id`, `shard`, `error` and what else was written.

    The report of `maya-data verify --json` is read too. A line that a killed process did not finish is
    passed over.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is neither.
    """
    met = set()
    for record in _records(Path(path)):
        if (identity := (record["id"], record.get("shard"))) not in met:
            met.add(identity)
            yield record


def _records(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text("utf-8")
    if text.startswith("{") and isinstance(report := _parsed(text), dict) and "bad" in report:
        yield from report["bad"]
        return
    for number, line in enumerate(text.split("\n"), 1):
        record = _parsed(line)
        if isinstance(record, dict) and {"id", "shard", "error"} <= record.keys():
            yield record
        elif line and not (record is None and '{"id": '.startswith(line[:7])):
            raise ValueError(f"{path}, line {number}: not a line of a ledger: {line[:80]!r}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
