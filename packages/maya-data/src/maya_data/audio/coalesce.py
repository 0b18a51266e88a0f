"""Byte ranges that are close together inside a shard, joined so that one read serves them all."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

GAP = 1 << 16
"""Bytes that nobody wants, over which two ranges are still read as one."""
LONGEST = 1 << 25
"""Bytes of a joined range."""

Ints = npt.NDArray[Any]


def runs(shards: Ints, offsets: Ints, sizes: Ints) -> Iterator[Ints]:
    """Yield positions of ranges to be read as one, in the order of the bytes, every position once.

    Args:
        shards: (N,) number of the shard of each range.
        offsets: (N,) first byte.
        sizes: (N,) bytes.
    """
    if not len(shards):
        return
    order = np.lexsort((offsets, shards))
    shards, first = shards[order], offsets[order].astype(np.int64)
    end = first + sizes[order]
    start = 0
    for k in range(1, len(order) + 1):
        joined = (
            k < len(order)
            and shards[k] == shards[start]
            and first[k] <= end[start:k].max() + GAP
            and max(end[start : k + 1]) - first[start] <= LONGEST
        )
        if not joined:
            yield order[start:k]
            start = k
