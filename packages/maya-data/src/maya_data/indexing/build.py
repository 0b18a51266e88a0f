"""Build a segment index shard by shard; a finished shard is a part file, so an interrupted build goes on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from maya_data.audio.files import is_uri
from maya_data.indexing.atomic import exclusive
from maya_data.indexing.merge import Part, merge
from maya_data.indexing.parts import summary, write_part
from maya_data.indexing.processes import fitting, pool
from maya_data.indexing.segments import Segment, SegmentIndex, open_index
from maya_data.indexing.sources import Source, as_sources
from maya_data.indexing.work import Progress, Task, run
from maya_data.readers import SCHEMA, ShardRows

__all__ = ["Progress", "Segment", "SegmentIndex", "Source", "build_index", "open_index"]

ROWS_A_PART = 20_000
"""Rows of a part of a reader that knows no shards."""


def build_index(
    sources: Any,
    out_dir: str | Path,
    *,
    executor: Executor | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> SegmentIndex:
    """Index everything that `sources` hold into the folder `out_dir`, and open it.

    Shards already read are not read again while their files stay as they are, so the same call goes on after
    a kill and appends what is new. Until it is done, the index that was there stays as it was. A broken shard
    is left out and listed with its reason under `broken` in `index.json`; damaged rows are kept and flagged.

    Args:
        sources: A reader, a `Source`, or a list of them; the rows of the index stand in this order.
        out_dir: Folder of the index, on a disk that all workers see.
        executor: Does the shards, a task each; None takes processes of its own.
        processes: How many; None or 1 works in this process, 0 takes what suits the machine.
        progress: Called after each shard.

    Raises:
        ValueError: There is nothing to index, the sources do not fit together, or another process is at it.
        DiskFull: There is no room; finished shards are kept.
        IndexingFailed: A worker died; finished shards are kept.
    """
    named, out = as_sources(sources), Path(out_dir)
    info: dict[str, Any] = {"text": _one_text(named), "sources": [_said(*one) for one in named]}
    build = _Build(named, out / "parts", progress or (lambda done, total, shard: None))
    build.folder.mkdir(parents=True, exist_ok=True)
    with exclusive(out):
        with nullcontext(executor) if executor else pool(_count(processes, len(build.tasks))) as workers:
            build.run(workers)
        parts = [build.parts[place] for place in sorted(build.parts)]
        if not parts:
            raise ValueError(_nothing(build.broken))
        merge(parts, out, info | {"broken": build.broken})
        if not build.broken:  # or the old part of a shard that is back tomorrow would be lost
            _forget(build.folder, parts)
    return open_index(out)


class _Build:
    """The tasks of all sources, and what came of them."""

    def __init__(self, named: Sequence[tuple[str, Any]], folder: Path, tell: Progress):
        self.named, self.folder, self.tell = named, folder, tell
        self.broken: dict[str, str] = {}
        self.parts: dict[tuple[int, int], Part] = {}
        """(source, position in it) -> part: the order of the index, whatever is finished first."""
        self.tasks = [task for number in range(len(named)) for task in self._tasks(number)]

    def _tasks(self, source: int) -> Iterator[Task]:
        name, reader = self.named[source]
        if not hasattr(reader, "shards"):
            return
        met = set[str]()
        for number, shard in enumerate(self._shards(name, reader)):
            if shard in met:
                self._break(source, shard, f"{shard}: the reader lists this shard twice; it is taken once")
                continue
            met.add(shard)
            yield Task((source, number), name, reader, shard, self.folder)

    def _shards(self, name: str, reader: Any) -> list[str]:
        try:
            return list(reader.shards())
        except (ValueError, OSError) as error:
            if len(self.named) == 1:
                raise
            raise ValueError(f"source {name}: {error}") from error

    def _break(self, source: int, shard: str, why: str) -> None:
        self.broken[shard if len(self.named) == 1 else f"{self.named[source][0]}/{shard}"] = why

    def run(self, executor: Executor | None) -> None:
        """Do all tasks, then the readers that know no shards."""
        for done, (task, outcome) in enumerate(run(self.tasks, executor), 1):
            if outcome.error:
                self._break(task.place[0], task.shard, outcome.error)
            else:
                self._add(task.place, task.shard, outcome.path)
            self.tell(done, len(self.tasks), task.shard)
        for source, (_, reader) in enumerate(self.named):
            if not hasattr(reader, "shards"):
                self._read_rows(source, reader)

    def _add(self, place: tuple[int, int], shard: str, path: Path) -> None:
        if (found := summary(path)) is None:
            raise ValueError(f"{path} of {shard} is damaged; remove it and run `maya-data index` again")
        self.parts[place] = Part(place[0], shard, path, found)

    def _read_rows(self, source: int, reader: Any) -> None:
        """Take a reader that knows no shards: every so many rows make a part."""
        rows, number = iter(reader.build()), 0
        while chunk := list(islice(rows, ROWS_A_PART)):
            path = self.folder / f"rows-{source:04d}-{number:06d}.arrow"
            write_part(ShardRows(pa.Table.from_pylist(chunk, schema=SCHEMA), Counter()), path)
            self._add((source, number), path.stem, path)
            number += 1
            self.tell(number, 0, path.stem)


def _one_text(named: Sequence[tuple[str, Any]]) -> str:
    """Return the text profile of the sources, which must be one."""
    texts = {name: str(getattr(reader, "text", "asr-v1")) for name, reader in named}
    if len(set(texts.values())) > 1:
        said = ", ".join(f"{name}: {text}" for name, text in texts.items())
        raise ValueError(f"the sources name different text profiles ({said}); an index has one")
    return next(iter(texts.values()))


def _said(name: str, reader: Any) -> dict[str, Any]:
    """Return what index.json says of a source."""
    root = str(getattr(reader, "root", None) or ".")
    root = root if is_uri(root) else str(Path(root.removeprefix("file://")).absolute())
    text = str(getattr(reader, "text", "asr-v1"))
    return {"name": name, "reader": type(reader).__name__, "root": root, "text": text}


def _count(processes: int | None, tasks: int) -> int:
    if processes is not None and processes < 0:
        raise ValueError(f"`processes` must be 0 or more, got {processes}")
    return fitting(tasks) if processes == 0 else min(processes or 1, max(tasks, 1))


def _nothing(broken: dict[str, str]) -> str:
    if not broken:
        return "nothing to index: the sources have no rows"
    return f"nothing to index: all {len(broken)} shards are broken: {'; '.join(list(broken.values())[:3])}"


def _forget(folder: Path, parts: Sequence[Part]) -> None:
    """Remove parts of shards that are gone or have changed, and what an interrupted build left."""
    for path in set(folder.iterdir()) - {part.path for part in parts}:
        path.unlink()
