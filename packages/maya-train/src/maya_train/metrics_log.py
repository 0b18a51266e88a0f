"""`metrics.jsonl`: one line a step, written before the next begins; `{"event": "resume"}` between them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any


class MetricsLog:
    """Appends JSON lines; only the main process (`enabled`) writes."""

    def __init__(self, path: Path, *, enabled: bool = True) -> None:
        self._path = path
        self._enabled = enabled
        self._file: IO[str] | None = None

    def __enter__(self) -> "MetricsLog":
        if self._enabled:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            drop_torn_line(self._path)
            self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record and flush it; a number that is not finite becomes null."""
        if self._file is not None:
            self._file.write(json.dumps(_finite(record), ensure_ascii=False) + "\n")
            self._file.flush()

    @property
    def has_lines(self) -> bool:
        """Whether an earlier start has left lines here."""
        return self._path.is_file() and self._path.stat().st_size > 0


def drop_torn_line(path: Path) -> None:
    """Cut what a killed process left of a line, so that the file stays lines of JSON."""
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def read_steps(path: Path) -> dict[int, dict[str, Any]]:
    """The record of each step; where a resumed run repeated a step, the last one counts."""
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {line["step"]: line for line in lines if "event" not in line}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
