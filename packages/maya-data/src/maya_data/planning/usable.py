"""The segments that a filter leaves, chunk by chunk, each with its component of the mix."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maya_data.planning.filters import Filter, FilterConfig, ranges

IN_MEMORY = 4_000_000
"""An index of more segments is read anew for each pass over it."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Component(NamedTuple):
    """What the mix balances: a corpus of a language."""

    lang: str
    corpus: str


class Chunk(NamedTuple):
    """Some of the usable segments, in the order of the index."""

    rows: npt.NDArray[np.uint32]
    durations: npt.NDArray[np.float32]
    """Seconds."""
    components: Ints


class Usable:
    """The usable segments of an index.

    Components are numbered by language and then corpus, in the order of the index's names. A language without
    usable segments keeps one number: with one corpus a language, a component's number is the language's.
    """

    def __init__(self, index: Any, config: FilterConfig):
        """Count them; `index` is a SegmentIndex.

        Raises:
            ValueError: None is left.
        """
        self.filter = Filter(index, config)
        self.index = index
        self._corpora = list(index.names("corpus")) or [""]
        pairs = len(index.langs) * len(self._corpora)
        counts, seconds = np.zeros(pairs, np.int64), np.zeros(pairs)
        self.shortest, self.longest = np.inf, 0.0
        self._kept: list[Chunk] | None = [] if len(index.durations) <= IN_MEMORY else None
        for chunk in self._filtered():
            counts += np.bincount(chunk.components, minlength=pairs)
            np.add.at(seconds, chunk.components, chunk.durations.astype(np.float64))
            self.shortest = min(self.shortest, float(chunk.durations.min()))
            self.longest = max(self.longest, float(chunk.durations.max()))
            if self._kept is not None:
                self._kept.append(chunk)
        if not counts.any():
            raise ValueError(f"no segment of {index.path} passes the filter: {self.filter.report()}")
        chosen = _numbered(counts.reshape(len(index.langs), -1))
        self._numbers = np.full(pairs, -1)
        self._numbers[chosen] = np.arange(len(chosen))
        self.counts, self.hours = counts[chosen], seconds[chosen] / 3600
        self.components = [
            Component(index.langs[pair // len(self._corpora)], self._corpora[pair % len(self._corpora)])
            for pair in chosen
        ]

    def __len__(self) -> int:
        return int(self.counts.sum())

    @property
    def in_memory(self) -> bool:
        """Whether the segments are kept, so that a second pass costs little."""
        return self._kept is not None

    def chunks(self) -> Iterator[Chunk]:
        """Yield all of them, in the order of the index."""
        source: Iterable[Chunk] = self._filtered() if self._kept is None else self._kept
        for rows, durations, pairs in source:
            yield Chunk(rows, durations, self._numbers[pairs])

    def _filtered(self) -> Iterator[Chunk]:
        """Yield them with the number of their pair of language and corpus."""
        index, corpora = self.index, len(self._corpora)
        for part in ranges(len(index.durations)):
            pairs = np.asarray(index.lang_ids[part]).astype(np.int64)
            if corpora > 1:
                pairs = pairs * corpora + index.columns["corpus"][part]
            rows = np.arange(part.start, part.stop, dtype=np.uint32)
            durations = np.asarray(index.durations[part])
            kept = self.filter.kept(part)
            if not kept.all():
                places = np.flatnonzero(kept)
                rows, durations, pairs = rows[places], durations[places], pairs[places]
            if len(rows):
                yield Chunk(rows, durations, pairs)


def _numbered(counts: Ints) -> Ints:
    """Return the pairs (L x corpora) that get a number: those with segments, or the first of the language."""
    there = counts > 0
    there[~there.any(1), 0] = True
    return np.flatnonzero(there)
