"""Quantiles of all durations, from one pass: durations are told apart to one part in two thousand.

Buckets whose edges are such quantiles, chosen so that as little as possible of a batch is padding.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

SHIFT = 12
"""Low bits of a float32 that are not told apart; 2,048 steps an octave are left."""
FINE = 512
"""Quantiles among which the edges of the buckets are chosen."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Durations = npt.NDArray[np.float32]


class Quantiles:
    """How many segments, and how many seconds of them, an epoch hears of every duration."""

    def __init__(self, shortest: float, longest: float):
        """Make room for durations from `shortest` to `longest`, in seconds."""
        self._first = int(_steps(np.array([shortest], np.float32))[0])
        length = int(_steps(np.array([longest], np.float32))[0]) - self._first + 1
        self.counts, self.seconds = np.zeros(length), np.zeros(length)
        self.longest = np.zeros(length, np.float32)

    def add(self, chunks: Iterable[tuple[Durations, Floats]]) -> "Quantiles":
        """Count durations, each as often as its weight says."""
        for durations, weights in chunks:
            cells = _steps(durations) - self._first
            self.counts += np.bincount(cells, weights, len(self.counts))
            self.seconds += np.bincount(cells, weights * durations, len(self.counts))
            np.maximum.at(self.longest, cells, durations)
        return self

    def edges(self, number: int) -> Floats:
        """Return the longest duration of each of `number` buckets, rising; fewer where durations are few."""
        there = np.flatnonzero(self.longest)
        total = np.cumsum(self.seconds[there])
        wanted = np.arange(1, max(FINE, 4 * number) + 1) / max(FINE, 4 * number) * total[-1]
        fine = np.unique(np.minimum(np.searchsorted(total, wanted * (1 - 1e-12)), len(there) - 1))
        fine[-1] = len(there) - 1
        counts = np.diff(np.cumsum(self.counts[there])[fine], prepend=0.0)
        longest = self.longest[there[fine]].astype(np.float64)
        edges: Floats = longest[_least_padding(longest, counts, min(number, len(fine)))]
        return edges


def token_edges(chunks: Iterable[tuple[Ints, npt.NDArray[np.uint16]]], bins: int, number: int) -> Ints:
    """Return the most tokens of each of `number` buckets with equally many segments, a duration bin (D, S).

    Args:
        chunks: Duration bin and tokens of each segment.
        bins: Duration bins (D).
        number: Buckets of tokens inside each (S).
    """
    width = 1 << 16
    counts = np.zeros(bins * width, np.int64)
    for numbers, tokens in chunks:
        counts += np.bincount(numbers * width + tokens, minlength=len(counts))
    sums = np.cumsum(counts.reshape(bins, width), axis=1)
    edges = np.zeros((bins, number), np.int64)
    for row, total in zip(edges, sums, strict=True):
        row[:] = np.searchsorted(total, np.ceil(np.arange(1, number + 1) / number * total[-1]))
    return edges


def _steps(durations: Durations) -> Ints:
    """Number durations so that numbers rise with them; they are above 0."""
    return (durations.view(np.uint32) >> np.uint32(SHIFT)).astype(np.int64)


def _least_padding(longest: Floats, counts: Floats, number: int) -> Ints:
    """Return the positions of the `number` edges that make the sum of padded durations least.

    Dynamic programming over the last edge: what a bucket costs is its segments times its longest duration.
    """
    ends = np.concatenate(([0.0], np.cumsum(counts)))
    bucket = np.concatenate(([0.0], longest)) * (ends - ends[:, None])  # (from, to)
    bucket[np.tril_indices(len(ends))] = np.inf
    cost, chosen = bucket[0], []
    for _ in range(number - 1):
        total = cost[:, None] + bucket
        chosen.append(total.argmin(0))
        cost = total.min(0)
    edges = [len(longest)]
    for before in reversed(chosen):
        edges.append(int(before[edges[-1]]))
    return np.array(edges[::-1]) - 1
