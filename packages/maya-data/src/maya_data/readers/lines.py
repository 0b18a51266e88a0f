"""The lines of big text files in pieces, so that one manifest of many million lines is many shards.

A line ends at a line feed and nowhere else. A line that cannot be used is counted and named, and only that
one is lost.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from maya_data.audio import files
from maya_data.readers.left_out import LeftOut
from maya_data.readers.reading import open_shard

PIECE = 1 << 24
"""Bytes of a piece."""
PIECE_NAME = re.compile(r"(?P<name>.*)@(?P<start>\d+)-(?P<end>\d+)")
CHUNK = 1 << 20
PACKED = (".gz", ".jsonl.gz")
BAD_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


def pieces(root: str, names: list[str]) -> list[str]:
    """Return the files, the long ones as `name@start-end` by bytes; packed ones stay whole."""
    found = []
    for name in names:
        size = 0 if name.endswith(PACKED) else files.size_of(files.join(root, name))
        if size <= PIECE:
            found.append(name)
        else:
            starts = range(0, size, PIECE)
            found += [f"{name}@{start}-{min(start + PIECE, size)}" for start in starts]
    return found


def file_of(piece: str) -> str:
    """Return the file that a piece is of."""
    match = PIECE_NAME.fullmatch(piece)
    return match["name"] if match else piece


class Lines:
    """The lines that begin in one piece of a file; what is wrong with one goes to `left_out`."""

    def __init__(self, root: str, piece: str, left_out: LeftOut):
        """Take a piece as `pieces` names it; nothing is read yet."""
        match = PIECE_NAME.fullmatch(piece)
        self.root, self.name, self.left_out = root, file_of(piece), left_out
        self.start = int(match["start"]) if match else 0
        self.end = int(match["end"]) if match else None
        self._before: int | None = None

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield `(number within the piece, text)` of every line that is not blank.

        Raises:
            BrokenShard: The file is missing or cannot be read.
        """
        with open_shard(self.root, self.name) as file:
            for number, line in enumerate(self._raw(file)):
                try:
                    text = line.decode("utf-8-sig" if self.start + number == 0 else "utf-8")
                except UnicodeDecodeError:
                    self.damaged(number, "it is not UTF-8")
                    continue
                if text := text.rstrip("\r\n"):
                    yield number, text

    def _raw(self, file: BinaryIO) -> Iterator[bytes]:
        if self.name.endswith(PACKED):
            yield from self._unpacked(file)
            return
        if self.start:  # The line that is under way at the border belongs to the piece before.
            file.seek(self.start - 1)
            file.readline()
        position = file.tell()
        while self.end is None or position < self.end:
            if not (line := file.readline()):
                return
            position += len(line)
            yield line

    def _unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        number = 0
        try:
            with gzip.open(file) as unpacked:
                for number, line in enumerate(unpacked, 1):  # noqa: B007
                    yield line
        except BAD_GZIP as error:
            self.left_out.add(f"the packed file breaks off: {error}", f"{self.name} after line {number}")

    def damaged(self, number: int, why: str) -> None:
        """Count a line, named by its place in the whole file."""
        self.left_out.add(f"damaged line: {why}", self.place(number))

    def place(self, number: int) -> str:
        """Return file and line number (from 1) of a line of this piece."""
        if self._before is None:
            self._before = self._count_before()
        return f"{self.name} line {self._before + number + 1}"

    def _count_before(self) -> int:
        if not self.start:
            return 0
        with open_shard(self.root, self.name) as file:
            left, lines = self.start - 1, 0
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                lines += chunk.count(b"\n")
                left -= len(chunk)
        return lines + 1


def json_lines(lines: Lines) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file with one JSON object a line."""
    for number, text in lines:
        try:
            entry = json.loads(text)
        except ValueError as error:
            lines.damaged(number, f"it is not JSON ({getattr(error, 'msg', error)})")
            continue
        if isinstance(entry, dict):
            yield number, entry
        else:
            lines.damaged(number, "it is no JSON object")
