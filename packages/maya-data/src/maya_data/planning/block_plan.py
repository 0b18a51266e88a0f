"""The order of an epoch whose reads stay near each other, for disks and object stores.

Each component is cut into blocks of neighbouring segments. An epoch takes an exact number of blocks from
every component and permutes them all; then a window of many blocks at a time is cut into groups of
`sync_width` batches, each of one bucket, and the groups of the window are permuted.

How many groups a window makes depends on the buckets of its segments; one pass over them, a byte or two each,
tells it for the whole epoch, so the number of steps is known and any window is found at once.
"""

import mmap
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maya_data.planning.full_plan import Groups, batch_bounds, cut, starts
from maya_data.planning.layout import Layout
from maya_data.planning.permutation import Permutations, key, permute
from maya_data.planning.plan_config import PlanConfig

WINDOW_KEY, PLACE_KEY, BLOCKS_KEY, ORDER_KEY = 5, 6, 7, 8
BLOCKS_MAPPED = 1024
"""Blocks of a file that are read before its pages are given back."""
EPOCHS_KEPT = 2
"""A loader that reads ahead is in one epoch and looks at the next."""

Ints = npt.NDArray[np.int64]


class _Epoch(NamedTuple):
    """What all windows of an epoch need."""

    epoch: int
    blocks: Ints
    """All blocks, in their order."""
    windows: Ints
    """Where each window begins in `blocks`, and where the last one ends (W + 1,)."""
    groups: Ints
    """Groups of each window and bucket (W, B)."""
    used: Ints
    """Segments in them (W, B)."""
    first: Ints
    """First group of each window, and the number of all groups (W + 1,)."""


class BlockOrder:
    """The groups of every epoch; with several speeds, of the epochs of one phase."""

    def __init__(self, layout: Layout, config: PlanConfig):
        """Take the blocks as they lie.

        Raises:
            ValueError: The segments of the first epoch fill no group.
        """
        assert layout.buckets is not None
        self.config, self._sizes = config, layout.sizes
        self._segments = layout.order.reshape(-1, config.block)
        self._buckets = layout.buckets.reshape(-1, config.block)
        self._blocks = -(-layout.counts.ravel() // config.block)
        self._share = self._blocks * layout.ratios
        self._first_blocks = starts(self._blocks)
        self._drawn: dict[int, _Epoch] = {}
        if layout.counts.sum() <= config.window and not self.num_groups(0):  # more make some, surely
            raise ValueError(
                f"the {int(layout.counts.sum())} segments fill no group of {config.sync_width} batches"
            )

    def num_groups(self, epoch: int) -> int:
        """Return the groups of an epoch."""
        return int(self._epoch(epoch).first[-1])

    def num_segments(self, epoch: int) -> int:
        """Return the segments of an epoch, repeats counted."""
        return int(self._epoch(epoch).used.sum())

    def groups(self, epoch: int, number: int) -> Groups:
        """Return the groups of the window that group `number` of an epoch is in."""
        drawn = self._epoch(epoch)
        window = int(np.searchsorted(drawn.first, number, side="right")) - 1
        ids, first = self._shuffled(drawn, window)
        groups, used = drawn.groups[window], drawn.used[window]
        total = int(groups.sum())
        order = permute(np.arange(total), total, key(self.config.seed, WINDOW_KEY, epoch, window))
        buckets = np.searchsorted(np.cumsum(groups), order, side="right")
        bounds = batch_bounds(
            order - starts(groups)[buckets], groups[buckets], used[buckets], self.config.sync_width
        )
        return Groups(int(drawn.first[window]), ids, bounds + first[buckets][:, None])

    def _shuffled(self, drawn: _Epoch, window: int) -> tuple[Ints, Ints]:
        """Return the segments of a window by bucket, shuffled in each, and where each bucket begins (B,)."""
        blocks = drawn.blocks[drawn.windows[window] : drawn.windows[window + 1]]
        buckets = self._buckets[blocks].ravel()
        counts = np.bincount(buckets, minlength=len(self._sizes) + 1)[:-1]
        ids = _gather(self._segments, blocks)[np.argsort(buckets, kind="stable")[: counts.sum()]]
        numbers, first = np.repeat(np.arange(len(counts)), counts), starts(counts)
        keys = key(self.config.seed, PLACE_KEY, drawn.epoch, window, np.arange(len(counts)))
        places = Permutations(counts, keys)(numbers, np.arange(len(ids)) - first[numbers])
        return ids[first[numbers] + places].astype(np.int64), first

    def _epoch(self, epoch: int) -> _Epoch:
        if epoch not in self._drawn:
            while len(self._drawn) >= EPOCHS_KEPT:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[epoch] = self._draw(epoch)
        return self._drawn[epoch]

    def _draw(self, epoch: int) -> _Epoch:
        """Permute the blocks, and count what each window holds of each bucket."""
        blocks = self._permuted(epoch)
        number = max(1, round(len(blocks) * self.config.block / self.config.window))
        windows = np.arange(number + 1) * len(blocks) // number
        counts = np.zeros((number, len(self._sizes) + 1), np.int64)
        for window, row in enumerate(counts):
            mine = blocks[windows[window] : windows[window + 1]]
            row[:] = np.bincount(self._buckets[mine].ravel(), minlength=len(row))
        _give_back(self._buckets)
        groups, used = cut(counts[:, :-1], self._sizes, self.config.sync_width)
        return _Epoch(epoch, blocks, windows, groups, used, np.append(0, np.cumsum(groups.sum(1))))

    def _permuted(self, epoch: int) -> Ints:
        """Return the blocks of an epoch (M,): each time a component is gone through, in another order."""
        seed, lap = self.config.seed, epoch // len(self.config.speeds)
        first, last = (np.rint(laps * self._share).astype(np.int64) for laps in (lap, lap + 1))
        taken = last - first
        components = np.repeat(np.arange(len(taken)), taken)
        heard = np.arange(len(components)) + np.repeat(first - starts(taken), taken)
        sizes = self._blocks[components]
        rounds, places = np.divmod(heard, sizes)
        places = permute(places, sizes, key(seed, BLOCKS_KEY, components, rounds))
        order = permute(np.arange(len(places)), len(places), key(seed, ORDER_KEY, epoch))
        return (self._first_blocks[components] + places)[order]


def _gather(array: npt.NDArray[Any], blocks: Ints) -> npt.NDArray[Any]:
    """Return the elements of blocks in a row (M,).

    In a file, each block that is touched brings its neighbours into the memory of this process, which gives
    them back soon.
    """
    made = np.empty((len(blocks), array.shape[1]), array.dtype)
    for start in range(0, len(blocks), BLOCKS_MAPPED):
        part = slice(start, start + BLOCKS_MAPPED)
        made[part] = array[blocks[part]]
        _give_back(array)
    return made.ravel()


def _give_back(array: npt.NDArray[Any]) -> None:
    """Give the pages of a mapped file back; they stay in the system's cache."""
    if (mapped := getattr(array, "_mmap", None)) is not None:
        mapped.madvise(mmap.MADV_DONTNEED)
