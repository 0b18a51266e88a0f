"""Duration bins: every batch takes its segments from one bin, so that little of it is padding."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RATIO = 1.08
"""Longest against shortest duration inside a bin, where there is enough data."""
WIDEST = 1.25
"""A bin wider than this is closed although it has few segments."""
GROUPS_A_BIN = 4
"""Groups that a bin should hold, so that its segments meet different company each epoch."""

Ints = npt.NDArray[np.int64]


class Shape(NamedTuple):
    """What a batch may hold."""

    batch_duration: float
    max_batch_size: int | None
    sync_width: int

    def size(self, duration: float) -> int:
        """Return how many segments of `duration` fit into a batch."""
        size = max(1, int(self.batch_duration / duration + 1e-6))
        return min(size, self.max_batch_size or size)


def assign(durations: npt.NDArray[np.float32], weights: npt.NDArray[np.float64], shape: Shape) -> Ints:
    """Return the bin (N,) of each duration, 0 the shortest; `weights` (N,) is how often an epoch hears each.

    Edges stand on a geometric grid and where one segment more or less fits into a batch. Neighbours are
    joined until each bin fills a few groups.
    """
    edges = _edges(float(durations.min()), float(durations.max()), shape.batch_duration)
    cell = np.searchsorted(edges, durations.astype(np.float64), side="left")
    counts = np.bincount(cell, weights, len(edges)).astype(np.float64)
    return _join(edges, counts, shape)[cell]


def _edges(shortest: float, longest: float, budget: float) -> npt.NDArray[np.float64]:
    steps = int(np.ceil(np.log(longest / shortest) / np.log(RATIO))) + 1
    grid = longest * RATIO ** -np.arange(steps, dtype=np.float64)
    fits = budget / np.arange(1, 13)
    return np.unique(np.concatenate([grid, fits[(fits > shortest) & (fits < longest)]]))


def _join(edges: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], shape: Shape) -> Ints:
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
