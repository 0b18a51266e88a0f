"""Files that several processes transcribe together: torchrun's ranks, or the workers of a Dask cluster.

A unit, some batches of files, has a journal of its own in a folder beside the common one, so that a long
file that a killed process had begun is gone on with. When all units are done, one process adds their journals
to the common one and gives out all transcripts in the order of the files.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from maya_bridge.any_model import AnyModel, open_model
from maya_bridge.dask_fleet import results
from maya_bridge.transcribe_files.batching import measured
from maya_bridge.transcribe_files.inputs import Source
from maya_bridge.transcribe_files.job import Job, Orders, Transcript, joined
from maya_bridge.transcribe_files.resume import Done, Journal
from maya_bridge.units import SUFFIX, Member, join

UNIT = 4
"""Batches of a unit."""
LINES = 10
"""Progress lines of a process."""


@dataclass(frozen=True)
class Work:
    """What a Dask worker is told."""

    model: Path
    device: str
    int8: bool
    orders: Orders
    sizes: dict[str, int]
    """Of the model's files, so that a worker that sees another model is found out."""


@dataclass(frozen=True)
class Begun:
    """A file with its finished parts, on the way to a Dask worker."""

    source: Source
    done: list[Done]


class SharedJob:
    """This process's share of the files, in a `with` block."""

    def __init__(
        self, path: Path, identity: Mapping[str, Any], found: Sequence[Source], size: int, me: Member
    ) -> None:
        """Join the others.

        Args:
            path: of the common journal.
            identity: what results depend on, as for `Journal`.
            found: all files.
            size: files of a unit, where this process is the first.
            me: this process.
        """
        self._identity, self._found = identity, found
        names = [os.fsencode(source.path.absolute()).hex() for source in found]
        work = json.dumps([identity, names], sort_keys=True, default=str)
        self._units = join(path, work, len(found), size, me)
        with self._units.nobody_merges():
            self.journal = Journal(path, identity)
            for other in sorted(path.parent.glob(f"{path.name}.*{SUFFIX}/*.journal")):
                if other.parent != self._units.folder:  # of a run that was stopped, with other files
                    self.journal.absorb(other)
        self._needed = [number for number in range(self._units.count) if not self._is_known(number)]
        self._done = 0

    def __enter__(self) -> "SharedJob":
        return self

    def __exit__(self, *_: object) -> None:
        """Let others have what this process has not finished."""
        self._units.__exit__()

    def do(self, model: AnyModel, orders: Orders) -> None:
        """Transcribe units until none is left."""
        for number in self._units.claimed(self._needed):
            job = Job(model, orders, self._journal_of(number), lambda _: None)
            files = [measured(self._found[place]) for place in self._units.span(number)]
            self._finish(number, [transcript.mistake for transcript in job.transcripts(files)])

    def do_by_fleet(self, client: Any, work: Work) -> None:
        """Have units transcribed by the workers of a Dask cluster."""
        left = self._units.unfinished(self._needed)
        parcels = {number: [self._begun(place) for place in self._units.span(number)] for number in left}
        for number, heard in results(client, transcribed, work, parcels):
            journal = self._journal_of(number)
            mistakes: list[str | None] = []
            for begun, (new, mistake) in zip(parcels[number], heard, strict=True):
                source = self._found[self._units.span(number)[len(mistakes)]]
                for part in new:
                    journal.add(source, part)
                mistakes.append(mistake and mistake.replace(str(begun.source.path), str(source.path)))
            self._finish(number, mistakes)

    def transcripts(self) -> Iterator[Transcript] | None:
        """Return what becomes of each file, in their order; None where another process has given that out.

        The results of units are removed when all transcripts have been taken.
        """
        return self._merged() if self._units.falls_to_me() else None

    def _merged(self) -> Iterator[Transcript]:
        mistakes: dict[int, str] = {}
        for number in self._needed:
            self.journal.absorb(self._units.path(number, ".journal"))
            told = json.loads(self._units.path(number).read_text(encoding="utf-8"))
            mistakes |= {
                place: said for place, said in zip(self._units.span(number), told, strict=True) if said
            }
        for place, source in enumerate(self._found):
            done = [] if place in mistakes else self.journal.done(source)
            if done and done[-1].last:
                yield Transcript(source, joined(done))
            else:
                changed = f"{source.name} was changed while others were transcribed"
                yield Transcript(source, mistake=mistakes.get(place, changed))
        self._units.remove()

    def _journal_of(self, number: int) -> Journal:
        return Journal(self._units.path(number, ".journal"), self._identity, behind=self.journal)

    def _is_known(self, number: int) -> bool:
        """Whether all files of a unit are in the common journal."""
        known = (self.journal.done(self._found[place]) for place in self._units.span(number))
        return all(done and done[-1].last for done in known)

    def _begun(self, place: int) -> Begun:
        source = self._found[place]
        return Begun(replace(source, path=source.path.absolute()), self.journal.done(source))

    def _finish(self, number: int, mistakes: Sequence[str | None]) -> None:
        """Write a unit's result; print how far this process is, some ten times in its share of the files."""
        self._units.write(number, json.dumps(mistakes))
        me, total = self._units.me, len(self._needed)
        self._done += 1
        if self._done % -(-total // (LINES * me.world)) == 0:
            who = f"process {me.rank} of {me.world}: " if me.world > 1 else ""
            print(f"maya-transcribe: {who}{self._done} of {total} units", file=sys.stderr, flush=True)


class _Notes(Journal):
    """What a Dask worker hears, kept in memory until it is sent back."""

    def __init__(self, begun: Sequence[Begun]) -> None:
        super().__init__(None, {})
        self._begun = {one.source: one.done for one in begun}
        self.new: dict[Source, dict[int, Done]] = {}

    def done(self, source: Source) -> list[Done]:
        """Return what came with a file."""
        return list(self._begun[source])

    def add(self, source: Source, part: Done) -> None:
        """Keep a part."""
        self.new.setdefault(source, {})[part.start] = part


def transcribed(work: Work, files: Sequence[Begun]) -> list[tuple[list[Done], str | None]]:
    """Return the new parts of each file, or why it has none; on a Dask worker.

    Raises:
        ValueError: the worker sees another model.
    """
    with _ELSEWHERE:
        notes = _Notes(files)
        job = Job(_kept_open(work), work.orders, notes, lambda _: None)
        found = job.transcripts([measured(begun.source) for begun in files])
        return [(list(notes.new.get(one.source, {}).values()), one.mistake) for one in found]


def sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file of a model, by its name in the folder."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


_ELSEWHERE = Lock()
"""A model is for one thread at a time, and a Dask worker may have several."""
_KEPT: dict[str, AnyModel] = {}
"""The one model that a Dask worker keeps open from one unit to the next."""


def _kept_open(work: Work) -> AnyModel:
    key = repr(work)
    if key not in _KEPT:
        _KEPT.clear()
        if sizes(work.model) != work.sizes:
            raise ValueError(f"{socket.gethostname()} sees another model in {work.model}")
        _KEPT[key] = open_model(work.model, work.device, work.int8)
    return _KEPT[key]
