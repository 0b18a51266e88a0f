"""Buckets: every batch takes its segments from one bucket, so that little of it is padding."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RATIO = 1.08
"""Longest against shortest duration inside a bin, where there is enough data."""
WIDEST = 1.25
"""A bin wider than this is closed although it has few segments."""
GROUPS_A_BIN = 4
"""Groups that a bin should hold, so that its segments meet different company each epoch."""
TABLE_SHIFT = 14
"""Low bits of a float32 that the table of a search leaves out: it has 512 entries an octave."""
MOST_STEPS = 6
"""Steps after the table's entry; where edges lie closer, binary search is faster."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Durations = npt.NDArray[np.float32]


class Shape(NamedTuple):
    """What a batch may hold."""

    batch_duration: float
    max_batch_size: int | None
    sync_width: int

    def size(self, duration: float) -> int:
        """Return how many segments of `duration` fit into a batch."""
        size = max(1, int(self.batch_duration / duration + 1e-6))
        return min(size, self.max_batch_size or size)


class Search:
    """Finds the first edge that is not below a duration, as `np.searchsorted` does, several times faster."""

    def __init__(self, edges: Floats):
        """Tabulate the answer for the upper bits of every duration."""
        self.edges = edges
        self._padded = np.append(edges, np.inf)
        lows = (np.arange((1 << 31 - TABLE_SHIFT) + 1, dtype=np.uint32) << np.uint32(TABLE_SHIFT)).view(
            np.float32
        )
        found = np.searchsorted(edges, np.where(lows >= 0, lows, np.inf).astype(np.float64))  # nan: beyond
        self._table, self._steps = found[:-1], int(np.diff(found).max())

    def __call__(self, durations: Durations) -> Ints:
        """Return the position of the edge of each duration (N,); all of them are above 0."""
        if self._steps > MOST_STEPS:
            return np.searchsorted(self.edges, durations.astype(np.float64))
        found: Ints = self._table[durations.view(np.uint32) >> np.uint32(TABLE_SHIFT)]
        for _ in range(self._steps):
            found += self._padded[found] < durations
        return found


@dataclass
class Buckets:
    """What segments stand together, and how many of them make a batch."""

    edges: Floats
    """Longest duration of each interval, rising (K,)."""
    bins: Ints
    """The duration bin of each interval, rising (K,)."""
    sizes: Ints
    """Most segments in a batch of each bucket (B,)."""
    token_edges: Ints | None = None
    """Most tokens of each bucket of a duration bin, rising (B / S, S); None: buckets by duration alone."""

    def __post_init__(self) -> None:
        self._search = Search(self.edges)

    def __len__(self) -> int:
        return len(self.sizes)

    def of(self, durations: Durations, tokens: npt.NDArray[np.uint16] | None = None) -> Ints:
        """Return the bucket of each segment (N,); what is over the last edge belongs to the last bucket."""
        found: Ints = self.bins[np.minimum(self._search(durations), len(self.edges) - 1)]
        if self.token_edges is None:
            return found
        assert tokens is not None
        inner = np.zeros(len(found), np.int64)
        for column in self.token_edges.T[:-1]:
            inner += tokens > column[found]
        inner += found * self.token_edges.shape[1]
        return inner


def grid(
    chunks: Iterable[tuple[Durations, Floats]], shortest: float, longest: float, shape: Shape
) -> Buckets:
    """Return buckets on a geometric grid, for data of which nothing is known.

    Edges stand on the grid and where one segment more or less fits into a batch. Neighbours are joined until
    each bin fills a few groups.

    Args:
        chunks: Durations in seconds, and how often an epoch hears each.
        shortest: Shortest duration.
        longest: Longest duration.
        shape: What a batch may hold.
    """
    edges = _edges(shortest, longest, shape.batch_duration)
    search, counts = Search(edges), np.zeros(len(edges))
    most = np.zeros(len(edges), np.float32)
    for durations, weights in chunks:
        cells = search(durations)
        np.add.at(counts, cells, weights)
        np.maximum.at(most, cells, durations)
    bins = _join(edges, counts, shape)
    first = np.flatnonzero(np.diff(bins, prepend=-1))
    sizes = [shape.size(float(duration)) for duration in np.maximum.reduceat(most, first)]
    return Buckets(edges, bins, np.array(sizes))


def _edges(shortest: float, longest: float, budget: float) -> Floats:
    steps = int(np.ceil(np.log(longest / shortest) / np.log(RATIO))) + 1
    powers = longest * RATIO ** -np.arange(steps, dtype=np.float64)
    fits = budget / np.arange(1, 13)
    return np.unique(np.concatenate([powers, fits[(fits > shortest) & (fits < longest)]]))


def _join(edges: Floats, counts: Floats, shape: Shape) -> Ints:
    """Return the bin of every cell of the grid."""
    bins = np.zeros(len(edges), np.int64)
    number, held, low = 0, 0.0, edges[0] / RATIO
    for cell, (edge, count) in enumerate(zip(edges, counts, strict=True)):
        bins[cell] = number
        held += count
        full = held >= GROUPS_A_BIN * shape.sync_width * shape.size(edge)
        if full or (edge / low > WIDEST and held >= 2 * shape.sync_width):
            number, held, low = number + 1, 0.0, edge
    if held < 2 * shape.sync_width and number:
        bins[bins == number] = number - 1
    return bins
