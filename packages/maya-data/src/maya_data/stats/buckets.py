"""Buckets of equal hours, and how much of their batches is expected to be padding."""

import numpy as np
import numpy.typing as npt

from maya_data.stats.counting import TICKS_A_SECOND
from maya_data.stats.report import Bucket, Buckets

Counts = npt.NDArray[np.int64]


def buckets(ticks: Counts, *, number: int, batch_duration: float, max_duration: float = 40.0) -> Buckets:
    """Return at most `number` buckets of the durations counted in `ticks` of 0.01 s.

    Args:
        ticks: Trainable segments of each duration.
        number: Buckets; fewer where there are not so many durations.
        batch_duration: Seconds of audio in a batch, padding counted.
        max_duration: Seconds; what is longer is left out, as the plan does.
    """
    ticks = ticks[: round(max_duration * TICKS_A_SECOND) + 1].copy()
    ticks[0] = 0
    rows: list[Bucket] = []
    padded, first = 0.0, 1
    for last in _edges(ticks, number):
        rows.append(_bucket(ticks, first, last, batch_duration))
        padded += rows[-1].hours / (1 - rows[-1].padding)
        first = last + 1
    hours = sum(row.hours for row in rows)
    return Buckets(batch_duration=batch_duration, padding=1 - hours / padded if padded else 0.0, rows=rows)


def _edges(ticks: Counts, number: int) -> list[int]:
    """Return the last tick of each bucket, so that each holds about the same hours."""
    seconds = np.cumsum(ticks * np.arange(len(ticks)))
    if not len(seconds) or not seconds[-1]:
        return []
    targets = seconds[-1] * np.arange(1, number + 1) / number
    edges = np.searchsorted(seconds, targets - 1e-6)
    last: list[int] = np.unique(np.minimum(edges, np.flatnonzero(ticks)[-1])).tolist()
    return last


def _bucket(ticks: Counts, first: int, last: int, batch_duration: float) -> Bucket:
    """Return the bucket of ticks `first` to `last`; a batch is as long as its longest is expected."""
    counts, lengths = ticks[first : last + 1], np.arange(first, last + 1) / TICKS_A_SECOND
    size = max(1, int(batch_duration / lengths[-1] + 1e-6))
    below = np.cumsum(counts) / counts.sum()
    longest = float((lengths * np.diff(below**size, prepend=0.0)).sum())
    seconds = float((counts * lengths).sum())
    return Bucket(
        shortest=(first - 1) / TICKS_A_SECOND,
        longest=float(lengths[-1]),
        segments=int(counts.sum()),
        hours=seconds / 3600,
        batch_size=size,
        padding=max(0.0, 1 - seconds / float(counts.sum()) / longest),
    )
