"""A run that several processes do together: torchrun's ranks, or the workers of a Dask cluster.

The utterances are cut into units of a few batches. Results wait in a folder beside the output, and are
appended to it, in the order of the source, by one process when all units are done.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from maya_eval.appended import Appended
from maya_eval.dask_fleet import results
from maya_eval.hypotheses import Hypothesis, Reading, parse_line
from maya_eval.sources import Source
from maya_eval.transcribing import RunReport, Worker
from maya_eval.units import Member, join

UNIT = 4
"""Batches of a unit."""
LINES = 10
"""Progress lines of a process."""


@dataclass(frozen=True)
class Part:
    """What is to be done of a unit."""

    places: list[int]
    """In the source."""
    utt_ids: list[str]
    """Of those places, so that a process that sees other data is found out."""
    origin: dict[str, str]
    """System, model and fingerprint."""


def result_of(worker: Worker, source: Source, part: Part, batch_size: int) -> str:
    """Returns what a unit's file holds: its lines, what could not be read, and how long it took.

    Raises:
        ValueError: the source is not the one that the part is of.
    """
    if (
        max(part.places) >= len(source.utterances)
        or [source.utterances[place].utt_id for place in part.places] != part.utt_ids
    ):
        raise ValueError("this process sees other data than the one that cut the run into units")
    items = [source.utterances[place] for place in part.places]
    report = RunReport()
    lines: list[str] = []
    for at in range(0, len(items), batch_size):
        rows = worker.lines(items[at : at + batch_size], part.origin, report)
        lines += [row.to_json() for row in rows]
    seconds = {"audio_seconds": report.audio_seconds, "work_seconds": report.work_seconds}
    return json.dumps({"lines": lines, "skipped": report.skipped} | seconds, ensure_ascii=False)


class SharedRun:
    """This process's share of a run, in a `with` block."""

    def __init__(self, out: Path, origin: dict[str, str], source: Source, size: int, me: Member) -> None:
        """Joins the others.

        Args:
            out: the output of all.
            origin: `system`, `model` and `fingerprint` of the run.
            source: what is transcribed.
            size: utterances of a unit, where this process is the first.
            me: this process.
        """
        ids = [[item.utt_id, item.text] for item in source.utterances]
        self._units = join(out, json.dumps([origin, ids], sort_keys=True), len(ids), size, me)
        self._out, self._origin, self._source = out, origin, source
        with self._units.nobody_merges():
            output = Appended(out, origin)
        self._parts = {
            number: part for number in range(self._units.count) if (part := self._part(number, output)).places
        }
        self._kept = len(ids) - sum(len(part.places) for part in self._parts.values())
        self._done = self._done_units = 0

    def __enter__(self) -> "SharedRun":
        return self

    def __exit__(self, *_: object) -> None:
        """Lets others have what this process has not finished."""
        self._units.__exit__()

    def do(self, open_worker: Callable[[], Worker], batch_size: int, progress: bool) -> None:
        """Does units until none is left, with a model that is loaded where there is something to do."""
        opened = _Once(open_worker)
        for number in self._units.claimed(self._parts):
            self._write(number, result_of(opened.worker, self._source, self._parts[number], batch_size))
            self._tell(progress)

    def do_by_fleet(
        self, client: Any, work: Callable[[Any, Part], str], orders: object, progress: bool
    ) -> None:
        """Has the units done by the workers of a Dask cluster, where `work(orders, part)` gives a result."""
        left = {number: self._parts[number] for number in self._units.unfinished(self._parts)}
        for number, result in results(client, work, orders, left):
            self._write(number, result)
            self._tell(progress)

    def merge(self, finish: Callable[[Appended, RunReport], None]) -> RunReport:
        """Appends all results to the output, unless another process does so, and returns what was done.

        Args:
            finish: called before the results are removed, with the output and the report.
        """
        report = RunReport(kept=self._kept)
        if not self._units.falls_to_me():
            return RunReport(kept=self._kept, new=self._done, by_another=True)
        output = Appended(self._out, self._origin)
        with output:
            for number in self._parts:
                output.append(self._new_rows(number, output, report))
        finish(output, report)
        self._units.remove()
        return report

    def _part(self, number: int, output: Appended) -> Part:
        places = [place for place in self._units.span(number) if not self._holds(output, place)]
        return Part(places, [self._source.utterances[place].utt_id for place in places], self._origin)

    def _holds(self, output: Appended, place: int) -> bool:
        item = self._source.utterances[place]
        return output.holds(item.utt_id, item.text)

    def _write(self, number: int, result: str) -> None:
        self._units.write(number, result)
        self._done += len(json.loads(result)["lines"])

    def _new_rows(self, number: int, output: Appended, report: RunReport) -> Sequence[Hypothesis]:
        path = self._units.path(number)
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = [parse_line(line.encode(), str(path), Reading()) for line in found["lines"]]
        report.new += len(rows)
        report.skipped += found["skipped"]
        report.audio_seconds += found["audio_seconds"]
        report.work_seconds += found["work_seconds"]
        return [row for row in rows if not output.holds(row.utt_id, row.text)]

    def _tell(self, progress: bool) -> None:
        """Prints how far this process is, some ten times in its share of a run."""
        me, total = self._units.me, len(self._parts)
        self._done_units += 1
        if progress and self._done_units % -(-total // (LINES * me.world)) == 0:
            who = f"process {me.rank} of {me.world}: " if me.world > 1 else ""
            print(f"transcribing: {who}{self._done_units} of {total} units", file=sys.stderr, flush=True)


@dataclass
class _Once:
    """A worker that is made when it is first asked for."""

    make: Callable[[], Worker]

    @cached_property
    def worker(self) -> Worker:
        return self.make()
