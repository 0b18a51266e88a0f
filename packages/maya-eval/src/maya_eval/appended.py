"""The JSON lines of a run: only ever appended to, and taken up again after a kill at any moment.

A line that a kill tore is cut off. Lines of other weights are set aside as `<name>.<fingerprint>.old`, and
lines of another system are refused.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from maya_eval.hypotheses import Hypothesis, read_hypotheses

TAIL = 1 << 16


class Appended:
    """A file of hypotheses, opened for one run."""

    def __init__(self, path: Path, origin: Mapping[str, str]) -> None:
        """Reads what is there.

        Args:
            path: the file; it may be absent.
            origin: `system`, `model` and `fingerprint` of this run.

        Raises:
            ValueError: the file holds outputs of another system or model.
        """
        self.path = path
        self.origin = dict(origin)
        self.rows: dict[str, Hypothesis] = {}
        self._stale: str | None = None
        self._file: IO[str] | None = None
        if path.exists() and _mend_end(path):
            self._take(read_hypotheses(path))

    def _take(self, rows: Sequence[Hypothesis]) -> None:
        wanted = self.origin["system"], self.origin["model"]
        for system, model in {(row.extra.get("system"), row.extra.get("model")) for row in rows}:
            if (system, model) != wanted:
                raise ValueError(
                    f"{self.path} holds outputs of {system} with {model}; give this run another file"
                )
        others = {str(row.extra.get("fingerprint")) for row in rows} - {self.origin["fingerprint"]}
        if others:
            self._stale = min(others)
            print(
                f"{self.path} is started anew: {self.origin['model']} or the index has changed since",
                file=sys.stderr,
            )
        else:
            self.rows = {row.utt_id: row for row in rows}

    def holds(self, utt_id: str, text: str) -> bool:
        """Whether the utterance is written already, with that reference."""
        row = self.rows.get(utt_id)
        if row is not None and row.text != text:
            raise ValueError(
                f"{self.path}: the reference of {utt_id!r} has changed since; give this run another file"
            )
        return row is not None

    def __enter__(self) -> "Appended":
        """Opens the file for appending; no other run may be doing so."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._stale:
            aside = self.path.with_name(f"{self.path.name}.{self._stale}.old")
            self.path.replace(aside)
            print(f"what was there is kept as {aside}", file=sys.stderr)
        self._file = self.path.open("a", encoding="utf-8")
        _lock(self._file, self.path)
        return self

    def append(self, rows: Iterable[Hypothesis]) -> None:
        """Writes the rows; when this returns they are on the disk."""
        if self._file is None:
            raise RuntimeError("append() works inside `with` only")
        rows = list(rows)
        self._file.writelines(row.to_json() + "\n" for row in rows)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows |= {row.utt_id: row for row in rows}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file, which frees it for other runs."""
        if self._file is not None:
            self._file.close()


def _mend_end(path: Path) -> bool:
    """Cuts off a torn last line, ends a whole one, and says whether anything is left."""
    last = _last_line(path)
    if last is None:
        return path.stat().st_size > 0
    start, line = last
    with suppress(ValueError):
        json.loads(line)
        with path.open("ab") as file:
            file.write(b"\n")
        return True
    os.truncate(path, start)
    return start > 0


def _last_line(path: Path) -> tuple[int, bytes] | None:
    """Returns start and bytes of a last line without an end; None where the last line is ended."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start, tail = size, b""
        while start > 0 and b"\n" not in tail:
            step = min(TAIL, start)
            start -= step
            file.seek(start)
            tail = file.read(step) + tail
    whole = tail.rfind(b"\n") + 1
    return None if whole == len(tail) else (start + whole, tail[whole:])


def _lock(file: IO[str], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: one run a file is up to the user
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ValueError(
            f"{path}: another run is writing to it; wait for it or choose another file"
        ) from error
