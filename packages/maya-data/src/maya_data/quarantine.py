"""The ledger of segments that could not be used, a line of JSON each, and a limit on their number."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maya_data.segments import SegmentIndex

FEW = 100
"""So many bad segments are tolerated whatever their share: a small corpus may have one bad shard."""


class TooManyBadSegments(RuntimeError):
    """So much audio is unusable that training on the rest would be training on something else."""


@dataclass(kw_only=True)
class Quarantine:
    """Counts segments, writes the bad ones to a ledger, and stops when they are too many."""

    ledger: Path | None = None
    """JSON-lines file; ranks and workers may share it, for each line is written at once."""
    max_bad_fraction: float = 0.005
    """Largest share of bad segments."""
    seen: int = 0
    bad: int = 0

    def admit(self) -> None:
        """Count a segment that was read."""
        self.seen += 1

    def record(self, index: SegmentIndex, i: int, error: Exception, step: int) -> None:
        """Count and write down a segment that could not be used."""
        self.seen, self.bad = self.seen + 1, self.bad + 1
        segment = index.row(i)
        line = {
            "id": segment.id,
            "shard": segment.shard,
            "offset": segment.offset,
            "error": str(error),
            "step": step,
        }
        if self.ledger is not None:
            self._append(json.dumps(line, ensure_ascii=False) + "\n")
        if self.bad > FEW and self.bad > self.max_bad_fraction * self.seen:
            raise TooManyBadSegments(
                f"{self.bad} of {self.seen} segments are unusable, "
                f"over {self.max_bad_fraction:.1%}; last: {error}"
            )

    def _append(self, line: str) -> None:
        assert self.ledger is not None
        self.ledger.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read_ledger(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield each bad segment of a ledger once, as it was first met."""
    met = set()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["id"] not in met:
                met.add(record["id"])
                yield record
