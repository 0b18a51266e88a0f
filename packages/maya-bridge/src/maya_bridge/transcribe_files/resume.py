"""A journal of finished work: a line for each part of a file, so that a command can be stopped and run again.

A line begins with the checksum of the rest. Lines that are damaged, cut off, of another model, of other
orders or of a file that has changed are passed over; so are parts with a gap before them.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from maya_bridge.transcribe_files.inputs import Source
from maya_encoder.hypothesis import Hypothesis, Word

FORMAT = 1
NAME = ".maya-transcribe.journal"


@dataclass(frozen=True)
class Done:
    """A transcribed part of a file."""

    start: int
    """Samples at 16 kHz before it."""
    end: int
    """Samples up to its end."""
    last: bool
    """Whether the file ends with it."""
    hypothesis: Hypothesis
    """With times from the beginning of the part."""


class Journal:
    """Finished parts in a file; without a file, or of a source that will not be there again, in nothing."""

    def __init__(
        self,
        path: Path | None,
        orders: Mapping[str, Any],
        fresh: bool = False,
        behind: "Journal | None" = None,
    ) -> None:
        self._path = path
        self._behind = behind
        self._orders = json.dumps(orders, sort_keys=True, default=str)
        self._found: dict[str, dict[int, Done]] = {}
        self.damaged = 0
        """Lines that were passed over because they are damaged."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:  # so that a place that cannot be written is known at once
                if file.tell() and not _ends_a_line(path):
                    file.write(b"\n")
            if not fresh:
                self._read(path)

    def done(self, source: Source) -> list[Done]:
        """Return a source's finished parts from its beginning on, without a gap."""
        found = self._parts(self._key(source)) if self._keeps(source) else {}
        parts: list[Done] = []
        while (part := found.get(parts[-1].end if parts else 0)) is not None:
            parts.append(part)
            if part.last or part.end <= part.start:
                break
        return parts

    def absorb(self, path: Path) -> None:
        """Take over what another journal holds and this one does not; nothing where there is no such file."""
        if self._path is None or not path.is_file():
            return
        with self._path.open("ab") as own, path.open("rb") as file:
            for line in file:
                try:
                    key, part = _parsed(line)
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
                if part.start not in (known := self._found.setdefault(key, {})):
                    known[part.start] = part
                    own.write(line.rstrip(b"\n") + b"\n")

    def add(self, source: Source, part: Done) -> None:
        """Write down a finished part."""
        if self._path is None or not self._keeps(source):
            return
        record = {"format": FORMAT, "key": self._key(source), **asdict(part)}
        payload = json.dumps(record, ensure_ascii=False).encode()
        with self._path.open("ab") as file:
            file.write(b"%08x %s\n" % (zlib.crc32(payload), payload))

    def _parts(self, key: str) -> dict[int, Done]:
        behind = {} if self._behind is None else self._behind._parts(key)
        return behind | self._found.get(key, {})

    def _keeps(self, source: Source) -> bool:
        return self._path is not None and source.is_kept and source.path.is_file()

    def _key(self, source: Source) -> str:
        """What a result depends on: the orders, and the file as it is now."""
        known = source.path.stat()
        whole = f"{self._orders}\n{source.path.resolve()}\n{known.st_size}\n{known.st_mtime_ns}"
        return hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def _read(self, path: Path) -> None:
        with path.open("rb") as file:
            for line in file:
                if not line.strip():
                    continue
                try:
                    key, part = _parsed(line)
                except (ValueError, KeyError, TypeError, AttributeError):
                    self.damaged += 1
                    continue
                self._found.setdefault(key, {})[part.start] = part


def model_identity(folder: Path) -> dict[str, str]:
    """Return what tells a model's folder from that of another model: names, sizes and times of its files."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.resolve()): f"{file.stat().st_size} {file.stat().st_mtime_ns}" for file in files}


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"\n"


def _parsed(line: bytes) -> tuple[str, Done]:
    checksum, payload = line.rstrip(b"\n").split(b" ", 1)
    if int(checksum, 16) != zlib.crc32(payload):
        raise ValueError("a damaged line")
    record = json.loads(payload)
    if record["format"] != FORMAT:
        raise ValueError("another format")
    return record["key"], Done(
        record["start"], record["end"], record["last"], _hypothesis(record["hypothesis"])
    )


def _hypothesis(record: dict[str, Any]) -> Hypothesis:
    from maya_bridge.decoding.result import Candidate
    from maya_bridge.hypothesis import SpeechHypothesis

    record["words"] = [Word(**word) for word in record["words"]]
    plain = {field.name for field in fields(Hypothesis)}
    if set(record) <= plain:
        return Hypothesis(**record)
    record["nbest"] = [Candidate(**one) for one in record["nbest"]]
    return SpeechHypothesis(**record)
