"""The order of an epoch that is shuffled as a whole.

Segments lie in cells of (bucket, component). An epoch takes an exact number from every cell, permutes them
within their bucket, and cuts each bucket into groups of `sync_width` batches; the groups of all buckets are
permuted. Nothing is stored but the order of segments by cell, so any group of any epoch is found at once.

No batch is empty: where a bucket's segments do not suffice for its last group, that group is not made, and
every epoch leaves other segments out.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maya_data.planning.layout import Layout
from maya_data.planning.permutation import Permutations, key
from maya_data.planning.plan_config import PlanConfig

AT_ONCE = 1 << 14
"""Segments that are drawn at once."""
GROUP_KEY, BIN_KEY, CELL_KEY = 1, 2, 3

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Groups(NamedTuple):
    """Some groups that follow each other in an epoch."""

    first: int
    """Number of the first group."""
    ids: Ints
    """Their segments, batch after batch."""
    bounds: Ints
    """Where each batch begins in `ids`, and where the last one ends (G, sync_width + 1)."""


class _Epoch(NamedTuple):
    """What all groups of an epoch need."""

    epoch: int
    before: Ints
    """Segments of each cell that the epochs before have taken."""
    groups: Permutations
    """The one of the groups."""
    bins: Permutations
    """One a bin."""
    cells: Permutations
    """One each time that a cell is gone through."""
    numbers: Ints
    """Number of the permutation of a cell, less the times that it was gone through before."""


class FullOrder:
    """The groups of every epoch; with several speeds, of the epochs of one phase."""

    def __init__(self, layout: Layout, config: PlanConfig):
        """Work out how much an epoch takes of each cell.

        Raises:
            ValueError: The segments of an epoch fill no group.
        """
        self.config, self._order = config, layout.order
        self._shuffled = config.shuffle != "none"
        taken = take(layout.counts, layout.ratios)
        self._counts, self._taken = layout.counts.ravel(), taken.ravel()
        self._firsts = starts(self._counts)
        self._search = _CellSearch(taken)
        self._bin_taken = taken.sum(1)
        self._bin_groups, self._bin_used = cut(self._bin_taken, layout.sizes, config.sync_width)
        self._group_starts = starts(self._bin_groups)
        self.total = int(self._bin_groups.sum())
        if not self.total:
            raise ValueError(
                f"an epoch of {int(taken.sum())} segments fills no group of {config.sync_width} batches"
            )
        self._drawn: _Epoch | None = None
        self._at_once = max(1, AT_ONCE * self.total // self.num_segments(0))

    def num_groups(self, epoch: int) -> int:
        """Return the groups of an epoch; all have as many."""
        return self.total

    def num_segments(self, epoch: int) -> int:
        """Return the segments of an epoch, repeats counted; all have as many."""
        return int(self._bin_used.sum())

    def groups(self, epoch: int, number: int) -> Groups:
        """Return the groups around group `number` of an epoch."""
        first = number // self._at_once * self._at_once
        numbers = np.arange(first, min(first + self._at_once, self.total))
        if self._shuffled:
            numbers = self._epoch(epoch).groups(np.zeros(len(numbers), np.int64), numbers)
        bins = np.searchsorted(self._group_starts, numbers, side="right") - 1  # (G,)
        bounds = batch_bounds(
            numbers - self._group_starts[bins],
            self._bin_groups[bins],
            self._bin_used[bins],
            self.config.sync_width,
        )
        lengths = bounds[:, -1] - bounds[:, 0]
        ends = np.cumsum(lengths)
        positions = np.arange(int(ends[-1])) - np.repeat(ends - lengths - bounds[:, 0], lengths)
        ids = self._segments(epoch, np.repeat(bins, lengths), positions)
        return Groups(first, ids, bounds - bounds[:, :1] + (ends - lengths)[:, None])

    def _segments(self, epoch: int, bins: Ints, positions: Ints) -> Ints:
        """Return the segments at positions of bins (M,)."""
        drawn = self._epoch(epoch)
        if self._shuffled:
            positions = drawn.bins(bins, positions)
        cells, positions = self._search(bins, positions)
        heard = positions + drawn.before[cells]
        counts = self._counts[cells]
        rounds = (heard / counts).astype(np.int64)
        places = heard - rounds * counts
        if self._shuffled:
            places = drawn.cells(rounds + drawn.numbers[cells], places)
        return self._order[self._firsts[cells] + places].astype(np.int64)

    def _epoch(self, epoch: int) -> "_Epoch":
        """Return the permutations of an epoch: one a bin, and one each time a cell is gone through."""
        if self._drawn is None or self._drawn.epoch != epoch:
            lap = epoch // len(self.config.speeds)  # the epochs between have had other speeds
            seed, before = self.config.seed, lap * self._taken
            there = np.maximum(self._counts, 1)
            first = before // there
            number = np.where(self._taken > 0, (before + self._taken - 1) // there - first + 1, 0)
            cells = np.repeat(np.arange(len(number)), number)
            rounds = np.arange(len(cells)) - np.repeat(starts(number) - first, number)
            self._drawn = _Epoch(
                epoch,
                before,
                Permutations([self.total], [key(seed, GROUP_KEY, epoch)]),
                Permutations(self._bin_taken, key(seed, BIN_KEY, epoch, np.arange(len(self._bin_taken)))),
                Permutations(self._counts[cells], key(seed, CELL_KEY, cells, rounds)),
                starts(number) - first,
            )
        return self._drawn


class _CellSearch:
    """Finds the cell of a position in its bucket: binary search in small tables, all positions at once."""

    def __init__(self, taken: Ints):
        """Make a table of the first position of every cell, a row a bucket."""
        self._components = taken.shape[1]
        self._width = 1 << int(self._components - 1).bit_length()
        table = np.full((len(taken), self._width), np.iinfo(np.int64).max)
        table[:, : self._components] = np.cumsum(taken, axis=1) - taken
        self._table = table.ravel()

    def __call__(self, bins: Ints, positions: Ints) -> tuple[Ints, Ints]:
        """Return the cells, and the positions inside them (M,)."""
        found = bins * self._width
        step = self._width // 2
        while step:
            found += step * (self._table[found + step] <= positions)
            step //= 2
        cells = found - bins * (self._width - self._components)
        return cells, positions - self._table[found]


def take(counts: Ints, ratios: Floats) -> Ints:
    """Return how many segments an epoch takes of each cell (B, C): exact in sum for every component.

    A cell whose share rounds to none would never be heard: it gets one from the component's largest cell.
    """
    totals = np.rint(np.cumsum(counts * ratios, axis=0)).astype(np.int64)
    taken = np.diff(totals, axis=0, prepend=0)
    for component in np.flatnonzero(((counts > 0) & (taken == 0)).any(0) & (ratios > 0)):
        column = taken[:, component]
        for cell in np.flatnonzero((counts[:, component] > 0) & (column == 0)):
            if column.max() > 1:
                column[column.argmax()] -= 1
                column[cell] = 1
    taken[counts == 0] = 0
    return taken


def cut(taken: Ints, sizes: Ints, width: int) -> tuple[Ints, Ints]:
    """Return the groups of `width` batches that segments of each bucket make, and how many they use."""
    groups = np.minimum(-(-taken // (sizes * width)), taken // width)
    return groups, np.minimum(taken, groups * sizes * width)


def batch_bounds(numbers: Ints, groups: Ints, used: Ints, width: int) -> Ints:
    """Return where the batches of groups begin in their bucket, and where the last ends (G, width + 1)."""
    batches = numbers[:, None] * width + np.arange(width + 1)
    return batches * used[:, None] // (groups * width)[:, None]


def starts(lengths: Ints) -> Ints:
    """Return where each of a row of lengths begins."""
    return np.cumsum(lengths) - lengths
